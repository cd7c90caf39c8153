"""The console's pages about credentials: API keys, one-time passwords; and, for administrators, others' connections.

What is shown once is the answer to the form itself: it is nowhere kept, so no later page could show it.
"""

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ovauth.errors import Conflict, Forbidden, NotFound
from ovauth.flows import accounts, api_keys, connections
from ovauth.flows import one_time_password as otp
from ovauth.roles import Role
from ovauth.web import callers, connected
from ovauth.web.authorize import SeeOther, span, time_left
from ovauth.web.callers import Caller
from ovauth.web.console import authority_of, number_in, signed_in, stopped


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def keys(request: HttpRequest) -> HttpResponse:
    """The keys; to rotate one first shows what will end, and then, once, the new key.

    Each form says which key was the newest when it was shown. So the answer that shows the new one can be loaded again, by
    a browser that comes back to it as well, and no second key takes the place of the one that was just stored.
    """
    caller, member_pk = callers.of_session(request), authority_of(request).member_pk
    living = api_keys.living(member_pk=member_pk)
    context = {"caller": caller, "keys": living, "newest": living[0].pk if living else 0}
    match request.POST.get("action") if request.method == "POST" else None:
        case "ask":
            ending = [
                found for found in connections.living(member_pk=member_pk) if found.by_api_key and not found.is_blocked
            ]
            return render(request, "ovauth/rotate.html", context | {"ending": ending})
        case "rotate":
            after = number_in(request, "newest")
            try:
                plain, ended = accounts.rotate_api_key(account=caller.account_id, name=caller.user_id, after=after)
            except Conflict as again:
                messages.info(request, _(again.description))
                return SeeOther(reverse("console_keys"))
            return render(request, "ovauth/new_key.html", context | {"plain": plain, "ended": ended})
    return render(request, "ovauth/keys.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def one_time_password(request: HttpRequest) -> HttpResponse:
    plain, seconds = "", settings.OVAUTH.otp_ttl
    authority = authority_of(request)
    if request.method == "POST":
        try:
            plain, seconds = otp.issue(authority=authority, after=number_in(request, "newest"))
        except Conflict as again:
            messages.info(request, _(again.description))
            return SeeOther(reverse("console_otp"))
    newest = 0 if plain else otp.newest(member_pk=authority.member_pk)
    context = {
        "newest": newest,
        "plain": plain,
        "seconds_left": seconds,
        "time_left": time_left(seconds),
        "lasts": span(seconds),
    }
    return render(request, "ovauth/one_time_password.html", context)


@require_safe
@signed_in
def members(request: HttpRequest) -> HttpResponse:
    caller = _administrator(request)
    found = connections.of_others(account=caller.account_id, member_pk=authority_of(request).member_pk)
    return render(request, "ovauth/members.html", {"caller": caller, "connections": connected.rows(found)})


@require_POST
@signed_in
def disconnect_member(request: HttpRequest) -> HttpResponse:
    caller = _administrator(request)
    try:
        connection, ended = connections.disconnect_in_account(
            account=caller.account_id, grant_pk=number_in(request, "connection")
        )
    except NotFound as gone:
        messages.info(request, _(gone.description))
    else:
        what = _("“%(app)s” of %(owner)s") % {"app": connection.client_name, "owner": connection.owner}
        messages.success(request, stopped(what, ended))
    return SeeOther(reverse("console_members"))


def _administrator(request: HttpRequest) -> Caller:
    caller = callers.of_session(request)
    if caller.role < Role.ADMIN:
        raise Forbidden(_("This page is for the administrators of the account."))
    return caller
