"""“Everything since a moment”: after a break-in or a restore, all that was issued since then ends."""

from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from ovauth.admin import base
from ovauth.flows import issued_since
from ovauth.flows.issued_since import Issued

SITE: Final[Any] = admin.site


class MomentForm(forms.Form):
    since = forms.DateTimeField(
        label=_("Since (UTC)"),
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M:%S"),
        help_text=_("A moment that has passed, such as 2026-11-24 10:00."),
    )

    def clean_since(self) -> Any:
        moment = self.cleaned_data["since"]
        if moment > timezone.now():
            raise forms.ValidationError(_("This moment is still to come."))
        return moment


@SITE.page("since/")
def revoke_since(request: HttpRequest) -> HttpResponse:
    """The moment; then how much that is; then its end."""
    form = MomentForm(request.POST if request.method == "POST" else None)
    if request.method != "POST" or not form.is_valid():
        return _page(request, form=form)
    since = form.cleaned_data["since"]
    if "confirmed" not in request.POST:
        return _page(request, form=form, since=since, consequences=_told(issued_since.count(since=since)))
    ended = issued_since.revoke(since=since, member=request.user)  # type: ignore[arg-type]
    counted = base.so_many(ended.connections, base.CONNECTIONS, none=base.NOTHING)
    messages.success(request, _("Ended: %(count)s.") % {"count": counted})
    return HttpResponseRedirect(reverse("admin:index"))


APPROVED = ngettext_lazy(
    "%(number)s connection ends, approved since then", "%(number)s connections end, approved since then", "number"
)
OLDER = ngettext_lazy(
    "%(number)s older connection ends, since it got something new",
    "%(number)s older connections end, since they got something new",
    "number",
)
WAITING = ngettext_lazy(
    "%(number)s request that waits for a decision", "%(number)s requests that wait for a decision", "number"
)
CLIENTS = ngettext_lazy(
    "%(number)s client came since then, and stays", "%(number)s clients came since then, and stay", "number"
)
API_KEYS = ngettext_lazy(
    "%(number)s API key was made since then, and stays: see that its owner knows of it",
    "%(number)s API keys were made since then, and stay: see that their owners know of them",
    "number",
)


def _told(issued: Issued) -> list[str]:
    lines = (
        (issued.approved, APPROVED),
        (issued.connections - issued.approved, OLDER),
        (issued.authorization_codes, base.CODES),
        (issued.access_tokens, base.ACCESS_TOKENS),
        (issued.refresh_tokens, base.REFRESH_TOKENS),
        (issued.waiting, WAITING),
        (issued.clients, CLIENTS),
        (issued.api_keys, API_KEYS),
    )
    told = [str(words % {"number": counted}) for counted, words in lines if counted]
    return told or [str(_("Nothing was issued since then."))]


def _page(request: HttpRequest, **shown: Any) -> HttpResponse:
    context = {**SITE.each_context(request), "title": _("Revoke everything since a moment"), **shown}
    return render(request, "admin/ovauth/since.html", context)
