"""The authorization endpoint (OAuth 2.1 §4.1.1, RFC 9207) and the way back from it.

`destination` proves client and redirect URI, `begin` opens a request that waits for a person, `collect` hands the result
to the browser that began, and to no other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypedDict, Unpack

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from ovauth import credentials, statements
from ovauth.credentials import Kind
from ovauth.errors import (
    BLOCKED_CLIENT,
    AccessDenied,
    Forbidden,
    Gone,
    InvalidClient,
    InvalidRequest,
    NotFound,
    Refusal,
    UnauthorizedClient,
    Unavailable,
    UnsupportedResponseType,
    UntrustedRedirect,
)
from ovauth.flows import audit, clients, limits
from ovauth.models import AuthorizationCode, Client, PendingAuthorization, known
from ovauth.provenance import Actor
from ovauth.rules import client_documents, display_text, pkce, redirect_uris, resource_indicators, scopes
from ovauth.rules.networks import household
from ovauth.sql import Insert, moment

Decision = PendingAuthorization.Decision
_INSERT, _INSERT_CODE = Insert(PendingAuthorization), Insert(AuthorizationCode)
MAX_STATE = 4096
CODE_ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class Destination:
    """A client and one of its redirect URIs, both proven: now an answer may travel there."""

    client: Client
    redirect_uri: str


class Asked(TypedDict):
    """The parameters of an authorization request (OAuth 2.1 §4.1.1), as they were sent; None for what was not."""

    response_type: str | None
    state: str | None
    scope: str | None
    code_challenge: str | None
    code_challenge_method: str | None
    resource: Sequence[str]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A pending request, as pages and programs may see it. `display_code` only for the browser that began.

    `by_password`: a one-time password was given for it, so that its owner may decide in that browser. `blocked_at`: since
    when an operator blocks its client.
    """

    pending_id: str
    client_id: str
    client_name: str
    destination: str
    is_loopback: bool
    is_device: bool
    is_vouched: bool
    is_approved: bool
    blocked_at: datetime | None
    scopes: tuple[str, ...]
    sentences: tuple[str, ...]
    created_at: datetime
    expires_at: datetime
    ip: str
    user_agent: str
    status: str
    by_password: bool
    display_code: str = ""


@dataclass(frozen=True, slots=True)
class Collected:
    """`status` is pending, approved or denied; with the last two comes the URL that takes the result to the client."""

    status: str
    redirect_url: str | None = None


def destination(*, client_id: str | None, redirect_uri: str | None, ip: str = "") -> Destination:
    """Client and redirect URI, the latter as it was sent. Raises UntrustedRedirect: nothing may travel anywhere.

    A client with one redirect URI may leave it out (RFC 6749 §3.1.2.3).
    """
    if not client_id:
        raise UntrustedRedirect("The app did not say which app it is.", reason="client_id is missing")
    try:
        client = clients.found(client_id=client_id, ip=ip)
    except InvalidClient as refused:  # by its document
        raise UntrustedRedirect(refused.description, reason=refused.reason) from None
    if client is None:
        raise UntrustedRedirect("This app is not known here.", reason="unknown client")
    if client.blocked_at is not None:
        raise UntrustedRedirect("An operator has blocked this app.", reason=BLOCKED_CLIENT)
    registered = tuple(client.redirect_uris)
    if redirect_uri is None and len(registered) == 1:
        return Destination(client, registered[0])
    if redirect_uri is None or not redirect_uris.matches(redirect_uri, registered):
        raise UntrustedRedirect(
            "The app asked to be answered at an address that it has not registered.",
            reason=f"unregistered redirect_uri: {redirect_uris.difference(redirect_uri or '', registered)}",
            asked=redirect_uri or "",
            registered=registered,
        )
    return Destination(client, redirect_uri)


def begin(*, to: Destination, issuer: str, browser: str, ip: str = "", user_agent: str = "", **asked: Unpack[Asked]) -> str:
    """Opens a pending request for the browser with that secret; returns its public id.

    Raises what `judge` raises, and TooManyRequests.
    """
    judge(to=to, issuer=issuer, **asked)
    pending = open_request(
        client=to.client,
        scope=asked["scope"],
        resource=asked["resource"],
        issuer=issuer,
        ip=ip,
        user_agent=user_agent,
        kind=PendingAuthorization.Kind.BROWSER,
        redirect_uri=to.redirect_uri,
        state=asked["state"] or "",
        code_challenge=asked["code_challenge"] or "",
        browser_digest=credentials.digest(browser),
    )
    return pending.public_id


