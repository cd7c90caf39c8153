"""The authorization endpoint and the code page behind it (OAuth 2.1 §4.1, RFC 9207; RFC 10027 for the page).

`/authorize` proves client and redirect URI and opens a pending request for this browser. The page shows the code, lets a
person who is signed in here (or gives a one-time password) decide at once, waits, and hands the result to the client. A
decision is POST → 303 → a 200 page of ours, which goes on by itself: Chromium blocks a form whose redirect leaves for the
client.
"""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe
from ninja import NinjaAPI

from ovauth import wire
from ovauth.errors import Conflict, Forbidden, Gone, InvalidRequest, NotFound, Refusal, UntrustedRedirect
from ovauth.flows import approval, attempts, authorization, blocking, pushed_request
from ovauth.flows.authorization import Destination, Waiting
from ovauth.roles import Role
from ovauth.web import callers, languages, qr, review, spelling
from ovauth.web.callers import Caller
from ovauth.web.public_origin import is_on_loopback, issuer_of
from ovauth.web.review import Doubt
from ovauth.wire import Lenient

_REGISTERED: Final = re.compile(rb"(?:.*&)?client_id=[A-Za-z0-9_-]+(?:&.*)?", re.DOTALL)
BLOCKED: Final = "ovauth.blocked"
"""Where a session keeps what its person blocked last, for the page that says so."""


class SeeOther(HttpResponseRedirect):
    status_code = 303


def mount(api: NinjaAPI) -> None:
    @api.api_operation(["GET", "POST"], "/authorize")
    def authorize(request: HttpRequest) -> HttpResponse:
        return _authorize(request)

    @api.api_operation(["GET", "POST"], "/oauth/authorize", include_in_schema=False)
    def behind_other_routes(request: HttpRequest) -> HttpResponse:
        """The same, where the mcp package's own routes answer at /authorize and send the browser on (`resource.sdk`)."""
        return _authorize(request)


def may_wait_for_others(scope: Mapping[str, Any]) -> bool:
    """Whether the answer may take somebody else's server: at the authorization endpoint, unless the client's id is written
    in the query so that it cannot be the address of a document. (A second one is refused before it is looked for.)"""
    if not scope["path"].endswith("/authorize"):
        return False
    return scope["method"] != "GET" or _REGISTERED.fullmatch(scope["query_string"]) is None


def _authorize(request: HttpRequest) -> HttpResponse:
    sent = _sent(request)
    if "redirect_uri" in sent.repeated or "client_id" in sent.repeated:
        raise UntrustedRedirect("The app's link names two apps or two addresses.", reason="repeated parameter")
    client_id, ip = sent.one("client_id"), request.META.get("REMOTE_ADDR", "")
    try:
        to = authorization.destination(client_id=client_id, redirect_uri=sent.one("redirect_uri"), ip=ip)
    except UntrustedRedirect as refusal:
        attempts.refused(client_id=client_id, refusal=refusal, ip=ip)
        raise
    browser = browser_of(request) or authorization.new_browser()
    try:
        pending_id = _begin(request, sent, to, browser)
    except Refusal as refusal:
        if not refusal.may_redirect:
            raise
        attempts.refused(client_id=client_id, refusal=refusal, ip=ip)
        return _to_client(authorization.error_redirect(to.redirect_uri, refusal, sent.one("state"), issuer_of(request)))
    response = HttpResponseRedirect(f"{reverse('code_page')}?pending={pending_id}")
    response.set_cookie(_cookie_name(request), browser, httponly=True, samesite="Lax", secure=request.is_secure())
    languages.remember(response, pending_id=pending_id, ui_locales=sent.one("ui_locales"))
    response["Cache-Control"] = "no-store"
    return response


def _sent(request: HttpRequest) -> Lenient:
    if request.method == "POST":
        sent = wire.authorization_form(request.headers.get("content-type"), request.body)
    else:
        sent = wire.authorization_request(request.META.get("QUERY_STRING", "").encode("latin-1", "replace"))
    request_uri = sent.one("request_uri")
    if request_uri is None:
        return sent
    # What was pushed counts, and nothing beside it (RFC 9126 §4).
    return wire.authorization_request(
        pushed_request.take(client_id=sent.one("client_id"), request_uri=request_uri).encode("ascii")
    )


