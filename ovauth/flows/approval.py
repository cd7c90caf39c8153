"""A person decides: approve or deny, by display code or by pending id. The first decision stands (RFC 8628 §5, RFC 10027).

Whoever decides does so by an Authority: an API key, a console session, or a one-time password given on the code page.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from ovauth import credentials, statements
from ovauth.errors import BLOCKED_CLIENT, Conflict, Forbidden, Gone, InvalidRequest, NotFound
from ovauth.flows import audit, authorization, blocking, connections, limits, one_time_password
from ovauth.flows.authority import Authority
from ovauth.flows.authorization import Waiting
from ovauth.models import Client, Grant, Member, PendingAuthorization
from ovauth.provenance import Actor
from ovauth.rules import display_text
from ovauth.rules import scopes as may
from ovauth.rules.networks import household
from ovauth.sql import Insert

Decision = PendingAuthorization.Decision
_INSERT = Insert(Grant)
Via = Literal["button", "code", "api"]
"""Where a person decided: on the code page, by typing its code in the console, or through the API. A device has one way."""

BLOCKED = "This app is blocked here: nothing can be approved for it. The operator can unblock it."
NOTHING_CHOSEN = "Leave at least one of the permissions ticked, or choose Deny."
NO_SUCH_CODE = "No request is waiting for this code. Codes last ten minutes."


@dataclass(frozen=True, slots=True)
class Decided:
    status: Literal["approved", "denied"]
    client_id: str
    client_name: str
    destination: str


def review(*, authority: Authority, code: str | None = None, pending_id: str | None = None, ip: str = "") -> Waiting:
    """The waiting request behind a display code or a pending id, for somebody who may decide it.

    Raises NotFound (unknown and expired alike), Conflict when it is decided, TooManyRequests for a guesser.
    """
    return authorization.see(_find(authority, code, pending_id, ip, timezone.now()))


def approve(
    *,
    authority: Authority,
    code: str | None = None,
    pending_id: str | None = None,
    scopes: Sequence[str] | None = None,
    ip: str = "",
    via: Via = "api",
) -> Decided:
    """Lets the client act for the authority's member, with the role that the member has now.

    `scopes` are those that the person chose among what was asked; whatever else is named there is ignored, and None is
    all of them. Scopes beyond the role are left out. What the person could have given and did not ends, if this
    installation had it; as much as before, or more, ends nothing. Raises as `review` does, InvalidRequest when none was
    chosen, and Forbidden when nothing would be left, the app is blocked, or the authority no longer stands.
    """
    now = timezone.now()
    found = _find(authority, code, pending_id, ip, now)
    asked = found.scope.split()
    chosen = [name for name in asked if scopes is None or name in scopes]
    if not chosen:
        raise InvalidRequest(NOTHING_CHOSEN)
    with transaction.atomic():
        member = authority.prove()
        if blocking.blocks(member, found.client):
            raise Forbidden(BLOCKED, reason=BLOCKED_CLIENT)
        offered = may.allowed(asked, role=member.role, lowest_role=settings.OVAUTH.lowest_roles)
        granted = [name for name in offered if name in chosen]
        if not granted:
            raise Forbidden("Your role does not allow any of what this app asks for.")
        grant = Grant(
            client=found.client,
            member=member,
            role=member.role,
            scope=may.joined(granted),
            resource=found.resource,
            redirect_uri=found.redirect_uri,
            browser_digest=found.browser_digest,
            api_key_id=authority.api_key_pk,
            password_epoch=authority.password_epoch,
            created_at=now,
            asked_from_ip=found.ip,
            asked_by=found.user_agent,
        )
        grant.id = _INSERT.of(grant)
        _note_use(found.client, now)
        until = now + timedelta(seconds=settings.OVAUTH.auth_code_ttl)
        _decide(found, now, decision=Decision.APPROVED, grant=grant, expires_at=until)
        told = _way(found, via, now) | {"by": authority.kind, "member": member, "client": found.client, "grant": grant}
        audit.record("authorization.approved", now=now, **told)
        if withheld := [name for name in offered if name not in granted]:
            connections.end_what_holds(withheld, asked=found, approved=grant, now=now)
    return _decided("approved", found)


def _note_use(client: Client, now: datetime) -> None:
    """An app that somebody let in is in use. Here and not with its first tokens, which follow within minutes: a person who
    has just decided does not notice one more write, and the token endpoint does without."""
    if client.last_used_at is None or client.last_used_at < now - timedelta(seconds=statements.STAMP_EVERY):
        statements.CLIENT_USED.run(id=client.pk, now=now)


def deny(
    *, authority: Authority, code: str | None = None, pending_id: str | None = None, ip: str = "", via: Via = "api"
) -> Decided:
    """Refuses the client; it learns so as `access_denied`. Raises as `review` does."""
    now = timezone.now()
    found = _find(authority, code, pending_id, ip, now)
    with transaction.atomic():
        member = authority.prove()
        _decide(found, now, decision=Decision.DENIED)
        told = _way(found, via, now) | {"by": authority.kind, "member": member, "client": found.client}
        reason = BLOCKED_CLIENT if blocking.blocks(member, found.client) else ""
        audit.record("authorization.denied", now=now, reason=reason, **told)
    return _decided("denied", found)


def cancel(*, pending_id: str, browser: str | None) -> None:
    """The browser that began gives up: the client learns so as `access_denied`.

    Raises NotFound, Forbidden for another browser, Gone once expired, Conflict when it is decided.
    """
    now = timezone.now()
    with transaction.atomic():
        found = _of_this_browser(pending_id, browser)
        _decide(found, now, decision=Decision.DENIED)
        way = _way(found, "button", now)
        audit.record("authorization.denied", now=now, by=Actor.BROWSER, client=found.client, cancelled=True, **way)


# ------------------------------------------------------------------ one-time passwords


def present_one_time_password(*, pending_id: str, browser: str | None, typed: str, ip: str = "") -> None:
    """Spends the one-time password on this request: from now on its owner may decide it in this browser.

    It opens no session. Raises as `cancel` does, NotFound for a wrong password, TooManyRequests for a guesser.
    """
    now = timezone.now()
    counted = ((limits.OTP_BY_PENDING, pending_id), (limits.OTP_BY_ADDRESS, household(ip)))
    limits.check(counted)
    with transaction.atomic():
        pending = _of_this_browser(pending_id, browser)
        places = limits.take(counted)
        spent = one_time_password.spend(typed, now)
        if spent is None:
            audit.record("otp.failed", now=now, by=Actor.BROWSER, client=pending.client)
        else:
            limits.give_back(places)
            PendingAuthorization.objects.filter(pk=pending.pk).update(one_time_password=spent)
            told: Any = {"member": spent.member, "client": pending.client, "credential": spent.digest}
            audit.record("otp.used", now=now, by=Actor.ONE_TIME_PASSWORD, **told)
    if spent is None:
        raise NotFound("This one-time password is wrong, used or expired.")


def authority_on_page(*, pending_id: str, browser: str | None) -> Authority | None:
    """Who may decide this request in this browser without being signed in: the owner of the one-time password given."""
    given = _of_this_browser(pending_id, browser).one_time_password
    return None if given is None else one_time_password.authority_of(given)


# ------------------------------------------------------------------ finding and deciding


def _find(authority: Authority, code: str | None, pending_id: str | None, ip: str, now: datetime) -> PendingAuthorization:
    if (code is None) == (pending_id is None):
        raise InvalidRequest("Send either code or pending_id.")
    if pending_id is not None:
        found = authorization.known_by(pending_id)
        if found is None or found.expires_at <= now:
            raise NotFound("This request is unknown or has expired.")
    else:
        found = _by_code(code or "", authority, ip, now)
    if found.decision != Decision.NONE:
        yours = found.grant is not None and found.grant.member_id == authority.member_pk
        raise Conflict(
            f"This request was already {found.decision}.", decision=found.decision, at=found.decided_at, yours=yours
        )
    return found


def _by_code(typed: str, authority: Authority, ip: str, now: datetime) -> PendingAuthorization:
    counted = ((limits.CODE_BY_MEMBER, authority.guesser), (limits.CODE_BY_ADDRESS, household(ip)))
    code = credentials.normalise(typed, credentials.DISPLAY_CODE_LENGTH)
    digests = authorization.code_digests(code or "")
    limits.check(counted)
    with transaction.atomic():
        places = limits.take(counted)
        found = PendingAuthorization.objects.select_related("client").filter(code_digest__in=digests).first()
        if found is not None and found.expires_at > now:
            limits.give_back(places)
            return found
        guesser = Member.objects.select_related("account").filter(pk=authority.member_pk).first()
        audit.record("authorization.code_failed", now=now, by=authority.kind, member=guesser)
    raise NotFound(NO_SUCH_CODE)


def _of_this_browser(pending_id: str, browser: str | None) -> PendingAuthorization:
    return authorization.of_browser(pending_id, browser, timezone.now())


def _way(found: PendingAuthorization, via: Via, now: datetime) -> dict[str, Any]:
    """Which way the decision took, and how many seconds the request had waited for it."""
    way = "device" if found.kind == PendingAuthorization.Kind.DEVICE else via
    return {"via": way, "waited": round((now - found.created_at).total_seconds())}


def _decide(
    found: PendingAuthorization,
    now: datetime,
    *,
    decision: str,
    grant: Grant | None = None,
    expires_at: datetime | None = None,
) -> None:
    """Approve against deny, twice against once: the first one wins, the others are told."""
    grant_pk = None if grant is None else grant.pk
    until = expires_at or found.expires_at
    if not statements.DECIDED.run(id=found.pk, decision=decision, grant=grant_pk, now=now, until=until):
        decided = PendingAuthorization.objects.filter(pk=found.pk).values_list("decision", flat=True).first()
        if decided is None:
            raise NotFound("This request is unknown or has expired.")  # deleted meanwhile, with its client
        if decided == Decision.NONE:
            raise Gone
        raise Conflict(f"This request was already {decided}.", decision=decided)


def _decided(status: Literal["approved", "denied"], found: PendingAuthorization) -> Decided:
    seen = authorization.see(found)
    return Decided(status, seen.client_id, display_text.clean(found.client.name), seen.destination)
