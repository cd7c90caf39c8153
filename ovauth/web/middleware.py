"""What every request to Django passes: its provenance, its headers, and the refusals that came before it."""

import math
import time
from collections.abc import Callable
from functools import cache
from typing import Final

from django.conf import settings
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse
from django.utils import translation

from ovauth import wire
from ovauth.errors import InvalidRequest, NotFound, Refusal, Unavailable
from ovauth.flows import sign_in
from ovauth.provenance import serving
from ovauth.web import callers, faults, languages, watching

Next = Callable[[HttpRequest], HttpResponse]

QUEUE_PATIENCE: Final = 5
"""Seconds that a request waits for a thread. While a database hangs everybody would else wait for all who came before."""

OAUTH_ROUTES = (
    "/authorize",
    *faults.OAUTH_ENDPOINTS,
    "/oauth/",
    "/.well-known/",
    "/api/v1/auth/",
    "/console/verify",
)


class Requests:
    """Lets what happens know where the request came from, and answers refusals."""

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        source = watching.of(request)
        source.user_agent = request.META.get("HTTP_USER_AGENT", "")
        request.id = source.request_id  # type: ignore[attr-defined]
        with serving(source):
            response = self._answer(request)
        if request.resolver_match is not None:
            source.route = watching.readable(request.resolver_match.route)
        for cookie in response.cookies.values():
            # Decided per request: behind a proxy only the request knows that the browser speaks https.
            cookie["secure"] = request.is_secure()
        return response

    def _answer(self, request: HttpRequest) -> HttpResponse:
        fault = _before_everything(request)
        if fault is not None:
            return faults.answer(request, fault)
        response = self.get_response(request)
        return faults.in_shape(request, response)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse:
        return faults.answer(request, exception)


def _before_everything(request: HttpRequest) -> Refusal | None:
    """What is wrong with the request whatever it asks for."""
    fault: Refusal | None = getattr(request, "scope", {}).get("ovauth.fault")
    if fault is not None:
        return fault
    if time.monotonic() - getattr(request, "scope", {}).get("ovauth.received", math.inf) > QUEUE_PATIENCE:
        return Unavailable(reason=f"waited more than {QUEUE_PATIENCE} s for a thread")
    if not settings.OVAUTH.enabled and request.path_info.startswith(OAUTH_ROUTES):
        return NotFound("OAuth is switched off here.")
    if wire.unspeakable(request.path_info):
        return NotFound(reason="a path with NUL or half of a surrogate pair")
    if "%00" in request.META.get("QUERY_STRING", "") or wire.unspeakable(request.META.get("QUERY_STRING", "")):
        return InvalidRequest("The query contains a NUL character.")
    return None


class Languages:
    """Pages speak the person's language, everything else English. In front of whatever may answer with a page."""

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        language = languages.of(request) if faults.is_page(request.path_info) else settings.LANGUAGE_CODE
        with translation.override(language):
            response = self.get_response(request)
        if response.headers.get("Content-Type", "").startswith("text/html"):
            response.headers.setdefault("Content-Language", languages.tag(language))
        return response


class SessionsOfKeys:
    """Ends a session that was opened with an API key as soon as that key works no more, on every page."""

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if settings.SESSION_COOKIE_NAME in request.COOKIES:
            key = request.session.get(callers.API_KEY)
            if key is not None and not sign_in.stands(api_key_pk=key):
                logout(request)
        return self.get_response(request)


class PageHeaders:
    """The headers of every page, and of everything that has none of its own. In front of whatever may answer."""

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        for name, value in page_headers().items():
            response.headers.setdefault(name, value)
        return response


@cache
def page_headers() -> dict[str, str]:
    """What everything is answered with, unless it says otherwise itself."""
    return {
        "Content-Security-Policy": "; ".join(f"{name} {' '.join(at)}" for name, at in settings.SECURE_CSP.items()),
        "Cross-Origin-Opener-Policy": "unsafe-none",
        "Referrer-Policy": settings.SECURE_REFERRER_POLICY,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Permissions-Policy": "",
        "Cache-Control": "no-store",
    }
