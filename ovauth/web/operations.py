"""For Prometheus: what was counted, and what is there now."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.templatetags.static import static
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from ovauth import metrics
from ovauth.errors import Forbidden, Unavailable
from ovauth.roles import Role
from ovauth.rules import origin
from ovauth.web import callers


@csrf_exempt
@require_safe
def scrape(request: HttpRequest) -> HttpResponse:
    """Prometheus' text format, for the API key of a root; without one only on this computer, see `_is_at_home`.

    `health.Metrics` brings the gauges. Whose key it is cannot be known without the database; what was counted can be told.
    """
    told = getattr(request, "scope", {})
    if _sends_a_credential(request) or not _is_at_home(request):
        if not told.get("ovauth.database"):
            raise Unavailable(reason="nobody can be recognised without the database")
        caller, _ = callers.approver(request)
        if caller.role < Role.ROOT:
            raise Forbidden("This needs the API key of a root.")
    text, content_type = metrics.exposition(told.get("ovauth.readings", ()))
    response = HttpResponse(text, content_type=content_type)
    response["Cache-Control"] = "no-store"
    return response


def _sends_a_credential(request: HttpRequest) -> bool:
    return "authorization" in request.headers or "x-api-key" in request.headers


def _is_at_home(request: HttpRequest) -> bool:
    """From this computer, and nothing says that a proxy stands in front: a configured origin, a header of forwarding.

    A proxy on the same machine makes everybody look like this computer, and not each says that it forwards.
    """
    config, scope = settings.OVAUTH, getattr(request, "scope", {})
    if config.public_base_url or config.issuer or scope.get("ovauth.forwarded", False):
        return False
    return origin.is_loopback_address(request.META.get("REMOTE_ADDR", ""))


@require_safe
def favicon(request: HttpRequest) -> HttpResponse:
    """Browsers ask for it whatever the pages say."""
    response = HttpResponseRedirect(static("ovauth/favicon.svg"))
    response["Cache-Control"] = "public, max-age=86400"
    return response
