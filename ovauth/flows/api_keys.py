"""The API keys of a member, as their owner may see them. What changes them is in `accounts`."""

from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from ovauth.flows import audit
from ovauth.models import ApiKey
from ovauth.provenance import Actor


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


def used_first(*, key_pk: int) -> None:
    """Tells that this key was used for the first time: whoever recognised it saw that (`bearer.Identity`)."""
    key = ApiKey.objects.select_related("member__account").filter(pk=key_pk).first()
    if key is None:
        return  # deleted meanwhile, with its user
    audit.record("api_key.used_first_time", now=timezone.now(), by=Actor.API_KEY, member=key.member, credential=key.digest)
