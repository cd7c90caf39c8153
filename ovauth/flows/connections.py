"""The connections of a member, or of an account: which apps can act as whom, and the end of one.

A connection is one installation of an app, however often it was approved: an app that asks for more (step-up), or signs in
again, leaves its earlier grant behind. That one is not ended, since the app may give up half-way, or have processes that
still hold its tokens; it runs out by itself, and until then stands behind the later one. A client that registered itself is
one installation. A `client_id` that many installations share (a document's, an operator's) is told apart by the browser
that began.

What a person withholds is another matter: whoever unticks what an app asks for once more, and had, takes it away. The
earlier grants that hold it end with that decision (`end_what_holds`), or the app would go on with their tokens.
"""

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import Exists, F, Max, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from ovauth.errors import NotFound
from ovauth.flows import revocation
from ovauth.flows.revocation import Ended
from ovauth.models import AccessToken, ClientOrigin, Grant, PendingAuthorization, RefreshToken
from ovauth.rules import display_text, redirect_uris

log = logging.getLogger(__name__)

IDLE: Final = timedelta(days=30)
"""Unused for that long, a connection is marked: it may be forgotten."""

LATELY: Final = timedelta(days=1)
TRIED_EVERY: Final = timedelta(minutes=1)
"""How stale it may be when an app tried again after its end: a broken one asks a hundred times a second."""
MOST_ENDED: Final = 5
NEVER: Final = datetime.min.replace(tzinfo=UTC)
ENDED_ALREADY: Final = "This connection had ended already."

Installation = tuple[int, int, str, bytes | Grant]


@dataclass(frozen=True, slots=True)
class Connection:
    """What one installation may still do, as its owner may see it; `pk` and `created_at` are of its last approval.

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


@dataclass(frozen=True, slots=True)
class EndedConnection:
    """One that ended within a day: why, and when its app tried to go on with it, in vain."""

    pk: int
    client_name: str
    ended_at: datetime
    because: str
    refused_at: datetime | None


def ended(*, member_pk: int) -> list[EndedConnection]:
    """The member's connections that ended lately, the last one first."""
    grants = Grant.objects.filter(member=member_pk, revoked_at__gt=timezone.now() - LATELY).exclude(connected_at=None)
    return [
        EndedConnection(grant.pk, display_text.clean(grant.client.name), at, grant.revoked_because, grant.refused_at)
        for grant in grants.select_related("client").order_by("-revoked_at", "-pk")[:MOST_ENDED]
        if (at := grant.revoked_at) is not None
    ]


def tried_again(*, refresh_token: str) -> None:
    """Notes that the app of an ended connection wanted to go on with it, in vain. Whatever fails, it was refused."""
    now = timezone.now()
    stale = Q(refused_at=None) | Q(refused_at__lt=now - TRIED_EVERY)
    try:
        found = RefreshToken.objects.by_secret(refresh_token)
        if found is None:
            return
        over = Grant.objects.filter(stale, pk=found.grant_id, revoked_at__isnull=False)
        if over.exists():  # reading first: a write would wait for its turn
            over.update(refused_at=now)
    except DatabaseError as error:
        log.warning("that an app tried again could not be noted: %s", error)


def living(*, member_pk: int) -> list[Connection]:
    """The member's connections, newest first: every grant under which a token works, or would if it were not blocked."""
    return _living(Q(member=member_pk))


def of_others(*, account: str, member_pk: int) -> list[Connection]:
    """The connections of the account's other members, for its administrators."""
    return _living(Q(member__account__name=account) & ~Q(member=member_pk))


def earlier(*, member_pk: int, pending_id: str) -> Connection | None:
    """The member's connection of the installation that asks: an approval of this waiting request would be part of it."""
    now = timezone.now()
    found: list[Any] = _grants(
        Q(member=member_pk, client__pending__public_id=pending_id),
        now,
        asking_for=F("client__pending__resource"),
        asking_browser=F("client__pending__browser_digest"),
    )
    again = [grant for grant in found if _is_of(grant, grant.asking_for, grant.asking_browser)]
    return _of_one(again, now) if again else None


def end_what_holds(withheld: Collection[str], *, asked: PendingAuthorization, approved: Grant, now: datetime) -> None:
    """Ends the earlier grants of the installation that asked under which one of these scopes lives, or still could: one
    whose tokens were not fetched yet counts too. For use inside the transaction of the approval.
    """
    theirs = Q(member=approved.member_id, client=asked.client_id) & ~Q(pk=approved.pk)
    for grant in _grants(theirs, now, or_else=_may_be_fetched(now)):
        if _is_of(grant, asked.resource, asked.browser_digest) and not set(withheld).isdisjoint(grant.scope.split()):
            revocation.end_grant(grant, now, because="approved again with less")


