"""The console: where a signed-in person confirms a code."""

from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse


def home(request: HttpRequest) -> HttpResponse:
    return HttpResponse("console")


class SignIn(LoginView):
    template_name = "ovauth/sign_in.html"


def sign_out(request: HttpRequest) -> HttpResponse:
    return HttpResponse("sign out")


def verify(request: HttpRequest) -> HttpResponse:
    return HttpResponse("verify")
