"""Rate limits: who failed how often, and may be let in again."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ovauth.admin import base
from ovauth.flows import limits
from ovauth.models import Tally


@admin.register(Tally)
class Tallies(base.Look):
    list_display = (
        "who",
        "what",
        base.column("count", _("failures")),
        "state",
        base.column("expires_at", _("forgotten at")),
    )
    list_filter = (
        base.choices(
            "state",
            _("state"),
            {
                "counts": (_("counts"), lambda: Q(expires_at__gt=timezone.now(), count__gt=0)),
                "over": (_("over"), lambda: Q(expires_at__lte=timezone.now())),
            },
        ),
    )
    search_fields = ("key__startswith",)
    search_help_text = _("What it is about and who: “sign-in/address:192.0.2.7”, or the beginning of that.")
    fields: ClassVar[Any] = (
        "who",
        "what",
        base.column("count", _("failures")),
        "state",
        base.column("expires_at", _("forgotten at")),
    )
    actions = ("forget",)

    @admin.display(description=_("who"))
    def who(self, tally: Tally) -> str:
        return base.written_by_a_client(tally.key.partition(":")[2])

    @admin.display(description=_("what"))
    def what(self, tally: Tally) -> str:
        return tally.key.partition(":")[0]

    @admin.display(description=_("state"))
    def state(self, tally: Tally) -> Any:
        return _("over") if base.expired(tally.expires_at) else _("counts")

    @admin.action(description=_("Forget: let them try again"))
    def forget(self, request: HttpRequest, queryset: QuerySet[Tally]) -> HttpResponse | None:
        if not base.asked_and_confirmed(request):
            return base.ask(
                self,
                request,
                queryset,
                action="forget",
                question=_("Forget these failures?"),
                consequences=(_("Whoever they are may try again at once, a guesser too."),),
                button=_("Forget them"),
            )
        for tally in queryset:
            limits.forget(tally_pk=tally.pk, member=request.user)  # type: ignore[arg-type]
        self.message_user(request, _("Forgotten."))
        return None
