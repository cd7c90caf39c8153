"""The API keys of a member, as their owner may see them. What changes them is in `accounts`."""

from dataclasses import dataclass
from datetime import datetime

from ovauth.models import ApiKey


@dataclass(frozen=True, slots=True)
class ShownKey:
    """A key that works: its prefix and last four characters are all that is left of it."""

    pk: int
    hint: str
    created_at: datetime
    last_used_at: datetime | None


def living(*, member_pk: int) -> list[ShownKey]:
    """The member's working keys, newest first."""
    keys = ApiKey.objects.filter(member=member_pk, revoked_at=None).order_by("-created_at", "-pk")
    return [ShownKey(key.pk, str(key), key.created_at, key.last_used_at) for key in keys]
