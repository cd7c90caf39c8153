"""Every URL of the contract, in the contract's order. `/mcp` and `/health/` are answered before Django, in project.asgi."""

from django.contrib import admin
from django.urls import path
from django.views.decorators.http import require_safe
from django.views.generic import RedirectView

from ovauth.web import attempting, authorize, console, console_keys, faults, languages, openapi, operations
from ovauth.web.api import api
from ovauth.web.oauth import api as oauth

urlpatterns = [
    path("oauth/authorize/page", authorize.code_page, name="code_page"),
    path("oauth/authorize/page/status", authorize.status, name="code_page_status"),
    path("api/v1/openapi.json", openapi.document),
    path("api/v1/", api.urls),
    path("console/", console.home, name="console"),
    path("console/progress", console.how_far, name="console_progress"),
    path("console/login", console.SignIn.as_view(), name="console_login"),
    path("console/logout", console.sign_out, name="console_logout"),
    path("console/attempts", attempting.attempts_page, name="console_attempts"),
    path("console/password", console.password, name="console_password"),
    path("console/disconnect", console.disconnect, name="console_disconnect"),
    path("console/keys", console_keys.keys, name="console_keys"),
    path("console/otp", console_keys.one_time_password, name="console_otp"),
    path("console/members", console_keys.members, name="console_members"),
    path("console/members/disconnect", console_keys.disconnect_member, name="console_disconnect_member"),
    path("console/verify", console.verify, name="console_verify"),
    path("console/verify/block", console.block, name="console_block"),
    path("console/verify/decided", console.decided, name="console_decided"),
    path("console/language", languages.choose, name="choose_language"),
    path("admin/login/", console.admin_sign_in),  # before the admin's own
    path("admin/", admin.site.urls),
    path("metrics", operations.scrape),
    path("favicon.ico", operations.favicon),
    path("", require_safe(RedirectView.as_view(pattern_name="console"))),  # a POST is never redirected
    path("", oauth.urls),  # discovery, /register, /authorize, /token, /revoke
]

handler400 = faults.handler400
handler403 = faults.handler403
handler404 = faults.handler404
handler500 = faults.handler500
