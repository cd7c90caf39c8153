"""The admin's frame: signing in and out, and the password, are the console's.

Beside `ovauth.admin` and not in it: the frame has to exist before the pages are put into it.
"""

from collections.abc import Callable
from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext_lazy as _

from ovauth.provenance import Actor, recognised

ORDER = (
    *("Grant", "Client", "Member", "Account", "ApiKey"),
    *("PendingAuthorization", "AuthorizationCode", "AccessToken", "RefreshToken"),
    *("AuditEvent", "BlockedClient", "Tally"),
)

View = Callable[[HttpRequest], HttpResponse]


class ConsoleAdminSite(AdminSite):
    site_header = _("ovauth administration")
    site_title = "ovauth"
    index_title = _("What is held here")
    site_url = "/console/"
    enable_nav_sidebar = False  # the lists need the width
    index_template = "admin/ovauth/home.html"

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        self._pages: dict[str, View] = {}
        self._facts: Callable[[HttpRequest], dict[str, Any]] = lambda _request: {}

    def page(self, route: str) -> Callable[[View], View]:
        """Puts a page that belongs to no list at this route; its name is `admin:<view>`."""

        def put(view: View) -> View:
            self._pages[route] = view
            return view

        return put

    def home(self, facts: Callable[[HttpRequest], dict[str, Any]]) -> Callable[[HttpRequest], dict[str, Any]]:
        """What the first page says beside the lists."""
        self._facts = facts
        return facts

    def get_urls(self) -> list[Any]:
        own: list[URLPattern] = [
            path(route, self.admin_view(view), name=view.__name__) for route, view in self._pages.items()
        ]
        return own + super().get_urls()

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """In the order in which an operator thinks of them, and not of the alphabet."""
        apps = super().get_app_list(request, app_label)
        for app in apps:
            app["models"].sort(
                key=lambda listed: ORDER.index(listed["object_name"]) if listed["object_name"] in ORDER else 99
            )
        return apps

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        return super().index(request, self._facts(request) | (extra_context or {}))

    def has_permission(self, request: HttpRequest) -> bool:
        """Asked at every page; whoever may look is noted as who acts."""
        allowed = super().has_permission(request)
        if allowed:
            recognised(Actor.SESSION, request.user.get_username())
        return allowed

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseRedirect:  # type: ignore[override]
        super().logout(request, extra_context)
        return HttpResponseRedirect(reverse("console_login"))

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseRedirect:  # type: ignore[override]
        return HttpResponseRedirect(reverse("console_password"))
