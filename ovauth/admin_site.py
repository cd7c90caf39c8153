"""The admin's frame: signing in and out, and the password, are the console's.

Beside `ovauth.admin` and not in it: the frame has to exist before the pages are put into it.
"""

from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse

from ovauth.provenance import Actor, recognised


class ConsoleAdminSite(AdminSite):
    site_header = "ovauth administration"
    site_title = "ovauth"
    index_title = "Everything that is held here"
    site_url = "/console/"
    enable_nav_sidebar = True

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
