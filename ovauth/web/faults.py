"""The one place where a refusal becomes HTTP: four renderers, and a catch-all for each.

OAuth JSON (RFC 6749 §5.2), the API's envelope, pages, and the redirect to a client (in `authorize`, which alone knows that
the destination is proven).
"""

import logging
import sys
from typing import Any, Final

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import BadRequest, PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.http.multipartparser import MultiPartParserError
from django.http.request import RawPostDataException, UnreadablePostError
from django.template.loader import render_to_string
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError

from ovauth import metrics
from ovauth.errors import (
    BLOCKED_CLIENT,
    Forbidden,
    InvalidClient,
    InvalidRequest,
    InvalidToken,
    NotAllowed,
    NotFound,
    OAuthRefusal,
    Refusal,
    ServerFault,
    TooLarge,
    TooSlow,
    Unavailable,
    UnsupportedMediaType,
    UntrustedRedirect,
)
from ovauth.flows import readiness
from ovauth.logs import speakable
from ovauth.rules import redirect_uris

log = logging.getLogger(__name__)

OAUTH_ENDPOINTS: Final = ("/token", "/revoke", "/register", "/introspect", "/device_authorization", "/par")
API: Final = ("/api/", "/oauth/authorize/page/status", "/health/", "/metrics")
"""What programs and our own scripts ask."""
LONGEST_SHOWN: Final = 500
STALE_FORM: Final = "This form has expired. Go back, reload the page and try again."
_OAUTH_WORDS: Final = {"unauthenticated": "invalid_token", "forbidden": "access_denied"}
"""What RFC 6749 and RFC 6750 have a word for, in that word: clients know those."""


def replace_all(api: NinjaAPI) -> None:
    """Takes the place of all of Ninja's own handlers: 422 lists, tracebacks, shapes that are not ours."""

    def handler(request: HttpRequest, fault: Any) -> HttpResponse:
        return answer(request, fault)

    for kind in (Exception, Http404, HttpError, ValidationError):
        api.add_exception_handler(kind, handler)


def answer(request: HttpRequest, fault: Exception) -> HttpResponse:
    """The response to a refusal, or to anything else that was raised, in the shape of the endpoint that was asked."""
    refusal = _as_refusal(fault)
    if isinstance(refusal, ServerFault):
        log.error("unexpected fault at %s (%s)", speakable(request.path), _reference(request), exc_info=fault)
    else:
        log.info("%s refused: %s (%s)", speakable(request.path), refusal.reason, _reference(request))
    metrics.refused(request.path_info, refusal.code)
    response = _shaped(request, refusal)
    if refusal.status == 401:
        response["WWW-Authenticate"] = _challenge(refusal)
    if retry_after := getattr(refusal, "retry_after", None):
        response["Retry-After"] = str(retry_after)
    if isinstance(refusal, TooLarge | TooSlow):
        response["Connection"] = "close"  # the rest of the body is still on its way (RFC 9110 §15.5.9, §15.5.14)
    response["Cache-Control"] = "no-store"
    return response


