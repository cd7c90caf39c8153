"""The one place where a refusal becomes HTTP: four renderers, and a catch-all for each.

OAuth JSON (RFC 6749 §5.2), the API's envelope, pages, and the redirect to a client (in `authorize`, which alone knows that
the destination is proven).
"""

import logging
from typing import Any

from django.core.exceptions import BadRequest, PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import DatabaseError, InterfaceError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.template.loader import render_to_string

from ovauth.errors import (
    Forbidden,
    InvalidClient,
    InvalidRequest,
    InvalidToken,
    NotAllowed,
    NotFound,
    OAuthRefusal,
    Refusal,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UntrustedRedirect,
)

log = logging.getLogger(__name__)

OAUTH_ENDPOINTS = ("/token", "/revoke", "/register", "/introspect", "/device_authorization", "/par")


class Internal(Refusal):
    """A fault of ours. The client is told no more than that."""

    code = "server_error"
    status = 500
    default = "Something went wrong on our side."


def answer(request: HttpRequest, fault: Exception) -> HttpResponse:
    """The response to a refusal, or to anything else that was raised, in the shape of the endpoint that was asked."""
    refusal = _as_refusal(fault)
    if isinstance(refusal, Internal):
        log.error("unexpected fault at %s", request.path, exc_info=fault)
    else:
        log.info("%s refused: %s", request.path, refusal.reason)
    path = request.path_info
    if path.startswith("/.well-known/"):
        response: HttpResponse = JsonResponse({"error": refusal.code}, status=refusal.status)
    elif path.startswith(OAUTH_ENDPOINTS):
        response = _oauth(request, refusal)
    elif path.startswith("/api/"):
        response = _api(refusal)
    else:
        response = page(request, refusal)
    if retry_after := getattr(refusal, "retry_after", None):
        response["Retry-After"] = str(retry_after)
    response["Cache-Control"] = "no-store"
    return response


def in_shape(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Django's and Ninja's own bare refusals (404, 405), in the shape of the endpoint that was asked."""
    if isinstance(response, HttpResponseNotAllowed):
        shaped = answer(request, NotAllowed())
        shaped["Allow"] = response["Allow"]
        return shaped
    return response


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
        case BadRequest() | SuspiciousOperation():
            return InvalidRequest()
        case DatabaseError() | InterfaceError():
            # Locked, full, read-only or gone: nobody's grant is invalid because of that.
            log.error("the database did not answer", exc_info=fault)
            return Unavailable(reason=f"database: {fault}")
    return Internal(reason=repr(fault))


def _oauth(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    body = {"error": refusal.code, "error_description": refusal.description}
    response = JsonResponse(body, status=refusal.status)
    response["Pragma"] = "no-cache"
    if isinstance(refusal, InvalidClient) and "Authorization" in request.headers:
        response["WWW-Authenticate"] = 'Basic realm="ovauth"'
    if isinstance(refusal, InvalidToken):
        response["WWW-Authenticate"] = 'Bearer error="invalid_token"'
    return response


def _api(refusal: Refusal) -> HttpResponse:
    response = JsonResponse({"error": {"code": refusal.code, "message": refusal.description}}, status=refusal.status)
    if isinstance(refusal, Unauthenticated):
        response["WWW-Authenticate"] = "Bearer"
    if isinstance(refusal, InvalidToken):
        response["WWW-Authenticate"] = 'Bearer error="invalid_token"'
    return response


def page(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    """A page that says what happened, whether anything was shared, and what to do now."""
    context: dict[str, Any] = {
        "refusal": refusal,
        "reference": getattr(request, "id", ""),
        "is_link_fault": isinstance(refusal, UntrustedRedirect | OAuthRefusal),
        "asked": getattr(refusal, "asked", ""),
        "registered": getattr(refusal, "registered", ()),
    }
    return HttpResponse(render_to_string("ovauth/error.html", context, request), status=refusal.status)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form that did not come from our own page, or from a page whose cookie is gone."""
    return answer(request, Forbidden("This form has expired. Go back, reload the page and try again.", reason=reason))


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:
    return answer(request, NotFound())


def handler400(request: HttpRequest, exception: Exception) -> HttpResponse:
    return answer(request, InvalidRequest(reason=repr(exception)))


def handler403(request: HttpRequest, exception: Exception) -> HttpResponse:
    return answer(request, Forbidden(reason=repr(exception)))


def handler500(request: HttpRequest) -> HttpResponse:
    return answer(request, Internal())
