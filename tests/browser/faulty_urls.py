"""The routes of the real server, and one more: it has a fault that nobody expected."""

from django.http import HttpRequest, HttpResponse
from django.urls import path

from project import urls


def fault(request: HttpRequest) -> HttpResponse:
    raise ZeroDivisionError("ovat_a-secret-in-a-traceback-of-a-fault-that-nobody-expected")


urlpatterns = [path("fault", fault), *urls.urlpatterns]
handler400, handler403, handler404, handler500 = urls.handler400, urls.handler403, urls.handler404, urls.handler500
