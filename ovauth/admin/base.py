"""What the pages of the admin have in common: looking without touching, asking before acting, showing a secret once."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import reduce
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import models
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from ovauth.admin.walking import Walk
from ovauth.flows import audit
from ovauth.rules import display_text, redirect_uris

LISTED = 20
"""How many of the chosen rows a question names."""
ASKED_UP_TO = 10_000
"""How far is counted what may be many: beyond it, the answer is “more than”."""
LISTED_UP_TO = 1_000
"""The same in a column of a list."""

Words = Any
"""A text, or one that is translated when it is shown."""


class Page(admin.ModelAdmin):
    """A list that is walked and not counted."""

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    fields: ClassVar[Any] = None
    ordering = ("-pk",)
    empty_value_display = ""
    sortable_by: ClassVar[tuple[str, ...]] = ()
    """An order that no index keeps would sort all rows to show fifty."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[Walk]:
        return Walk

    def response_action(self, request: HttpRequest, queryset: models.QuerySet[Any], *where: Any) -> HttpResponse | None:
        """On the chosen rows alone. What means all of them has a flow of its own."""
        posted: Any = request.POST.copy()
        posted["select_across"] = "0"
        request.POST = posted
        return super().response_action(request, queryset, *where)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class Look(Page):
    """Nothing is added or changed here; actions end things."""

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Without what the schema notes about its columns, which is for developers and in English."""
        return super().get_form(request, obj, change, help_texts={field.name: "" for field in self.opts.fields}, **kwargs)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


# ------------------------------------------------------------------ columns


def column(path: str, words: Words, shown: Callable[[Any], Any] = lambda value: value) -> Any:
    """A column, or a field of a form, with words of ours: what stands at the path, such as `grant.last_used_at`."""

    @admin.display(description=words, empty_value="")
    def value(row: Any) -> Any:
        found = reduce(lambda each, name: None if each is None else getattr(each, name), path.split("."), row)
        return "" if found is None or found == "" else _brief(shown(found))  # None would be written out in a form

    value.__name__ = path.replace(".", "_")
    return value


def _brief(value: Any) -> Any:
    return f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else value


def written_by_a_client(text: str) -> str:
    """A name as it may stand on a page: a client chose it."""
    return display_text.clean(text) or str(_("(no name)"))


@admin.display(description=_("connection"), empty_value="")
def connection(row: Any) -> str:
    return _linked("grant", row.grant_id, row.grant_id)


@admin.display(description=_("user"), empty_value="")
def member(row: Any) -> str:
    return _linked("member", row.member_id, row.member)


@admin.display(description=_("client"), empty_value="")
def client(row: Any) -> str:
    return _linked("client", row.client_id, written_by_a_client(str(row.client)))


@admin.display(description=_("goes to"), empty_value="")
def destination(row: Any) -> str:
    return redirect_uris.destination(row.redirect_uri) if row.redirect_uri else ""


def _linked(model: str, pk: Any, words: Any) -> str:
    if pk is None:
        return ""
    return format_html('<a href="{}">{}</a>', reverse(f"admin:ovauth_{model}_change", args=[pk]), words)


# ------------------------------------------------------------------ filters


def choices(parameter: str, title: Words, states: Mapping[str, tuple[Words, Callable[[], Q]]]) -> type:
    """A filter of a list: the value in the URL, its words, and which rows it means."""

    class Filter(admin.SimpleListFilter):
        def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, Any]]:
            return [(value, words) for value, (words, _rows) in states.items()]

        def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
            chosen = states.get(self.value() or "")
            return queryset.filter(chosen[1]()) if chosen else queryset

    Filter.parameter_name, Filter.title = parameter, title
    return Filter


def expiring(revoked: str, ended: Words) -> Mapping[str, tuple[Words, Callable[[], Q]]]:
    """The states of rows that expire; `revoked` is the field that tells when one ended before its time."""
    return {
        "alive": (_("not expired"), lambda: Q(**{revoked: None, "expires_at__gt": timezone.now()})),
        "expired": (_("expired"), lambda: Q(**{revoked: None, "expires_at__lte": timezone.now()})),
        "ended": (ended, lambda: ~Q(**{revoked: None})),
    }


def expired(moment: datetime) -> bool:
    return moment <= timezone.now()


# ------------------------------------------------------------------ asking first


def asked_and_confirmed(request: HttpRequest) -> bool:
    """Whether the person has seen the question and said yes."""
    return "confirmed" in request.POST


def ask(
    page: Page,
    request: HttpRequest,
    queryset: models.QuerySet[Any],
    *,
    action: str,
    question: Words,
    consequences: Iterable[Words],
    button: Words,
    known: object = "",
) -> HttpResponse:
    """A page that says what the action on the chosen rows will do, and does it on the next click.

    What is `known` of the row comes back with that click, for an action that must not be done twice: see `known`.
    """
    named = [display_text.clean(str(row)) or str(row.pk) for row in queryset[: LISTED + 1]]
    context = {
        **page.admin_site.each_context(request),
        "title": question,
        "opts": page.model._meta,
        "action": action,
        "known": known,
        "button": button,
        "consequences": [line for line in consequences if line],
        "named": named[:LISTED],
        "more": len(named) > LISTED,
        "checkbox": ACTION_CHECKBOX_NAME,
        "chosen": request.POST.getlist(ACTION_CHECKBOX_NAME),
    }
    return render(request, "admin/ovauth/ask.html", context)


def known(request: HttpRequest) -> str | None:
    """What was known when the question was asked. The answer to a form may be asked for again, by a reload."""
    return request.POST.get("known") or None


def show_once(
    page: Page, request: HttpRequest, *, title: Words, shown: Iterable[tuple[Words, str]], advice: Words
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


# ------------------------------------------------------------------ counting


def count(rows: models.QuerySet[Any]) -> int:
    """How many, up to one more than ASKED_UP_TO: a page does not wait for a count of millions."""
    return rows.order_by()[: ASKED_UP_TO + 1].count()


class CountOf(models.Subquery):
    """How many rows a subquery has, for each row of the page and for no other; up to one more than LISTED_UP_TO."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) counted)"
    output_field = models.IntegerField()

    def __init__(self, rows: models.QuerySet[Any]) -> None:
        super().__init__(rows.order_by().values("pk")[: LISTED_UP_TO + 1])


def up_to(counted: int, most: int = LISTED_UP_TO) -> str:
    """What a CountOf found, or a count that went on for one more than `most`."""
    return str(counted) if counted <= most else str(_("more than %(that)s") % {"that": most})


def so_many(counted: int, words: Any, *, none: Words = "") -> str:
    """`3 access tokens`, or `more than 10000 access tokens`; `none` for none. `words` by ngettext_lazy, from `number`."""
    if counted <= ASKED_UP_TO:
        return str(words % {"number": counted} if counted else none)
    return str(_("more than %(that)s") % {"that": words % {"number": ASKED_UP_TO}})


NOTHING = _("nothing")
CONNECTIONS = ngettext_lazy("%(number)s connection", "%(number)s connections", "number")
CODES = ngettext_lazy("%(number)s authorization code", "%(number)s authorization codes", "number")
ACCESS_TOKENS = ngettext_lazy("%(number)s access token", "%(number)s access tokens", "number")
CONNECTIONS_END = ngettext_lazy("%(number)s connection ends", "%(number)s connections end", "number")
REFRESH_TOKENS = ngettext_lazy("%(number)s refresh token", "%(number)s refresh tokens", "number")