def judge(*, to: Destination, issuer: str, **asked: Unpack[Asked]) -> None:
    """Raises the OAuthRefusal that this authorization request deserves; each may travel to the destination."""
    config = settings.OVAUTH
    response_type, state = asked["response_type"], asked["state"]
    if response_type is None:
        raise InvalidRequest("response_type is missing.")
    if response_type != "code":
        raise UnsupportedResponseType
    if "authorization_code" not in to.client.grant_types:
        raise UnauthorizedClient
    if state is not None and len(state) > MAX_STATE:
        raise InvalidRequest(f"state is longer than {MAX_STATE} characters.")
    if why := pkce.why_not_challenge(asked["code_challenge"], asked["code_challenge_method"]):
        raise InvalidRequest(why)
    scopes.choose(asked["scope"], known=config.scope_names, default=config.default_scopes)
    resource_indicators.canonical(asked["resource"], resources=config.resources(issuer), issuer=issuer)


def open_request(
    *,
    client: Client,
    scope: str | None,
    resource: Sequence[str],
    issuer: str,
    ip: str,
    user_agent: str,
    **facts: Any,
) -> PendingAuthorization:
    """A pending request with a display code that no other has; `facts` are the fields of its kind.

    Raises InvalidScope, InvalidTarget, TooManyRequests.
    """
    config = settings.OVAUTH
    chosen = scopes.choose(scope, known=config.scope_names, default=config.default_scopes)
    target = resource_indicators.canonical(resource, resources=config.resources(issuer), issuer=issuer)
    counted = ((limits.PENDING_BY_CLIENT_AND_ADDRESS, f"{client.pk} {household(ip)}"),)
    limits.remember(counted)
    now = timezone.now()
    with transaction.atomic():
        limits.admit(counted)
        pending = _insert_with_a_free_code(
            PendingAuthorization(
                public_id=credentials.identifier(),
                client=client,
                scope=scopes.joined(chosen),
                resource=target,
                ip=ip,
                user_agent=display_text.clean(user_agent, 300),
                created_at=now,
                expires_at=now + timedelta(seconds=config.pending_ttl),
                **facts,
            )
        )
        if pending.kind == PendingAuthorization.Kind.DEVICE:
            audit.record("device.requested", now=now, by=Actor.CLIENT, client=client)
        else:
            destination = _destination(pending)
            audit.record("authorization.requested", now=now, by=Actor.BROWSER, client=client, destination=destination)
    return pending


def _destination(pending: PendingAuthorization) -> str:
    """Where the result goes, in words that need no translation; empty for a device, which fetches it itself."""
    return redirect_uris.destination(pending.redirect_uri) if pending.redirect_uri else ""


def new_browser() -> str:
    """A secret for a browser that has none yet, to be kept in its cookie."""
    return credentials.browser()


def _insert_with_a_free_code(pending: PendingAuthorization) -> PendingAuthorization:
    for attempt in range(CODE_ATTEMPTS):
        pending.code_attempt = attempt
        code = credentials.display_code(settings.SECRET_KEY, pending.public_id, attempt)
        pending.code_digest = _code_digest(settings.SECRET_KEY, code)
        try:
            with transaction.atomic():
                pending.id = _INSERT.of(pending)
        except IntegrityError:
            continue  # the code of another request: the next attempt has another code
        return pending
    raise Unavailable(reason="no free display code")


def code_digests(code: str) -> list[bytes]:
    """By what a display code is looked up: under the key that signs, and under those that it replaced."""
    return [_code_digest(key, code) for key in _keys()]


def _code_digest(key: str, code: str) -> bytes:
    return credentials.keyed_digest(key, "display code lookup", code)


def _keys() -> tuple[str, ...]:
    return (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)


def display_code(pending: PendingAuthorization) -> str:
    """The request's code, under whichever key it began: the key may be rotated while a page waits."""
    codes = [(key, credentials.display_code(key, pending.public_id, pending.code_attempt)) for key in _keys()]
    return next((code for key, code in codes if _code_digest(key, code) == bytes(pending.code_digest)), codes[0][1])


def look(*, pending_id: str, browser: str | None) -> Waiting:
    """The request, for its code page. Raises NotFound, Gone once expired, Forbidden for any other browser."""
    return see(of_browser(pending_id, browser, timezone.now()), with_code=True)


def waits(*, pending_id: str, browser: str | None) -> bool:
    """Whether nobody has decided it yet. Raises as `look` does."""
    return of_browser(pending_id, browser, timezone.now()).decision == Decision.NONE