def in_shape(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Django's and Ninja's own bare 405, in the shape of the endpoint that was asked."""
    if isinstance(response, HttpResponseNotAllowed):
        shaped = answer(request, NotAllowed())
        shaped["Allow"] = response["Allow"]
        return shaped
    return response


def is_page(path: str) -> bool:
    """Whether people are answered at that path, and not programs."""
    return not (is_well_known(path) or is_oauth(path) or path.startswith((*API, settings.STATIC_URL)))


def is_well_known(path: str) -> bool:
    """Whether it is a path of discovery, known or not."""
    return path == "/.well-known" or path.startswith("/.well-known/")


def is_oauth(path: str) -> bool:
    """Whether an OAuth endpoint, which programs call, is at that path or above it."""
    return any(path == endpoint or path.startswith(f"{endpoint}/") for endpoint in OAUTH_ENDPOINTS)


def _shaped(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    path = request.path_info
    if is_well_known(path):
        return JsonResponse({"error": refusal.code}, status=refusal.status)
    if is_oauth(path):
        return _oauth(refusal)
    if path.startswith(API):
        return _api(refusal)
    try:
        return page(request, refusal)
    except Exception:
        # A page knows who is signed in, and that may be the very thing that cannot be asked.
        log.exception("the page for a fault could not be made")
        return HttpResponse(f"{refusal.description}\n", status=refusal.status, content_type="text/plain")


def _as_refusal(fault: Exception) -> Refusal:
    match fault:
        case Refusal():
            return fault
        case Http404():
            return NotFound()
        case PermissionDenied():
            return Forbidden()
        case RequestDataTooBig():
            return TooLarge()
        case RawPostDataException():
            return UnsupportedMediaType()
        case BadRequest() | SuspiciousOperation() | MultiPartParserError() | UnreadablePostError():
            return InvalidRequest(reason=repr(fault))
        case HttpError() | ValidationError():
            return InvalidRequest(reason=repr(fault))
    if readiness.is_database_fault(fault):
        # Locked, full, read-only or gone: nobody's grant is invalid because of that.
        log.error("the database did not answer: %s", fault)
        readiness.begin_anew()
        return Unavailable(reason=f"database: {fault}")
    return ServerFault(reason=repr(fault))


def _oauth(refusal: Refusal) -> HttpResponse:
    body = {"error": _OAUTH_WORDS.get(refusal.code, refusal.code), "error_description": refusal.spoken}
    response = JsonResponse(body, status=refusal.status)
    response["Pragma"] = "no-cache"
    return response


def _api(refusal: Refusal) -> HttpResponse:
    body = {"error": {"code": refusal.code, "message": refusal.description}}
    return JsonResponse(body, status=refusal.status)


def _challenge(refusal: Refusal) -> str:
    """A 401 says how to do better (RFC 9110 §15.5.2, RFC 6749 §5.2, RFC 6750 §3)."""
    match refusal:
        case InvalidClient():
            return 'Basic realm="ovauth", charset="UTF-8"'
        case InvalidToken():
            return 'Bearer realm="ovauth", error="invalid_token"'
    return 'Bearer realm="ovauth"'


def _reference(request: HttpRequest) -> str:
    """The id of the request: on its page, in its header and in the log."""
    return str(getattr(request, "id", ""))


def page(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    """A page that says what happened, whether anything was shared, and what to do now."""
    if isinstance(refusal, Unavailable):
        # Who is signed in is known to the database, which is what does not answer.
        request.user = AnonymousUser()
    asked, registered = redirect_uris.parted(
        getattr(refusal, "asked", "")[:LONGEST_SHOWN], [uri[:LONGEST_SHOWN] for uri in getattr(refusal, "registered", ())]
    )
    context: dict[str, Any] = {
        "refusal": refusal,
        "reference": _reference(request),
        "is_link_fault": isinstance(refusal, UntrustedRedirect | OAuthRefusal),
        "asked": asked,
        "registered": registered,
        "is_blocked": refusal.reason == BLOCKED_CLIENT,
        "is_stale_form": refusal.description == STALE_FORM,
        "for_the_developer": any(asked) or registered,
    }
    return HttpResponse(render_to_string("ovauth/error.html", context, request), status=refusal.status)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form that did not come from our own page, or from a page whose cookie is gone."""
    return answer(request, Forbidden(STALE_FORM, reason=reason))


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:
    return answer(request, NotFound())


def handler400(request: HttpRequest, exception: Exception) -> HttpResponse:
    return answer(request, exception)


def handler403(request: HttpRequest, exception: Exception) -> HttpResponse:
    return answer(request, Forbidden(reason=repr(exception)))


def handler500(request: HttpRequest) -> HttpResponse:
    """What was raised outside of every view: a session that could not be written, for one."""
    fault = sys.exc_info()[1]
    return answer(request, fault if isinstance(fault, Exception) else ServerFault())
