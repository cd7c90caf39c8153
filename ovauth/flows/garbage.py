"""Deletes what has expired, in batches so small that no writer waits long. A spent row stays until it expires.

What is looked for is looked for outside of a transaction, by an index; only the deletion of one batch holds the write lock,
and after it the others have their turn. A grant goes with the last thing that hung on it, so nobody has to look for grants.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from ovauth.flows import audit
from ovauth.models import (
    AccessToken,
    AuditEvent,
    AuthorizationCode,
    BlockedClient,
    Client,
    ClientOrigin,
    Grant,
    OneTimePassword,
    PendingAuthorization,
    PushedRequest,
    RefreshToken,
    Tally,
    UsedAssertion,
)

LARGEST = 500
"""Rows of a batch; fewer where they take long."""
SMALLEST = 10
QUICK, SLOW = 0.010, 0.025
"""Seconds. A batch that took less makes the next one larger, one that took more makes it smaller."""
CLIENT_NEVER_USED = timedelta(days=1)
CLIENT_UNUSED = timedelta(days=90)


def _nothing(*_: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class Kind:
    """Rows that go. `before` is called in the transaction of each batch, with its primary keys; `of_grants`: they hang on a
    grant, which goes with the last of them."""

    rows: QuerySet[Any]
    before: Callable[[Sequence[int]], None] = _nothing
    of_grants: bool = False


def collect(*, between: Callable[[], None] = _nothing) -> dict[str, int]:
    """How many rows of each kind were deleted. `between` is called after each batch, and what it raises ends the work."""
    now = timezone.now()
    by_themselves = Client.objects.filter(
        ~Exists(Grant.objects.filter(client=OuterRef("pk"))),  # a living grant keeps its client
        ~Exists(PendingAuthorization.objects.filter(client=OuterRef("pk"))),
        # one that is described by a document would come back unblocked, or unknown
        ~Exists(BlockedClient.objects.filter(client=OuterRef("pk"))),
        ~Q(origin=ClientOrigin.DOCUMENT, blocked_at__isnull=False),
        approved_at=None,
        origin__in=(ClientOrigin.REGISTERED, ClientOrigin.DOCUMENT),
    )
    kinds = {
        "access tokens": Kind(AccessToken.objects.filter(expires_at__lte=now), of_grants=True),
        # A successor stays as long as its predecessor may ask for it again, since a retry that finds none looks like a
        # replay. It outlives it by itself, unless OVAUTH_REFRESH_TOKEN_TTL was lowered meanwhile.
        "refresh tokens": Kind(
            RefreshToken.objects.filter(
                ~Exists(RefreshToken.objects.filter(successor=OuterRef("pk"), expires_at__gt=now)), expires_at__lte=now
            ),
            of_grants=True,
        ),
        "authorization codes": Kind(AuthorizationCode.objects.filter(expires_at__lte=now), of_grants=True),
        "pending authorizations": Kind(
            PendingAuthorization.objects.filter(expires_at__lte=now),
            before=partial(_tell_of_undecided, now),
            of_grants=True,
        ),
        # one that was given on a code page stands for its owner there as long as the page does
        "one-time passwords": Kind(
            OneTimePassword.objects.filter(
                ~Exists(PendingAuthorization.objects.filter(one_time_password=OuterRef("pk"))), expires_at__lte=now
            )
        ),
        "pushed requests": Kind(PushedRequest.objects.filter(expires_at__lte=now)),
        "client assertions": Kind(UsedAssertion.objects.filter(expires_at__lte=now)),
        "limits": Kind(Tally.objects.filter(expires_at__lte=now)),
        "audit events": Kind(AuditEvent.objects.filter(at__lte=now - timedelta(days=settings.OVAUTH.audit_days))),
        "sessions": Kind(Session.objects.filter(expire_date__lte=now)),
        # clients that came by themselves and that nobody uses
        "clients never used": Kind(
            by_themselves.filter(last_used_at=None, created_at__lte=now - CLIENT_NEVER_USED),
        ),
        "clients unused": Kind(by_themselves.filter(last_used_at__lte=now - CLIENT_UNUSED)),
    }
    counts = dict.fromkeys(("grants", "clients"), 0)
    for name, kind in kinds.items():
        deleted, grants = _delete_in_batches(kind, between)
        kept_as = "clients" if name.startswith("clients") else name
        counts[kept_as] = counts.get(kept_as, 0) + deleted
        counts["grants"] += grants
    return counts


def _tell_of_undecided(now: datetime, batch: Sequence[int]) -> None:
    """What nobody decided in time is told when its row goes: once, whoever looks at it before."""
    undecided = PendingAuthorization.objects.select_related("client").filter(
        pk__in=batch, decision=PendingAuthorization.Decision.NONE
    )
    audit.record_all("authorization.expired", [(row.client, {"kind": row.kind}) for row in undecided], now=now)


def _delete_in_batches(kind: Kind, between: Callable[[], None]) -> tuple[int, int]:
    """How many of its rows, and how many grants with them."""
    deleted = grants = 0
    size = LARGEST // 5
    while batch := list(kind.rows.values_list("pk", "grant_id" if kind.of_grants else "pk")[:size]):
        keys = [pk for pk, _ in batch]
        started = time.monotonic()
        with transaction.atomic():
            kind.before(keys)
            # Asked again: a tally may have begun anew since.
            kind.rows.filter(pk__in=keys).delete()
            if kind.of_grants:
                grants += _delete_ended({grant for _, grant in batch if grant is not None})
        took = time.monotonic() - started
        deleted += len(batch)
        size = min(size * 2, LARGEST) if took < QUICK else max(size // 2, SMALLEST) if took > SLOW else size
        between()
        time.sleep(took)  # as long as the others waited, they have for themselves
    return deleted, grants


def _delete_ended(grants: set[int]) -> int:
    """Those of the grants with nothing left to use: they are no connections any more.

    One of a client that acts by itself (no key, no session) stays, since its next token may be issued at this moment.
    """
    ended = Grant.objects.filter(
        ~_has(AccessToken),
        ~_has(RefreshToken),
        ~_has(AuthorizationCode),
        ~_has(PendingAuthorization),
        ~Q(api_key=None, password_epoch=None),
        pk__in=grants,
    )
    return ended.delete()[1].get(Grant._meta.label, 0)


def _has(model: type[Any]) -> Exists:
    return Exists(model.objects.filter(grant=OuterRef("pk")))