def see(pending: PendingAuthorization, *, with_code: bool = False) -> Waiting:
    """The request as a person or a program may see it."""
    asked = tuple(pending.scope.split())
    sentences = {scope.name: scope.sentence for scope in settings.OVAUTH.scopes}
    return Waiting(
        pending_id=pending.public_id,
        client_id=pending.client.client_id,
        client_name=display_text.clean(pending.client.name),
        destination=_destination(pending),
        is_loopback=redirect_uris.is_loopback(pending.redirect_uri),
        is_vouched=client_documents.vouches(pending.client.client_id, pending.redirect_uri),
        is_approved=pending.client.approved_at is not None,
        blocked_at=pending.client.blocked_at,
        is_device=pending.kind == PendingAuthorization.Kind.DEVICE,
        scopes=asked,
        sentences=tuple(sentences.get(name, name) for name in asked),
        created_at=pending.created_at,
        expires_at=pending.expires_at,
        ip=pending.ip,
        user_agent=pending.user_agent,
        status=pending.decision or "pending",
        by_password=pending.one_time_password_id is not None,
        display_code=credentials.grouped(display_code(pending)) if with_code else "",
    )


def collect(*, pending_id: str, browser: str | None, issuer: str) -> Collected:
    """What became of the request; asked again, the same answer again, until its code is redeemed or its time is over.

    Raises NotFound, Forbidden for any other browser, Gone once expired.
    """
    now = timezone.now()
    with transaction.atomic():
        pending = of_browser(pending_id, browser, now, lock=True)
        if pending.decision == Decision.DENIED:
            return Collected("denied", error_redirect(pending.redirect_uri, AccessDenied(), pending.state, issuer))
        if pending.decision == Decision.NONE:
            return Collected("pending")
        code = _code_of(pending, browser or "", now)
    parameters = {"code": code} | ({"state": pending.state} if pending.state else {}) | {"iss": issuer}
    return Collected("approved", redirect_uris.with_parameters(pending.redirect_uri, parameters))


def error_redirect(redirect_uri: str, refusal: Refusal, state: str | None, issuer: str) -> str:
    """The URL that takes a refusal to the client (RFC 6749 §4.1.2.1, RFC 9207)."""
    parameters = {"error": refusal.code, "error_description": refusal.spoken}
    return redirect_uris.with_parameters(redirect_uri, parameters | ({"state": state} if state else {}) | {"iss": issuer})


def known_by(public_id: str, *, lock: bool = False) -> PendingAuthorization | None:
    """The request of that public id, with its client; None when there is none."""
    row = (statements.PENDING_LOCKED if lock else statements.PENDING).row(public_id=public_id)
    if row is None:
        return None
    columns = dict(zip(statements.PENDING_COLUMNS, row, strict=False))
    of_client = dict(zip(statements.CLIENT_OF_PENDING_COLUMNS, row[len(columns) :], strict=True))
    moments = {"created_at", "expires_at", "decided_at"}, {"last_used_at", "blocked_at", "approved_at"}
    for found, names in zip((columns, of_client), moments, strict=True):
        for name in names:
            found[name] = None if found[name] is None else moment(found[name])
    return known(PendingAuthorization, {"client": known(Client, **of_client)}, **columns)


def of_browser(pending_id: str, browser: str | None, now: datetime, *, lock: bool = False) -> PendingAuthorization:
    pending = known_by(pending_id, lock=lock)
    if pending is None:
        raise NotFound("This request is not known here.")
    if browser is None or pending.browser_digest is None or not credentials.same(browser, bytes(pending.browser_digest)):
        raise Forbidden("Open this in the browser where you started.")
    if pending.expires_at <= now:
        raise Gone
    return pending


def _code_of(pending: PendingAuthorization, browser: str, now: datetime) -> str:
    """The authorization code of an approved request: minted at the first call, opened with the browser's secret later."""
    code = statements.CODE_OF_PENDING.row(pending=pending.pk)
    if code is not None:
        is_consumed, sealed = code
        plain = None if is_consumed else credentials.unseal(sealed, under=browser)
        if plain is None:
            raise Gone("This request is completed.")
        return plain
    plain = credentials.mint(Kind.AUTHORIZATION_CODE)
    expires_at = now + timedelta(seconds=settings.OVAUTH.auth_code_ttl)
    _INSERT_CODE(
        digest=credentials.digest(plain),
        grant_id=pending.grant_id or 0,  # an approved request has one
        pending_id=pending.pk,
        redirect_uri=pending.redirect_uri,
        code_challenge=pending.code_challenge,
        sealed=credentials.seal(plain, under=browser),
        expires_at=expires_at,
    )
    statements.PENDING_LASTS.run(id=pending.pk, until=expires_at)
    return plain
