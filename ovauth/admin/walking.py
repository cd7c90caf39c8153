"""Lists that are walked from their newest row, and never counted: quick whatever they hold, whatever is asked of them.

A page is the newest rows before a primary key. A filter or a search that an index leads to is looked up by it. All others
walk: a step of rows at a time, until the page is full or patience is over. Then the page says how far it looked, and offers
to look further back. So nothing is asked of the database that takes long, with ten million rows either.
"""

import time
from datetime import datetime
from typing import Any, Final

from django.contrib.admin.views.main import PAGE_VAR, SEARCH_VAR, ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.text import capfirst

STEP: Final = 20_000
"""So many rows are looked at in one query."""
PATIENCE: Final = 0.12
"""So many seconds a page looks for rows, and a last step longer."""
FEW: Final = 20_000
"""So many rows an index may lead to, to be put in order here."""
LARGEST_KEY: Final = 2**63 - 1
INDEXED: Final = "ovauth.indexed"


def lead(request: HttpRequest) -> None:
    """Says that an index leads to what this request narrows a list to."""
    request.META[INDEXED] = True


class Walk(ChangeList):
    """Django's list, of which the page (`p`) is the primary key before which it begins.

    `older` is the query string of the next page, `looked_back_to` the moment up to which it looked in vain (or "").
    """

    older = ""
    looked = False
    looked_back_to: datetime | None = None

    def __init__(self, request: HttpRequest, *args: Any) -> None:
        super().__init__(request, *args)
        if not self.is_popup:
            self.title = capfirst(str(self.opts.verbose_name_plural))

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        return ["-pk"]

    def get_results(self, request: HttpRequest) -> None:
        before = self._begins_before(request)
        wanted = self.queryset.select_related(None).order_by("-pk").values_list("pk", flat=True)
        if not (self.query or self.has_active_filters):
            keys = list(_before(wanted, before)[: self.list_per_page + 1])
        elif request.META.get(INDEXED) and (few := _few(_before(wanted, before))) is not None:
            keys = few[: self.list_per_page + 1]
        else:
            keys = self._walk(wanted, before)
        if len(keys) > self.list_per_page:
            keys = keys[: self.list_per_page]
            self.looked, self.older = False, self._page(keys[-1])
        # What the page shows of them is asked for at last, and of them alone.
        shown = self.apply_select_related(self.root_queryset).filter(pk__in=keys).order_by("-pk")
        self.result_list = list(shown) if keys else []
        self.is_first_page = before is None
        self.result_count = len(self.result_list)
        self.full_result_count = None
        self.show_full_result_count = False
        self.show_admin_actions = bool(keys)
        self.can_show_all = self.multi_page = False
        self.paginator = None

    @property
    def newest(self) -> str:
        """The query string of the first page."""
        return self.get_query_string()

    @property
    def unsearched(self) -> str:
        """The query string of the same list without its search."""
        return self.get_query_string({SEARCH_VAR: None})

    def _walk(self, wanted: QuerySet[Any], before: int | None) -> list[int]:
        found: list[int] = []
        ends = time.monotonic() + PATIENCE
        every = self.model._base_manager.order_by("-pk").values_list("pk", flat=True)
        while True:
            floor = _before(every, before)[STEP : STEP + 1].first()
            step = _before(wanted, before)
            if floor is not None:
                step = step.filter(pk__gt=floor)
            found += step[: self.list_per_page + 1 - len(found)]
            if floor is None or len(found) > self.list_per_page:
                return found
            before = floor + 1
            if time.monotonic() > ends:
                self.looked, self.older = True, self._page(before)
                self.looked_back_to = self._moment(floor)
                return found

    def _moment(self, key: int) -> datetime | None:
        for field in ("created_at", "at"):
            if field in {each.name for each in self.opts.fields}:
                return self.model._base_manager.filter(pk=key).values_list(field, flat=True).first()
        return None

    def _begins_before(self, request: HttpRequest) -> int | None:
        return min(max(self.page_num, 0), LARGEST_KEY) if PAGE_VAR in request.GET else None

    def _page(self, before: int) -> str:
        return self.get_query_string({PAGE_VAR: before})


def _before(rows: QuerySet[Any], before: int | None) -> QuerySet[Any]:
    return rows if before is None else rows.filter(pk__lt=before)


def _few(rows: QuerySet[Any]) -> list[int] | None:
    """The primary keys, newest first; None when they are many, and so lie close enough to be walked to."""
    keys = list(rows.order_by().values_list("pk", flat=True)[: FEW + 1])
    return sorted(keys, reverse=True) if len(keys) <= FEW else None