def _begin(request: HttpRequest, sent: Lenient, to: Destination, browser: str) -> str:
    if sent.fault:
        raise InvalidRequest(sent.fault)
    if sent.one("response_mode") not in (None, "query"):
        raise InvalidRequest("Only the response mode query is supported.")
    return authorization.begin(
        to=to,
        response_type=sent.one("response_type"),
        state=sent.one("state"),
        scope=sent.one("scope"),
        code_challenge=sent.one("code_challenge"),
        code_challenge_method=sent.one("code_challenge_method"),
        resource=sent.resource,
        issuer=issuer_of(request),
        browser=browser,
        ip=request.META.get("REMOTE_ADDR", ""),
        user_agent=request.headers.get("user-agent", ""),
    )


def _to_client(url: str) -> HttpResponse:
    """A redirect to a proven redirect URI, byte for byte; Django's class knows no `cursor://`."""
    response = HttpResponse(status=302)
    response["Location"] = url
    response["Cache-Control"] = "no-store"
    return response


# ------------------------------------------------------------------ the page


@require_http_methods(["GET", "HEAD", "POST"])
def code_page(request: HttpRequest) -> HttpResponse:
    pending_id, browser = _asked(request), browser_of(request)
    waiting = authorization.look(pending_id=pending_id, browser=browser)
    if request.method == "POST":
        return _act(request, waiting, browser)
    if waiting.status != "pending":
        return _hand_over(request, waiting, browser)
    return _show(request, waiting, _decider(request, waiting, browser))


@require_safe
def status(request: HttpRequest) -> HttpResponse:
    """What became of the request, for the page's script: asked again, the same answer again."""
    pending_id, browser = _asked(request), browser_of(request)
    try:
        # Nearly every question comes before the decision: it is answered by reading, and waits for no writer.
        if authorization.waits(pending_id=pending_id, browser=browser):
            return JsonResponse({"status": "pending"})
        collected = authorization.collect(pending_id=pending_id, browser=browser, issuer=issuer_of(request))
    except Gone:
        return JsonResponse({"status": "expired"}, status=410)
    body = {"status": collected.status}
    if collected.redirect_url is not None:
        body["redirect_url"] = collected.redirect_url
    return JsonResponse(body)


def waiting_behind(request: HttpRequest, url: str) -> Waiting | None:
    """The request whose code page `url` is, if it waits for this very browser: so that sign-in can say what it is for."""
    parts = urlsplit(url)
    if parts.path != reverse("code_page"):
        return None
    try:
        pending_id = wire.query(parts.query.encode("latin-1", "replace")).need("pending")
        return authorization.look(pending_id=pending_id, browser=browser_of(request))
    except Refusal:
        return None  # the page itself will say why


def _show(
    request: HttpRequest,
    waiting: Waiting,
    acts_as: Caller | None,
    *,
    fault: str = "",
    doubt: Doubt | None = None,
    status: int = 200,
) -> HttpResponse:
    here = _address(waiting)
    seconds_left = max(0, int((waiting.expires_at - timezone.now()).total_seconds()))
    context = review.context(request, review.of(request, waiting, here=True), acts_as, fault=fault, doubt=doubt) | {
        "may_decide": acts_as is not None,
        "by_one_time_password": acts_as is not None and not request.user.is_authenticated,
        "hold": "hold" in request.GET,  # without JavaScript: no reloading while somebody types
        "here": here,
        "status_url": f"{reverse('code_page_status')}?{urlencode({'pending': waiting.pending_id})}",
        "sign_in_url": f"{reverse('console_login')}?{urlencode({'next': here})}",
        "seconds_left": seconds_left,
        "time_left": time_left(seconds_left),
        "aloud": spelling.aloud(waiting.display_code),
        "qr": _picture(request, waiting),
    }
    return render(request, "ovauth/code.html", context, status=status)


def _picture(request: HttpRequest, waiting: Waiting) -> str:
    """What leads a phone to where it confirms the code; empty where no phone can come. The code moves out of the address at
    once, and still needs a click.
    """
    if is_on_loopback(request):
        return ""
    address = f"{issuer_of(request)}/console/verify?{urlencode({'code': waiting.display_code})}"
    return qr.svg(address, title=_("QR code: opens the page where you enter the code"))


def time_left(seconds: int) -> str:
    """“9 min 41 s”, as the page's script counts it down."""
    minutes, rest = divmod(seconds, 60)
    return " ".join(([_("%d min") % minutes] if minutes else []) + ([_("%d s") % rest]))


