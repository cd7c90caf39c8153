"""The connections of a member, or of an account: which apps can act as whom, and the end of one."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import Max, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from ovauth.errors import NotFound
from ovauth.flows import revocation
from ovauth.flows.revocation import Ended
from ovauth.models import AccessToken, Grant, RefreshToken
from ovauth.rules import display_text, redirect_uris

IDLE: Final = timedelta(days=30)
"""Unused for that long, a connection is marked: it may be forgotten."""


@dataclass(frozen=True, slots=True)
class Connection:
    """One approval that still opens something, as its owner may see it.

    `asked_from_ip` and `asked_by` (a User-Agent) are of the browser or device that asked for it; `ends_at` is when it ends
    of itself, unless it is used. One that is blocked opens nothing until an operator unblocks its app.
    """

    pk: int
    owner: str
    client_name: str
    destination: str
    is_loopback: bool
    scopes: tuple[str, ...]
    asked_from_ip: str
    asked_by: str
    created_at: datetime
    last_used_at: datetime | None
    last_used_ip: str
    ends_at: datetime | None
    by_api_key: bool
    is_blocked: bool
    is_idle: bool


def living(*, member_pk: int) -> list[Connection]:
    """The member's connections, newest first: every grant under which a token works, or would if it were not blocked."""
    return _living(Q(member=member_pk))


def of_others(*, account: str, member_pk: int) -> list[Connection]:
    """The connections of the account's other members, for its administrators."""
    return _living(Q(member__account__name=account) & ~Q(member=member_pk))


def _living(whose: Q) -> list[Connection]:
    now = timezone.now()
    grants = (
        Grant.objects.filter(whose, revoked_at=None)
        .annotate(
            access_until=_latest(AccessToken.objects.filter(expires_at__gt=now, revoked_at=None)),
            refresh_until=_latest(RefreshToken.objects.filter(expires_at__gt=now, consumed_at=None)),
        )
        .filter(Q(access_until__isnull=False) | Q(refresh_until__isnull=False))
        .select_related("client", "member", "api_key")
        .order_by("-created_at", "-pk")
    )
    return [_told(grant, now) for grant in grants if grant.client.blocked_at or grant.why_dead() is None]


def _latest(tokens: QuerySet[Any]) -> Subquery:
    """When the last of these tokens of the grant expires."""
    own = tokens.filter(grant=OuterRef("pk")).order_by().values("grant")
    return Subquery(own.annotate(latest=Max("expires_at")).values("latest"))


def disconnect(*, member_pk: int, grant_pk: int) -> tuple[Connection, Ended]:
    """Ends one of the member's own connections: its next request is refused. Raises NotFound, another's alike."""
    return _disconnect(Q(member=member_pk), grant_pk, because="disconnected by its owner")


def disconnect_in_account(*, account: str, grant_pk: int) -> tuple[Connection, Ended]:
    """Ends a connection of any member of the account, for its administrators. Raises NotFound, another account's alike."""
    return _disconnect(Q(member__account__name=account), grant_pk, because="disconnected by an administrator")


def _disconnect(whose: Q, grant_pk: int, *, because: str) -> tuple[Connection, Ended]:
    now = timezone.now()
    with transaction.atomic():
        grant = Grant.objects.select_related("client", "member__account").filter(whose, pk=grant_pk).first()
        working = revocation.living(Grant.objects.filter(pk=grant_pk, revoked_at=None), now)
        if grant is None or not revocation.end_grant(grant, now, because=because):
            raise NotFound("This connection had ended already.")
    return _told(grant, now), working


def _told(grant: Any, now: datetime) -> Connection:
    ends = [until for name in ("access_until", "refresh_until") if (until := getattr(grant, name, None))]
    return Connection(
        pk=grant.pk,
        owner=grant.member.name,
        client_name=display_text.clean(grant.client.name),
        destination=redirect_uris.destination(grant.redirect_uri) if grant.redirect_uri else "",
        is_loopback=redirect_uris.is_loopback(grant.redirect_uri),
        scopes=tuple(grant.scope.split()),
        asked_from_ip=grant.asked_from_ip,
        asked_by=grant.asked_by,
        created_at=grant.created_at,
        last_used_at=grant.last_used_at,
        last_used_ip=grant.last_used_ip,
        ends_at=max(ends, default=None),
        by_api_key=grant.api_key_id is not None,
        is_blocked=grant.client.blocked_at is not None,
        is_idle=(grant.last_used_at or grant.created_at) < now - IDLE,
    )
