"""For whoever watches the process: is it alive, can it do its work?"""

from django.http import HttpRequest, HttpResponse, JsonResponse

from ovauth.flows import readiness


def live(request: HttpRequest) -> HttpResponse:
    """The process answers. The database is not asked."""
    return JsonResponse({"status": "ok"})


def ready(request: HttpRequest) -> HttpResponse:
    """The database answers and its schema is that of this program."""
    faults = readiness.faults()
    if faults:
        return JsonResponse({"status": "unavailable", "checks": faults}, status=503)
    return JsonResponse({"status": "ok"})
