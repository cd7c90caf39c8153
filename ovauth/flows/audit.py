"""What happened, kept in the database and told to the log: the only writer of AuditEvent.

An event is written in the transaction of the change that it tells of. What it never holds: a code, a token, a state, a
redirect's query.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from ovauth.models import AuditEvent, Client, Grant, Member

log = logging.getLogger("ovauth.audit")

EXPORTED = tuple(field.attname for field in AuditEvent._meta.fields)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the request that is being served came from."""

    ip: str = ""
    request_id: str = ""


NOWHERE = Provenance()
_provenance: ContextVar[Provenance] = ContextVar("provenance", default=NOWHERE)


@contextmanager
def provenance(*, ip: str, request_id: str) -> Iterator[None]:
    """Every event that is recorded inside carries this address and request id."""
    token = _provenance.set(Provenance(ip, request_id))
    try:
        yield
    finally:
        _provenance.reset(token)


def record(
    event: str,
    *,
    now: datetime,
    member: Member | None = None,
    client: Client | None = None,
    grant: Grant | None = None,
    **detail: Any,
) -> None:
    """Notes the event. `member` is who acted, or in whose name; `detail` holds plain values, never a secret.

    The log line follows the commit: what was rolled back did not happen.
    """
    source = _provenance.get()
    row = AuditEvent(
        at=now,
        event=event,
        actor=member.sign_in_name if member else "",
        account=member.account.name if member else "",
        client_id=client.client_id if client else "",
        grant_id=grant.pk if grant else None,
        ip=source.ip,
        request_id=source.request_id,
        detail=detail,
    )
    row.save(force_insert=True)
    told = {
        "event": event,
        "actor": row.actor,
        "client_id": row.client_id,
        "client_name": str(client) if client else "",
        "detail": detail,
    }
    transaction.on_commit(lambda: log.info(event, extra={"audit": told}))


def events(*, since: datetime | None = None, until: datetime | None = None) -> Iterator[dict[str, Any]]:
    """The events from `since` on and before `until`, oldest first, field by field; a few at a time, however many."""
    rows = AuditEvent.objects.order_by("at", "pk")
    if since is not None:
        rows = rows.filter(at__gte=since)
    if until is not None:
        rows = rows.filter(at__lt=until)
    return rows.values(*EXPORTED).iterator(chunk_size=1000)
