"""Attempts to connect an app, as timelines: registered, asked, approved, token, first call. And why one ended before that.

Told by audit events of the last day, from this person's address or in their name; and by the reference of an error page,
for whoever has it. Refusals are noted for apps that are known here alone, and so many for each app and address: a stranger
writes nothing, and nobody writes without end.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import Q
from django.utils import timezone

from ovauth.errors import BLOCKED_CLIENT, Refusal, TooManyRequests
from ovauth.flows import audit, blocking, limits
from ovauth.models import AuditEvent, Client, Grant
from ovauth.provenance import Actor
from ovauth.rules import display_text

log = logging.getLogger(__name__)

RECENT: Final = timedelta(days=1)
MOST: Final = 10
MOST_EVENTS: Final = 1000
STEPS: Final = ("registered", "asked", "approved", "token", "called")

_STEP_OF: Final = {
    "client.registered": "registered",
    "authorization.requested": "asked",
    "device.requested": "asked",
    "authorization.approved": "approved",
    "token.issued": "token",
}
_ENDS: Final = {
    "authorization.refused": "link",
    "authorization.denied": "denied",
    "authorization.expired": "expired",
    "token.refused": "token",
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One app's way to its first call. `passed` are steps in their order; `ended` is why it went no further, if it did:
    link (the app's link was refused), denied, expired, token (its code was refused), fetched (nobody fetched the tokens);
    blocked and blocked link where that was because the app is blocked.

    `reason` is for the app's developer, in English; `reference` that of the request which was refused.
    """

    client_id: str
    client_name: str
    destination: str
    began_at: datetime
    last_at: datetime
    passed: tuple[str, ...] = ()
    ended: str = ""
    reason: str = ""
    reference: str = ""
    grants: frozenset[int] = field(default_factory=frozenset)


def recent(*, member_pk: int, sign_in_name: str, ip: str) -> list[Attempt]:
    """The attempts of the last day from that address or by that member, newest first, as far as they have come."""
    now = timezone.now()
    grants = dict(Grant.objects.filter(member=member_pk, created_at__gt=now - RECENT).values_list("pk", "last_used_at"))
    mine = Q(actor=sign_in_name) | Q(grant_id__in=grants)
    if ip:
        mine |= Q(ip=ip, actor="") | Q(ip=ip, event="token.refused")
    events = AuditEvent.objects.filter(mine, at__gt=now - RECENT, event__in=_STEP_OF.keys() | _ENDS.keys())
    told = _told(events.exclude(client_id="").order_by("at", "pk")[:MOST_EVENTS])
    used = {pk for pk, last_used_at in grants.items() if last_used_at is not None}
    latest = sorted(told, key=lambda one: one.last_at)[-MOST:]
    waiting = {one.client_id for one in latest if _waits(one)}
    blocked = blocking.among(waiting, member_pk=member_pk) if waiting else set()
    return [_judged(one, used, blocked, now) for one in reversed(latest)]


def by_reference(reference: str) -> Attempt | None:
    """What was noted when a request with that reference was refused; None when nothing was, or it is too long ago."""
    if not reference:
        return None
    found = AuditEvent.objects.filter(request_id=reference, event__in=_ENDS.keys(), at__gt=timezone.now() - RECENT)
    told = _told(found.exclude(client_id="").order_by("at", "pk"))
    return told[-1] if told else None


def refused(*, client_id: str | None, refusal: Refusal, ip: str, at_token: bool = False) -> None:
    """Notes that the link of an app was refused, or its code. Whatever fails here, the refusal itself is told."""
    try:
        client = Client.objects.filter(client_id=client_id).first() if client_id else None
        if client is None:
            return
        counted = ((limits.REFUSED_BY_CLIENT_AND_ADDRESS, f"{client.pk} {ip}"),)
        limits.check(counted)
        with transaction.atomic():
            limits.count(counted)
            audit.record(
                "token.refused" if at_token else "authorization.refused",
                now=timezone.now(),
                by=Actor.CLIENT,
                client=client,
                reason=refusal.reason,
            )
    except TooManyRequests:
        pass  # the first ones say enough
    except DatabaseError as error:
        log.warning("that an app was refused could not be noted: %s", error)


# ------------------------------------------------------------------ out of events


def _told(found: Iterable[AuditEvent]) -> list[Attempt]:
    events = list(found)
    clients = {found.client_id: found for found in Client.objects.filter(client_id__in={each.client_id for each in events})}
    attempts: dict[str, list[Attempt]] = {}
    for event in events:
        client = clients.get(event.client_id)
        if client is None:
            continue  # gone meanwhile: there is no app to speak of
        of_client = attempts.setdefault(event.client_id, [])
        step = _STEP_OF.get(event.event)
        if not of_client or _begins_anew(of_client[-1], event.event):
            of_client.append(_new(client, event))
        of_client[-1] = _further(of_client[-1], event, step)
    return [attempt for of_client in attempts.values() for attempt in of_client]


def _begins_anew(attempt: Attempt, event: str) -> bool:
    """Whether an app that comes with this event tries once more."""
    asks = _STEP_OF.get(event) == "asked" or event == "authorization.refused"
    return asks and ("asked" in attempt.passed or bool(attempt.ended))


def _new(client: Client, event: AuditEvent) -> Attempt:
    # Whoever asks is registered: by itself a while ago, by an operator, or by its own document.
    passed = () if event.event == "client.registered" else ("registered",)
    name = display_text.clean(client.name) or client.client_id
    return Attempt(client.client_id, name, str(event.detail.get("destination", "")), event.at, event.at, passed)


def _further(attempt: Attempt, event: AuditEvent, step: str | None) -> Attempt:
    grants = attempt.grants | ({event.grant_id} if event.grant_id else set())
    attempt = replace(attempt, last_at=event.at, grants=grants)
    if "destination" in event.detail:
        attempt = replace(attempt, destination=str(event.detail["destination"]))
    if step is not None:
        return replace(attempt, passed=tuple(name for name in STEPS if name == step or name in attempt.passed), ended="")
    ended = _ENDS[event.event]
    if event.reason == BLOCKED_CLIENT:
        ended = "blocked link" if ended == "link" else "blocked"
    return replace(attempt, ended=ended, reason=event.reason, reference=event.request_id)


def _waits(attempt: Attempt) -> bool:
    return not attempt.ended and "asked" in attempt.passed and "approved" not in attempt.passed


def _judged(attempt: Attempt, used: set[int], blocked: set[str], now: datetime) -> Attempt:
    """With what no event tells: the first call, that its app is blocked, and that nothing came for too long."""
    if _waits(attempt) and attempt.client_id in blocked:
        return replace(attempt, ended="blocked")
    if attempt.ended or "token" in attempt.passed:
        called = attempt.grants & used and not attempt.ended
        return replace(attempt, passed=(*attempt.passed, "called")) if called else attempt
    waited = (now - attempt.last_at).total_seconds()
    if "approved" in attempt.passed and waited > settings.OVAUTH.auth_code_ttl:
        return replace(attempt, ended="fetched")
    if "asked" in attempt.passed and "approved" not in attempt.passed and waited > settings.OVAUTH.pending_ttl:
        return replace(attempt, ended="expired")
    return attempt
