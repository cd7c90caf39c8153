"""What happened, kept in the database and told to the log: the only writer of AuditEvent.

An event is written in the transaction of the change that it tells of. What it never holds: a code, a token, a state, a
redirect's query.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from django.db.models import Q

from ovauth import logs, metrics
from ovauth.models import AuditEvent, Client, Grant, Member
from ovauth.provenance import Actor, Provenance, current
from ovauth.rules import browsers
from ovauth.sql import Insert, after_commit

LINES_AT_ONCE = 1000
_TOLD = ("event", "actor", "account", "client_id", "ip", "request_id", "reason", "detail")
_INSERT = Insert(AuditEvent)
EXPORTED = tuple(field.attname for field in AuditEvent._meta.fields)
LONGEST_REASON: Final = 200

EVENTS: Final[dict[str, str]] = {
    "client.registered": "an app is known from now on; `method`: it registered itself (dynamic), is described by its own "
    "document (document), or was made by an operator (manual)",
    "client.updated": "what is stored of it changed",
    "client.deleted": "it and everything that it held are gone",
    "client.blocked": "an operator blocked it: nothing that it holds works",
    "client.unblocked": "an operator let it in again",
    "client.approved": "an operator knows it: its pages no longer call it unverified",
    "client.unapproved": "an operator took that back",
    "client.blocked_for_account": "somebody did not start its request: it is blocked for them, or for their account",
    "client.unblocked_for_account": "such a block was taken away",
    "client.secret_renewed": "it has a new secret; the old one stopped working",
    "client.document_ended": "its document is no longer good, so nothing is authorized for it",
    "authorization.requested": "an app sent somebody to the code page",
    "authorization.approved": "a person let an app act for them; `via` button, code, device or api",
    "authorization.denied": "a person refused, or cancelled in the browser",
    "authorization.refused": "the link of an app was refused, before anybody was asked; `reason` says why",
    "authorization.expired": "nobody decided in time",
    "authorization.code_failed": "somebody entered a code that no request waits for",
    "device.requested": "a device shows a code and waits",
    "token.issued": "the first tokens of a connection; `grant_type` says for what",
    "token.refused": "the code that an app brought was refused; `reason` says why",
    "token.refreshed": "a refresh token was exchanged",
    "token.reuse_detected": "a used refresh token came again: it was stolen, or a client is broken",
    "token.revoked": "one access token ended",
    "grant.disconnected": "a connection and everything that it issued ended",
    "api_key.created": "a user has a first API key",
    "api_key.rotated": "a user has a new API key; the old ones ended",
    "api_key.revoked": "one API key ended",
    "api_key.used_first_time": "an API key was used for the first time",
    "otp.issued": "somebody asked for a one-time password",
    "otp.used": "it was spent on one request, or to sign in",
    "otp.failed": "a one-time password on a code page was wrong, used or expired",
    "login.succeeded": "somebody signed in to the console",
    "login.failed": "a user name, password, API key or one-time password was wrong; the name is not kept",
    "login.locked": "too many of those: this address has to wait",
    "user.created": "a user was created",
    "user.disabled": "a user can do nothing any more",
    "user.enabled": "a user was let in again",
    "user.role_changed": "a user has another role",
    "user.password_changed": "a user has another password",
    "user.tokens_revoked": "everything of a user, or all that their keys authorized, ended",
    "admin.action": "what somebody did in the administration, beside the event of what it changed",
    "database.restored": "the database came from a copy: every connection ended",
    "database.moved": "the database is in another server, and the operator said that it was moved whole: nothing ended",
    "settings.loaded": "a server started; `configuration` is a hash of its settings, without any secret",
}
"""Every event, and what it says."""

FAILURES: Final = frozenset(
    {
        "client.document_ended",
        "authorization.denied",
        "authorization.refused",
        "token.refused",
        "authorization.expired",
        "authorization.code_failed",
        "token.reuse_detected",
        "otp.failed",
        "login.failed",
        "login.locked",
    }
)
"""The events that tell of something that did not go well; the outcome of all others is success."""


def record(
    event: str,
    *,
    now: datetime,
    by: Actor | None = None,
    member: Member | None = None,
    client: Client | None = None,
    grant: Grant | None = None,
    credential: bytes | memoryview | None = None,
    reason: str = "",
    **detail: Any,
) -> None:
    """Notes one of EVENTS. `member` is in whose name it happened, or to whom; `by` through what, where the flow knows it
    better than the request. `credential` is the digest of the one that was presented or made; `detail` holds plain values,
    never a secret.

    The log line follows the commit: what was rolled back did not happen.
    """
    source = current()
    columns = _columns(event, now, source, by, member, client, grant, credential, reason, detail)
    _INSERT(**columns)
    named = str(client) if client else ""
    after_commit(partial(_tell, columns, named))


def record_all(event: str, happened: Iterable[tuple[Client, dict[str, Any]]], *, now: datetime) -> None:
    """Notes the same event for each client, with its detail, in one statement: what the house itself does in batches."""
    source = current()
    told = [
        (_columns(event, now, source, Actor.SYSTEM, None, client, None, None, "", detail), str(client))
        for client, detail in happened
    ]
    AuditEvent.objects.bulk_create([AuditEvent(**columns) for columns, _ in told])

    def tell() -> None:
        for columns, named in told:
            _tell(columns, named)

    after_commit(tell)


def _columns(
    event: str,
    now: datetime,
    source: Provenance,
    by: Actor | None,
    member: Member | None,
    client: Client | None,
    grant: Grant | None,
    credential: bytes | memoryview | None,
    reason: str,
    detail: dict[str, Any],
) -> dict[str, Any]:
    kind, actor = _actor(source, by, member, client)
    if member is not None and actor != member.sign_in_name:
        detail = {"user": member.sign_in_name, **detail}
    return {
        "at": now,
        "event": event,
        "actor_kind": kind,
        "actor": actor,
        "account": member.account.name if member else "",
        "client_id": client.client_id if client else "",
        "grant_id": grant.pk if grant else None,
        "ip": source.ip,
        "browser": browsers.family(source.user_agent),
        "outcome": "failure" if event in FAILURES else "success",
        "reason": reason[:LONGEST_REASON],
        "request_id": source.request_id,
        "credential": bytes(credential[:4]).hex() if credential else "",
        "detail": detail,
    }


def _actor(source: Provenance, by: Actor | None, member: Member | None, client: Client | None) -> tuple[str, str]:
    """Through what, and who. A person who was recognised acted, whomever it happened to."""
    if by is None and source.actor:
        return source.kind, source.actor
    named = member.sign_in_name if member else ""
    if by is not None:
        return by, named
    if member is not None:
        return Actor.SESSION if source.request_id else Actor.OPERATOR, named
    if client is not None:
        return Actor.CLIENT, ""
    return Actor.BROWSER if source.request_id else Actor.SYSTEM, ""


def _tell(columns: dict[str, Any], client_name: str) -> None:
    logs.audited({name: columns[name] for name in _TOLD} | {"client_name": client_name})
    metrics.happened(columns["event"], columns["detail"])


def lines(*, since: datetime | None = None, until: datetime | None = None) -> Iterator[str]:
    """The events from `since` on and before `until`, oldest first, each as one line of JSON with all its fields.

    However many: a thousand at a time, each time by a query of its own. So nothing is held open while a reader is slow, and
    the next lines may be asked for by another thread.
    """
    rows = AuditEvent.objects.order_by("at", "pk")
    if until is not None:
        rows = rows.filter(at__lt=until)
    last: tuple[datetime, int] | None = None
    while True:
        rest = rows
        if last is not None:
            rest = rows.filter(Q(at__gt=last[0]) | Q(pk__gt=last[1]), at__gte=last[0])
        elif since is not None:
            rest = rows.filter(at__gte=since)
        batch = list(rest.values(*EXPORTED)[:LINES_AT_ONCE])
        for event in batch:
            yield json.dumps(event | {"at": event["at"].astimezone(UTC).isoformat()}) + "\n"
        if len(batch) < LINES_AT_ONCE:
            return
        last = batch[-1]["at"], batch[-1]["id"]