def _is_of(grant: Grant, resource: str, browser_digest: bytes | memoryview | None) -> bool:
    """Whether the installation that has this grant asks for that resource, in that browser. The client is the same."""
    if grant.resource != resource:
        return False
    if grant.client.origin == ClientOrigin.REGISTERED:
        return True
    own, other = grant.browser_digest, browser_digest
    return own is not None and other is not None and bytes(own) == bytes(other)


def _may_be_fetched(now: datetime) -> Q:
    """Approved, and the app has time left to fetch its first tokens."""
    return Q(connected_at=None) & Q(Exists(PendingAuthorization.objects.filter(grant=OuterRef("pk"), expires_at__gt=now)))


def taken_over() -> Exists:
    """For a query over grants: whether a later one of the same installation stands in front."""
    same = {name: OuterRef(name) for name in ("client", "member", "resource")}
    later = Grant.objects.filter(**same, pk__gt=OuterRef("pk"), revoked_at=None, connected_at__isnull=False)
    return Exists(later.filter(Q(client__origin=ClientOrigin.REGISTERED) | Q(browser_digest=OuterRef("browser_digest"))))


def _living(whose: Q) -> list[Connection]:
    now = timezone.now()
    found: dict[Installation, list[Grant]] = {}
    for grant in _grants(whose, now):
        found.setdefault(_key(grant), []).append(grant)
    return [_of_one(grants, now) for grants in found.values()]


def _grants(whose: Q, now: datetime, *, or_else: Q | None = None, **more: F) -> list[Grant]:
    """Every grant under which a token works, or would if its client were not blocked, or of `or_else`; newest first."""
    works = Q(access_until__isnull=False) | Q(refresh_until__isnull=False)
    grants = (
        Grant.objects.filter(whose, revoked_at=None)
        .annotate(
            access_until=_latest(AccessToken.objects.filter(expires_at__gt=now, revoked_at=None)),
            refresh_until=_latest(RefreshToken.objects.filter(expires_at__gt=now, consumed_at=None)),
            **more,
        )
        .filter(works if or_else is None else works | or_else)
        .select_related("client", "member__account", "api_key")
        .order_by("-created_at", "-pk")
    )
    return [grant for grant in grants if grant.client.blocked_at or grant.why_dead() is None]


def _key(grant: Grant) -> Installation:
    """What is equal for two approvals of the same installation for the same member."""
    if grant.client.origin == ClientOrigin.REGISTERED:
        return grant.member_id, grant.client_id, grant.resource, b""
    # Without a browser, on a device, nothing tells them apart: then each stands alone.
    digest = bytes(grant.browser_digest) if grant.browser_digest else grant
    return grant.member_id, grant.client_id, grant.resource, digest


def _of_one(grants: list[Grant], now: datetime) -> Connection:
    """The grants of one installation, newest first: it may do what any of them allows."""
    told = [_told(grant, now) for grant in grants]
    last = max(told, key=lambda one: one.last_used_at or NEVER)
    return replace(
        told[0],
        scopes=_in_order(name for one in told for name in one.scopes),
        last_used_at=last.last_used_at,
        last_used_ip=last.last_used_ip,
        ends_at=max((one.ends_at for one in told if one.ends_at), default=None),
        is_idle=all(one.is_idle for one in told),
    )


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Each once, as the operator ordered them; what is no longer configured comes last."""
    known = {name: place for place, name in enumerate(settings.OVAUTH.scope_names)}
    return tuple(sorted(dict.fromkeys(names), key=lambda name: known.get(name, len(known))))


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
    """Ends the grant, and the earlier ones that stand behind it."""
    now = timezone.now()
    with transaction.atomic():
        grant = Grant.objects.select_related("client", "member__account").filter(whose, pk=grant_pk).first()
        if grant is None:
            raise NotFound(ENDED_ALREADY)
        theirs = _grants(Q(member=grant.member_id, client=grant.client_id), now)
        together = [each for each in theirs if _key(each) == _key(grant)]
        ending = {grant.pk, *(each.pk for each in together)}
        working = revocation.living(Grant.objects.filter(pk__in=ending, revoked_at=None), now)
        if not revocation.end_grant(grant, now, because=because):
            raise NotFound(ENDED_ALREADY)
        for each in together:
            revocation.end_grant(each, now, because=because)
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
