"""“Find a credential”: a leaked one is pasted, and the page says whose it is and ends it.

It comes in the body of a POST, is never answered back, and no page, address, log or event holds it.
"""

from dataclasses import dataclass
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from ovauth.admin import base
from ovauth.admin.clients import Clients, show_new_secret
from ovauth.admin.words import said
from ovauth.flows import accounts, clients, finding, revocation
from ovauth.flows.finding import Found, Kind
from ovauth.models import Client

SITE: Final[Any] = admin.site


@dataclass(frozen=True, slots=True)
class About:
    """What a kind of credential is called, what becomes of it, and the list that its row is in."""

    name: base.Words
    ending: base.Words
    list: str


KINDS: Final = {
    Kind.ACCESS_TOKEN: About(
        _("access token"),
        _("It stops working. An app with a refresh token gets itself another one; to end that, end the connection."),
        "accesstoken",
    ),
    Kind.REFRESH_TOKEN: About(
        _("refresh token"), _("Its connection ends, with all that the connection holds."), "refreshtoken"
    ),
    Kind.AUTHORIZATION_CODE: About(
        _("authorization code"), _("Its connection ends, with all that the connection holds."), "authorizationcode"
    ),
    Kind.DEVICE_CODE: About(
        _("device code"),
        _("The request ends. If it was approved, its connection ends, with all that it holds."),
        "pendingauthorization",
    ),
    Kind.API_KEY: About(_("API key"), _("It stops working, and every connection that it authorized ends."), "apikey"),
    Kind.CLIENT_SECRET: About(
        _("client secret"), _("It stops working. A new one is shown once, for the client's settings."), "client"
    ),
    Kind.REGISTRATION_TOKEN: About(
        _("registration access token"),
        _("It stops working: the client can no longer change or delete its own registration. Its connections go on."),
        "client",
    ),
}


class Unrepeated(forms.TextInput):
    """A field whose content is never answered back, not even beside its fault."""

    def format_value(self, value: Any) -> None:
        return None


class PasteForm(forms.Form):
    credential = forms.CharField(
        label=_("Credential"),
        max_length=2000,
        widget=Unrepeated(attrs={"autocomplete": "off", "spellcheck": "false", "class": "vLargeTextField"}),
        help_text=_("It begins with ovat_, ovrt_, ovac_, ovdc_, ovk_, ovcs_ or ovreg_. It is looked up and not kept."),
    )


@SITE.page("find/")
def find(request: HttpRequest) -> HttpResponse:
    """The form, and what was found."""
    if request.method != "POST":
        return _page(request, form=PasteForm())
    if "revoke" in request.POST:
        return _revoke(request)
    form = PasteForm(request.POST)
    if not form.is_valid():
        return _page(request, form=form)
    plain = form.cleaned_data["credential"].strip()
    found = finding.find(plain=plain, by=request.user)  # type: ignore[arg-type]
    if found is not None:
        return _page(request, form=PasteForm(), found=found)
    if finding.kind_of(plain) is None:
        missing = _("This begins with no prefix of ours, so it is no credential of this server.")
    else:
        missing = _("This server knows no such credential. It may have ended and been deleted, or be of another server.")
    return _page(request, form=PasteForm(), missing=missing)


def _revoke(request: HttpRequest) -> HttpResponse:
    """By its row, which the first page named: the secret itself does not travel a second time."""
    try:
        kind, pk = Kind(request.POST["kind"]), int(request.POST["row"])
    except (KeyError, ValueError):
        raise PermissionDenied from None
    found = finding.again(kind=kind, pk=pk)
    if found is None:
        return _page(request, form=PasteForm(), missing=_("It is gone already."))
    if request.POST["revoke"] != "confirmed":
        return _page(request, found=found, asked=True)
    base.note(request, "revoke found credential", f"{kind}…{found.digest}")
    if kind is Kind.CLIENT_SECRET:
        client = Client.objects.get(pk=pk)
        secret = clients.renew_secret(client_id=client.client_id)
        return show_new_secret(Clients(Client, SITE), request, client, secret)
    _end(found)
    messages.success(request, _("Revoked. Its next use is refused."))
    return HttpResponseRedirect(reverse("admin:find"))


def _end(found: Found) -> None:
    if found.kind is Kind.ACCESS_TOKEN:
        revocation.revoke_access_token(token_pk=found.pk)
    elif found.kind is Kind.API_KEY:
        accounts.revoke_api_key(key_pk=found.pk)
    elif found.kind is Kind.REGISTRATION_TOKEN:
        clients.end_management(client_pk=found.pk)
    else:
        if found.kind is Kind.DEVICE_CODE:
            revocation.revoke_pending(pending_pk=found.pk)
        if found.grant is not None:
            revocation.revoke_grant(grant_pk=found.grant.pk)


def _page(request: HttpRequest, **shown: Any) -> HttpResponse:
    found: Found | None = shown.get("found")
    context = {
        **SITE.each_context(request),
        "title": _("Find a credential"),
        **shown,
    }
    if found is not None:
        about = KINDS[found.kind]
        context |= {
            "about": about,
            "state": said(found.state),
            "client_name": base.written_by_a_client(str(found.client)) if found.client else "",
            "goes_to": base.destination(found.grant) if found.grant else "",
            "row_url": reverse(f"admin:ovauth_{about.list}_change", args=[found.pk]),
        }
    response = render(request, "admin/ovauth/find.html", context)
    response["Cache-Control"] = "no-store"
    return response
