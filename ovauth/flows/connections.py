"""The living connections of a member, or of an account: which apps can act as whom, and the end of one."""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from ovauth.errors import NotFound
from ovauth.flows import revocation
from ovauth.models import AccessToken, Grant, RefreshToken
from ovauth.rules import display_text, redirect_uris


@dataclass(frozen=True, slots=True)
class Connection:
    """One approval that still opens something, as its owner may see it."""

    pk: int
    owner: str
    client_name: str
    destination: str
    is_loopback: bool
    scopes: tuple[str, ...]
    created_at: datetime
    last_used_at: datetime | None
    last_used_ip: str
    by_api_key: bool


def living(*, member_pk: int) -> list[Connection]:
    """The member's connections, newest first: every grant under which a token works at this moment."""
    return _living(Q(member=member_pk))


def of_others(*, account: str, member_pk: int) -> list[Connection]:
    """The connections of the account's other members, for its administrators."""
    return _living(Q(member__account__name=account) & ~Q(member=member_pk))


def _living(whose: Q) -> list[Connection]:
    now = timezone.now()
    own = {"grant": OuterRef("pk"), "expires_at__gt": now}
    grants = (
        Grant.objects.filter(
            Exists(AccessToken.objects.filter(**own, revoked_at=None))
            | Exists(RefreshToken.objects.filter(**own, consumed_at=None)),
            whose,
            revoked_at=None,
        )
        .select_related("client", "member", "api_key")
        .order_by("-created_at", "-pk")
    )
    return [_told(grant) for grant in grants if grant.why_dead() is None]


def disconnect(*, member_pk: int, grant_pk: int) -> Connection:
    """Ends one of the member's own connections: its next request is refused. Raises NotFound, another's alike."""
    return _disconnect(Q(member=member_pk), grant_pk, because="disconnected by its owner")


def disconnect_in_account(*, account: str, grant_pk: int) -> Connection:
    """Ends a connection of any member of the account, for its administrators. Raises NotFound, another account's alike."""
    return _disconnect(Q(member__account__name=account), grant_pk, because="disconnected by an administrator")


def _disconnect(whose: Q, grant_pk: int, *, because: str) -> Connection:
    now = timezone.now()
    with transaction.atomic():
        grant = Grant.objects.select_related("client", "member__account").filter(whose, pk=grant_pk).first()
        if grant is None or not revocation.end_grant(grant, now, because=because):
            raise NotFound("This connection had ended already.")
    return _told(grant)


def _told(grant: Grant) -> Connection:
    return Connection(
        pk=grant.pk,
        owner=grant.member.name,
        client_name=display_text.clean(grant.client.name),
        destination=redirect_uris.destination(grant.redirect_uri) if grant.redirect_uri else "",
        is_loopback=redirect_uris.is_loopback(grant.redirect_uri),
        scopes=tuple(grant.scope.split()),
        created_at=grant.created_at,
        last_used_at=grant.last_used_at,
        last_used_ip=grant.last_used_ip,
        by_api_key=grant.api_key_id is not None,
    )
