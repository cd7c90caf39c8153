"""Everything that was issued since a moment: after a break-in, when nobody knows which of it is in wrong hands.

What was issued hangs on its connection, so the connections end: those that were approved since, and those that got a new
token or code since. A connection that got nothing since then goes on. API keys and passwords are told of and stay, since
rotating them is how people get out of such a night. Whatever still waits for a decision has to be begun again.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from ovauth.errors import InvalidRequest
from ovauth.flows import audit, revocation
from ovauth.models import (
    AccessToken,
    ApiKey,
    AuthorizationCode,
    Client,
    Grant,
    Member,
    PendingAuthorization,
    RefreshToken,
)


@dataclass(frozen=True, slots=True)
class Issued:
    """How much of each kind. `connections` are all that end, `approved` those of them that are no older than the moment;
    `clients` and `api_keys` came since, and stay."""

    connections: int
    approved: int
    authorization_codes: int
    access_tokens: int
    refresh_tokens: int
    waiting: int
    clients: int
    api_keys: int


def count(*, since: datetime) -> Issued:
    """What `revoke` would end at this moment. Raises InvalidRequest for a moment to come."""
    return _count(since, _now(since))


def revoke(*, since: datetime, member: Member) -> Issued:
    """Ends it, in the name of `member`, and says how much it was. Raises InvalidRequest for a moment to come."""
    now = _now(since)
    issued = _count(since, now)  # while nobody waits for it
    with transaction.atomic():
        revocation.end_unfinished(now)
        ended = _connections(since).update(revoked_at=now, revoked_because="issued since a moment that an operator named")
        audit.record(
            "admin.action",
            now=now,
            member=member,
            action="revoke everything since",
            of=since.isoformat(),
            grants=ended,
            access_tokens=issued.access_tokens,
            refresh_tokens=issued.refresh_tokens,
        )
    return replace(issued, connections=ended)


def _now(since: datetime) -> datetime:
    now = timezone.now()
    if since > now:
        raise InvalidRequest("This moment is still to come.")
    return now


def _connections(since: datetime) -> QuerySet[Grant]:
    """Those that stand and got something since then. A code does not tell when it was born: one that lived then counts."""
    return Grant.objects.filter(
        Q(created_at__gte=since)
        | Q(pk__in=AccessToken.objects.filter(created_at__gte=since).values("grant"))
        | Q(pk__in=RefreshToken.objects.filter(created_at__gte=since).values("grant"))
        | Q(pk__in=AuthorizationCode.objects.filter(expires_at__gt=since).values("grant")),
        revoked_at=None,
    )


def _count(since: datetime, now: datetime) -> Issued:
    living = {"grant__revoked_at": None, "expires_at__gt": now}
    return Issued(
        connections=_connections(since).count(),
        approved=Grant.objects.filter(created_at__gte=since, revoked_at=None).count(),
        authorization_codes=AuthorizationCode.objects.filter(**living, consumed_at=None).count(),
        access_tokens=AccessToken.objects.filter(**living, created_at__gte=since, revoked_at=None).count(),
        refresh_tokens=RefreshToken.objects.filter(**living, created_at__gte=since, consumed_at=None).count(),
        waiting=PendingAuthorization.objects.filter(decision="", expires_at__gt=now).count(),
        clients=Client.objects.filter(created_at__gte=since).count(),
        api_keys=ApiKey.objects.filter(created_at__gte=since, revoked_at=None).count(),
    )
