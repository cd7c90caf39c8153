"""Clients that somebody blocked because they did not start what it asked. To look at, and to unblock."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from ovauth.admin import base
from ovauth.flows import blocking
from ovauth.models import BlockedClient


@admin.register(BlockedClient)
class BlockedClients(base.Look):
    list_display = ("client", "account", "whom", "created_at")
    list_select_related = ("client", "account", "member")
    list_filter = ("account",)
    search_fields = ("client__name", "client__client_id", "member__sign_in_name")
    search_help_text = "user, or name or id of a client"
    fields = ("client", "account", "member", "created_at")
    actions = ("unblock",)

    @admin.display(description="blocked for", ordering="member")
    def whom(self, row: BlockedClient) -> str:
        return row.member.name if row.member else "everybody of the account"

    @admin.action(description="Unblock: let the app ask again")
    def unblock(self, request: HttpRequest, queryset: QuerySet[BlockedClient]) -> HttpResponse | None:
        if not base.asked_and_confirmed(request):
            return base.ask(
                self,
                request,
                queryset,
                action="unblock",
                question="Unblock these apps?",
                consequences=("They may ask again, and can be approved. The connections that ended stay ended.",),
                button="Unblock them",
            )
        for row in queryset:
            if blocking.unblock(block_pk=row.pk):
                base.note(request, "unblock client", row)
        self.message_user(request, "Unblocked.")
        return None
