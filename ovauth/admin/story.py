"""The audit trail: written by flows, read here, changed by nobody."""

from django.contrib import admin

from ovauth.admin import base
from ovauth.models import AuditEvent


@admin.register(AuditEvent)
class AuditEvents(base.Look):
    list_display = ("at", "event", "actor", "account", "client_id", "ip", "detail")
    search_fields = ("=event", "=actor", "=account", "=client_id", "=request_id")
    search_help_text = "an event, user, account, client id or reference number, in full"
    fields = ("at", "event", "actor", "account", "client_id", "grant_id", "ip", "request_id", "detail")
