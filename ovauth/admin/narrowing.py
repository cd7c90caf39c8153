"""What lists are narrowed to: a user, a client, an account, the way a client came here.

A user or a client is found first, by an index, and its rows by theirs. Only when many are meant (“every user of the account
acme”) does the database compare row by row, as far as the list walks.
"""

from typing import Any, Final

from django.contrib import admin
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from ovauth.admin import base, walking
from ovauth.models import Account, Client, ClientOrigin, Grant, Member

SEVERAL: Final = 300
"""So many users or clients are looked up one by one."""
ACCOUNTS_OFFERED: Final = 15

WHO_OR_WHAT = _("A user: account/name, its beginning, or the name alone. Or a client: its id, or how its name begins.")


def users(text: str) -> Q:
    return Q(sign_in_name__istartswith=text) | Q(name=text)


def clients(text: str) -> Q:
    return Q(client_id=text) | Q(name__istartswith=text)


def of_member(path: str, condition: Q) -> Q:
    """Rows whose member, at the path, is so."""
    return _of(path, "member", Member, condition)


def of_client(path: str, condition: Q) -> Q:
    """Rows whose client, at the path, is so."""
    return _of(path, "client", Client, condition)


def _of(path: str, name: str, model: type[Any], condition: Q) -> Q:
    """By a subquery for each row that is walked to, and not by a join: SQLite would begin a join at its other end, and put
    a million rows in order to show fifty."""
    steps = path.rstrip("_").split("__") if path else []
    if not steps:
        return condition
    wanted = Exists(model.objects.filter(condition, pk=OuterRef(name)))
    return Q(wanted if steps == [name] else Exists(Grant.objects.filter(wanted, pk=OuterRef("grant"))))


def rows(request: HttpRequest, queryset: QuerySet[Any], path: str, *, user: Q | None, client: Q | None) -> QuerySet[Any]:
    """The rows whose grant (at `path`: empty, or `grant__`) is of such a user or such a client."""
    members = _several(Member, user)
    apps = _several(Client, client)
    if members is None or apps is None:  # too many for a list of them: row by row
        wanted = of_member(f"{path}member__", user) if user is not None else Q()
        if client is not None:
            wanted |= of_client(f"{path}client__", client)
        return queryset.filter(wanted)
    walking.lead(request)
    found = Q(member__in=members) | Q(client__in=apps)
    return queryset.filter(found if not path else Q(grant__in=Grant.objects.filter(found).values("pk")))


def _several(model: type[Any], condition: Q | None) -> list[int] | None:
    if condition is None:
        return []
    keys = list(model.objects.filter(condition).order_by().values_list("pk", flat=True)[: SEVERAL + 1])
    return keys if len(keys) <= SEVERAL else None


class ByWhoAndWhat(base.Page):
    """A list of what hangs on a grant, at `grant_path` (empty for grants themselves)."""

    grant_path = "grant__"
    search_fields = ("pk",)  # for Django to show the field; `get_search_results` knows better
    search_help_text = WHO_OR_WHAT

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        text = search_term.strip()
        if not text:
            return queryset, False
        return rows(request, queryset, self.grant_path, user=users(text), client=clients(text)), False


def by_account(to_member: str, grant_path: str | None = None) -> type:
    """A filter by account: of rows with a member at `to_member`, through their grant if they have one."""

    class Filter(admin.SimpleListFilter):
        title = _("account")
        parameter_name = "account"

        def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, Any]]:
            first = list(Account.objects.order_by("name").values_list("name", flat=True)[:ACCOUNTS_OFFERED])
            chosen = request.GET.get("account")
            if chosen and chosen not in first:
                first.append(chosen)
            return [(name, name) for name in first]

        def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
            name = self.value()
            if not name:
                return queryset
            if grant_path is None:
                return queryset.filter(of_member(to_member, Q(account__name=name)))
            return rows(request, queryset, grant_path, user=Q(account__name=name), client=None)

    return Filter


def by_method(path: str = "") -> type:
    """A filter by how the client came here."""
    origins = {
        "registered": (_("registered itself"), ClientOrigin.REGISTERED),
        "document": (_("described by its own document"), ClientOrigin.DOCUMENT),
        "manual": (_("made by an operator"), ClientOrigin.MANUAL),
    }
    ways = {
        name: (words, lambda origin=origin: of_client(path, Q(origin=origin))) for name, (words, origin) in origins.items()
    }
    return base.choices("method", _("how it came"), ways)
