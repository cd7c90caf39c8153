"""Clients that somebody blocked because they did not start what it asked. To look at, and to unblock."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from ovauth.admin import base, narrowing
from ovauth.flows import blocking
from ovauth.models import BlockedClient


@admin.register(BlockedClient)
class BlockedClients(base.Look):
    list_display = (
        base.client,
        base.column("account", _("account"), str),
        "whom",
        base.column("created_at", _("since")),
    )
    list_display_links = ("whom",)
    list_select_related = ("client", "account", "member")
    list_filter = (narrowing.by_account(""),)
    search_fields = ("client__name__istartswith", "=client__client_id", "member__sign_in_name__istartswith")
    search_help_text = narrowing.WHO_OR_WHAT
    fields: ClassVar[Any] = (
        base.client,
        base.column("account", _("account"), str),
        base.member,
        base.column("created_at", _("since")),
    )
    actions = ("unblock",)

    @admin.display(description=_("blocked for"))
    def whom(self, row: BlockedClient) -> str:
        return row.member.name if row.member else str(_("everybody of the account"))

    @admin.action(description=_("Unblock: let the app ask again"))
    def unblock(self, request: HttpRequest, queryset: QuerySet[BlockedClient]) -> HttpResponse | None:
        if not base.asked_and_confirmed(request):
            return base.ask(
                self,
                request,
                queryset,
                action="unblock",
                question=_("Unblock these apps?"),
                consequences=(_("They may ask again, and can be approved. The connections that ended stay ended."),),
                button=_("Unblock them"),
            )
        for row in queryset:
            if blocking.unblock(block_pk=row.pk):
                base.note(request, "unblock client", row)
        self.message_user(request, _("Unblocked."))
        return None
