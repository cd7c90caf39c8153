"""For whoever watches the process: is it alive, can it do its work?"""

import logging

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from ovauth.flows import readiness
from ovauth.rules import origin

log = logging.getLogger(__name__)


@csrf_exempt
@require_safe
def live(request: HttpRequest) -> HttpResponse:
    """The process answers. The database is not asked."""
    return JsonResponse({"status": "ok"})


@csrf_exempt
@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """The database answers, takes writes, and its schema is that of this program. What is wrong is told on this
    computer only, and to the log."""
    faults = readiness.faults()
    if faults:
        log.error("not ready: %s", faults)
        told = {"checks": faults} if _asked_from_here(request) else {}
        return JsonResponse({"status": "unavailable", **told}, status=503)
    return JsonResponse({"status": "ok"})


def _asked_from_here(request: HttpRequest) -> bool:
    """From this computer, and not through a proxy on it."""
    forwarded = getattr(request, "scope", {}).get("ovauth.forwarded", False)
    return not forwarded and origin.is_loopback_address(request.META.get("REMOTE_ADDR", ""))
