"""The audit trail: written by flows, read and taken along here, changed by nobody."""

import json
from itertools import islice
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import render
from django.urls import path
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ovauth.admin import base
from ovauth.flows import audit
from ovauth.models import AuditEvent
from ovauth.rules import display_text

LINES_A_BLOCK = 500
SUBJECTS = {
    "authorization": _("requests and approvals"),
    "token": _("tokens"),
    "grant": _("ends of connections"),
    "client": _("clients"),
    "login": _("signing in"),
    "user": _("users"),
    "api_key": _("API keys"),
    "otp": _("one-time passwords"),
    "device": _("devices"),
    "admin": _("the administration"),
}

WORDS = {
    "id": _("number"),
    "at": _("moment"),
    "event": _("event"),
    "actor_kind": _("by means of"),
    "actor": _("who"),
    "account": _("account"),
    "client_id": _("client"),
    "grant_id": _("connection"),
    "ip": _("address"),
    "browser": _("browser"),
    "outcome": _("outcome"),
    "reason": _("reason"),
    "request_id": _("reference number"),
    "credential": _("credential (how its digest begins)"),
}
"""What a page calls the fields of an event."""


class PeriodForm(forms.Form):
    """Both are UTC, and optional; `since` belongs to the period and `until` does not."""

    since = forms.DateTimeField(
        label=_("From (UTC)"), required=False, widget=forms.DateTimeInput(attrs={"type": "datetime-local"})
    )
    until = forms.DateTimeField(
        label=_("Before (UTC)"), required=False, widget=forms.DateTimeInput(attrs={"type": "datetime-local"})
    )


@admin.register(AuditEvent)
class AuditEvents(base.Look):
    list_display = (
        base.column("at", WORDS["at"]),
        base.column("event", WORDS["event"]),
        base.column("actor", WORDS["actor"]),
        base.column("account", WORDS["account"]),
        base.column("client_id", WORDS["client_id"], lambda text: display_text.clean(text, 40)),
        base.column("ip", WORDS["ip"]),
        "told",
    )
    list_display_links = (list_display[1],)
    list_filter = (
        base.choices(
            "outcome",
            _("outcome"),
            {
                "failure": (_("went wrong"), lambda: Q(outcome="failure")),
                "success": (_("went well"), lambda: Q(outcome="success")),
            },
        ),
        base.choices(
            "about",
            _("subject"),
            {name: (words, lambda name=name: Q(event__startswith=f"{name}.")) for name, words in SUBJECTS.items()},  # type: ignore[misc]
        ),
    )
    search_fields = ("=event", "=actor", "=account", "=client_id", "=request_id", "=ip", "=credential")
    search_help_text = _(
        "An event, user (account/name), account, client id, address, reference number, or the eight characters of a "
        "credential, in full. Or #7 for connection 7."
    )
    change_list_template = "admin/ovauth/story.html"
    # all that an event holds, in the order of the export
    fields: ClassVar[Any] = tuple(
        "told" if field.name == "detail" else base.column(field.name, WORDS[field.name])
        for field in AuditEvent._meta.fields
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AuditEvent], search_term: str
    ) -> tuple[QuerySet[AuditEvent], bool]:
        text = search_term.strip()
        if text.startswith("#") and text[1:].isdecimal():
            return queryset.filter(grant_id=min(int(text[1:]), 2**63 - 1)), False
        if not text:
            return queryset, False
        fields = (name.removeprefix("=") for name in self.search_fields)
        wanted = Q(_connector=Q.OR)
        for name in fields:
            wanted.add(Q((name, text)), Q.OR)
        return queryset.filter(wanted), False

    @admin.display(description=_("details"))
    def told(self, event: AuditEvent) -> str:
        told = [event.reason] if event.reason else []
        told += [f"{name}: {_plain(value)}" for name, value in event.detail.items()]
        return display_text.clean(", ".join(told), 300)

    def get_urls(self) -> list[Any]:
        return [
            path("export/", self.admin_site.admin_view(self.export), name="ovauth_auditevent_export"),
            path("before/", self.admin_site.admin_view(self.before), name="ovauth_auditevent_before"),
            *super().get_urls(),
        ]

    def export(self, request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
        """The events of a period as JSON lines, the same as by the command export_audit."""
        form = PeriodForm(request.POST if request.method == "POST" else None)
        if request.method != "POST" or not form.is_valid():
            context = {
                **self.admin_site.each_context(request),
                "title": _("Export audit events"),
                "opts": self.opts,
                "form": form,
            }
            return render(request, "admin/ovauth/export.html", context)
        period = form.cleaned_data
        named = " ".join(f"{name} {moment.isoformat()}" for name, moment in period.items() if moment) or "everything"
        base.note(request, "export audit events", named)
        lines = audit.lines(**period)
        blocks = iter(lambda: "".join(islice(lines, LINES_A_BLOCK)), "")
        response = StreamingHttpResponse(blocks, content_type="application/jsonl")
        response["Content-Disposition"] = f'attachment; filename="ovauth-audit-{timezone.now():%Y%m%d-%H%M%S}.jsonl"'
        return response

    def before(self, request: HttpRequest) -> HttpResponse:
        """To the page of the list that begins with what happened before a moment."""
        form = PeriodForm(request.GET)
        until = form.cleaned_data.get("until") if form.is_valid() else None
        next_one = None
        if until is not None:
            later = AuditEvent.objects.filter(at__gte=until).order_by("at", "pk")
            next_one = later.values_list("pk", flat=True).first()
        return HttpResponseRedirect(f"../?p={next_one}" if next_one is not None else "../")


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
