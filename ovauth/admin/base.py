"""What the pages of the admin have in common: looking without touching, asking before acting, showing a secret once."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ovauth.flows import audit

LISTED = 20
"""How many of the chosen rows a question names."""


class Page(admin.ModelAdmin):
    """A list that does not count what it does not show, and asks for related rows once."""

    show_full_result_count = False
    list_per_page = 50
    ordering = ("-pk",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class Look(Page):
    """Nothing is added or changed here; actions end things."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def choices(parameter: str, title: str, states: Mapping[str, tuple[str, Callable[[], models.Q]]]) -> type:
    """A filter of a list: the value in the URL, its words, and which rows it means."""

    class Filter(admin.SimpleListFilter):
        def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
            return [(value, words) for value, (words, _rows) in states.items()]

        def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
            chosen = states.get(self.value() or "")
            return queryset.filter(chosen[1]()) if chosen else queryset

    Filter.parameter_name, Filter.title = parameter, title
    return Filter


def expiring(revoked: str) -> Mapping[str, tuple[str, Callable[[], models.Q]]]:
    """The states of rows that expire; `revoked` is the field that tells when one ended before its time."""
    return {
        "alive": (_("alive"), lambda: models.Q(**{revoked: None, "expires_at__gt": timezone.now()})),
        "expired": (_("expired"), lambda: models.Q(**{revoked: None, "expires_at__lte": timezone.now()})),
        "ended": (_("ended"), lambda: ~models.Q(**{revoked: None})),
    }


def expired(moment: datetime) -> bool:
    return moment <= timezone.now()


def asked_and_confirmed(request: HttpRequest) -> bool:
    """Whether the person has seen the question and said yes."""
    return "confirmed" in request.POST


def ask(
    page: Page,
    request: HttpRequest,
    queryset: models.QuerySet[Any],
    *,
    action: str,
    question: str,
    consequences: Iterable[str],
    button: str,
) -> HttpResponse:
    """A page that says what the action on the chosen rows will do, and does it on the next click."""
    named = [str(row) for row in queryset[: LISTED + 1]]
    context = {
        **page.admin_site.each_context(request),
        "title": question,
        "opts": page.model._meta,
        "action": action,
        "button": button,
        "consequences": [line for line in consequences if line],
        "named": named[:LISTED],
        "more": len(named) > LISTED,
        "checkbox": ACTION_CHECKBOX_NAME,
        "chosen": request.POST.getlist(ACTION_CHECKBOX_NAME),
        "across": request.POST.get("select_across", "0"),
    }
    return render(request, "admin/ovauth/ask.html", context)


def show_once(
    page: Page, request: HttpRequest, *, title: str, shown: Iterable[tuple[str, str]], advice: str
) -> HttpResponse:
    """The answer that carries a secret: in this page and nowhere else. A reload does not bring it back."""
    context = {
        **page.admin_site.each_context(request),
        "title": title,
        "opts": page.model._meta,
        "shown": list(shown),
        "advice": advice,
    }
    response = render(request, "admin/ovauth/shown_once.html", context)
    response["Cache-Control"] = "no-store"
    return response


def note(request: HttpRequest, action: str, subject: object) -> None:
    """Who did it, beside the event of what was done."""
    audit.record("admin.action", now=timezone.now(), member=request.user, action=action, of=str(subject)[:200])  # type: ignore[arg-type]


def so_many(count: int, one: str, many: str) -> str:
    """`3 access tokens`; nothing for none."""
    return f"{count} {ngettext(one, many, count)}" if count else ""