def span(seconds: int) -> str:
    """“5 min”: as `time_left`, of a time that nobody counts down."""
    return _("%d min") % (seconds // 60) if seconds % 60 == 0 else time_left(seconds)


def _act(request: HttpRequest, waiting: Waiting, browser: str | None) -> HttpResponse:
    """One of the page's forms: a decision by whoever may decide here, a one-time password, or giving up."""
    pending_id, ip = waiting.pending_id, request.META.get("REMOTE_ADDR", "")
    try:
        match request.POST.get("action"):
            case "block":
                _block(request, waiting)
            case "cancel":
                approval.cancel(pending_id=pending_id, browser=browser)
            case "one-time-password":
                typed = request.POST.get("one_time_password", "")
                try:
                    approval.present_one_time_password(pending_id=pending_id, browser=browser, typed=typed, ip=ip)
                except NotFound as wrong:
                    return _show(request, waiting, None, fault=wrong.description, status=400)
            case "approve" | "deny" as decision:
                decider = _decider(request, waiting, browser)
                if decider is None or (authority := decider.authority) is None:
                    raise Forbidden("Sign in first, or give a one-time password.")
                if decision == "deny":
                    approval.deny(authority=authority, pending_id=pending_id, ip=ip, via="button")
                else:
                    if doubt := review.doubt(request, review.of(request, waiting, here=True), decider):
                        return _show(request, waiting, decider, doubt=doubt, status=400)
                    scopes = review.chosen(request, waiting, decider)
                    approval.approve(authority=authority, pending_id=pending_id, scopes=scopes, ip=ip, via="button")
            case _:
                raise InvalidRequest("The form was not complete.")
    except Conflict:
        pass  # decided meanwhile: the first decision stands, and the page shows it
    return SeeOther(_address(waiting))


def _block(request: HttpRequest, waiting: Waiting) -> None:
    """“I did not start this”, after a denial, by whoever is signed in here."""
    authority = callers.of_session(request).authority if request.user.is_authenticated else None
    if authority is None:
        raise Forbidden("Sign in first.")
    if waiting.status != "denied":
        raise InvalidRequest("The form was not complete.")
    blocked = blocking.block(authority=authority, client_id=waiting.client_id)
    request.session[BLOCKED] = {"pending_id": waiting.pending_id, **blocked.told}


def _hand_over(request: HttpRequest, waiting: Waiting, browser: str | None) -> HttpResponse:
    """A page of ours that goes on to the client: by script, or without one by itself after a second."""
    collected = authorization.collect(pending_id=waiting.pending_id, browser=browser, issuer=issuer_of(request))
    context: dict[str, Any] = {
        "review": review.of(request, waiting, here=True),
        "collected": collected,
        "here": _address(waiting),
    }
    if collected.status == "denied" and request.user.is_authenticated:
        told = request.session.get(BLOCKED, {})
        context["blocked"] = told if told.get("pending_id") == waiting.pending_id else None
        context["may_block"] = context["blocked"] is None
        context["whole_account"] = callers.of_session(request).role >= Role.ADMIN
    return render(request, "ovauth/hand_over.html", context)


def _decider(request: HttpRequest, waiting: Waiting, browser: str | None) -> Caller | None:
    """The person signed in on this browser, or else the owner of the one-time password that was given on the page."""
    if request.user.is_authenticated:
        return callers.of_session(request)
    if not waiting.by_password:
        return None
    authority = approval.authority_on_page(pending_id=waiting.pending_id, browser=browser)
    return callers.of_authority(authority) if authority is not None else None


def _asked(request: HttpRequest) -> str:
    return wire.query(request.META.get("QUERY_STRING", "").encode("latin-1", "replace")).need("pending")


def _address(waiting: Waiting) -> str:
    return f"{reverse('code_page')}?{urlencode({'pending': waiting.pending_id})}"


def browser_of(request: HttpRequest) -> str | None:
    """The secret of this browser, if it has one."""
    return request.COOKIES.get(_cookie_name(request))


def _cookie_name(request: HttpRequest) -> str:
    """`__Host-` binds the cookie to this very host, but browsers take it only over https."""
    return "__Host-ovauth_browser" if request.is_secure() else "ovauth_browser"
