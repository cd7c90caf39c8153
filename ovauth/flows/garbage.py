"""Deletes what has expired, in batches, so that no writer waits long. A spent row stays until it expires."""

from collections.abc import Callable, Sequence
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

BATCH = 500
CLIENT_NEVER_USED = timedelta(days=1)
CLIENT_UNUSED = timedelta(days=90)
GRANT_KEPT = timedelta(days=1)


def _nothing(*_: Any) -> None: ...


def collect(*, between: Callable[[], None] = _nothing) -> dict[str, int]:
    """How many rows of each kind were deleted. `between` is called after each batch, and what it raises ends the work."""
    now = timezone.now()
    expired: dict[str, QuerySet[Any]] = {
        "access tokens": AccessToken.objects.filter(expires_at__lte=now),
        "refresh tokens": RefreshToken.objects.filter(expires_at__lte=now),
        "authorization codes": AuthorizationCode.objects.filter(expires_at__lte=now),
        "pending authorizations": PendingAuthorization.objects.filter(expires_at__lte=now),
        # one that was given on a code page stands for its owner there as long as the page does
        "one-time passwords": OneTimePassword.objects.filter(
            ~Exists(PendingAuthorization.objects.filter(one_time_password=OuterRef("pk"))), expires_at__lte=now
        ),
        "pushed requests": PushedRequest.objects.filter(expires_at__lte=now),
        "client assertions": UsedAssertion.objects.filter(expires_at__lte=now),
        "limits": Tally.objects.filter(expires_at__lte=now),
        "audit events": AuditEvent.objects.filter(at__lte=now - timedelta(days=settings.OVAUTH.audit_days)),
        "sessions": Session.objects.filter(expire_date__lte=now),
        # a grant with nothing left to use is no connection any more
        "grants": Grant.objects.filter(
            ~_has(AccessToken),
            ~_has(RefreshToken),
            ~_has(AuthorizationCode),
            ~_has(PendingAuthorization),
            created_at__lte=now - GRANT_KEPT,
        ),
        # clients that came by themselves and that nobody uses; a living grant keeps its client
        "clients": Client.objects.filter(
            Q(last_used_at=None, created_at__lte=now - CLIENT_NEVER_USED) | Q(last_used_at__lte=now - CLIENT_UNUSED),
            ~Exists(Grant.objects.filter(client=OuterRef("pk"))),
            ~Exists(PendingAuthorization.objects.filter(client=OuterRef("pk"))),
            # one that is described by a document would come back unblocked, or unknown
            ~Exists(BlockedClient.objects.filter(client=OuterRef("pk"))),
            ~Q(origin=ClientOrigin.DOCUMENT, blocked_at__isnull=False),
            approved_at=None,
            origin__in=(ClientOrigin.REGISTERED, ClientOrigin.DOCUMENT),
        ),
    }
    before = {"pending authorizations": partial(_tell_of_undecided, now)}
    return {kind: _delete_in_batches(rows, before.get(kind, _nothing), between) for kind, rows in expired.items()}


def _tell_of_undecided(now: datetime, batch: Sequence[int]) -> None:
    """What nobody decided in time is told when its row goes: once, whoever looks at it before."""
    undecided = PendingAuthorization.objects.select_related("client").filter(
        pk__in=batch, decision=PendingAuthorization.Decision.NONE
    )
    audit.record_all("authorization.expired", [(row.client, {"kind": row.kind}) for row in undecided], now=now)


def _has(model: type[Any]) -> Exists:
    return Exists(model.objects.filter(grant=OuterRef("pk")))


def _delete_in_batches(rows: QuerySet[Any], before: Callable[[Sequence[int]], None], between: Callable[[], None]) -> int:
    deleted = 0
    while True:
        with transaction.atomic():
            batch = list(rows.values_list("pk", flat=True)[:BATCH])
            if not batch:
                return deleted
            before(batch)
            rows.model.objects.filter(pk__in=batch).delete()
        deleted += len(batch)
        between()
