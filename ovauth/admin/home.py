"""The first page: what an operator asks first, by cheap queries alone."""

from typing import Any, Final

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import ngettext_lazy

from ovauth.admin import base
from ovauth.admin.words import said
from ovauth.models import AuditEvent, BlockedClient, Client, Grant, Member, PendingAuthorization, Tally
from ovauth.roles import Role

SITE: Final[Any] = admin.site
RECENT: Final = 10
NEWEST_BLOCKED: Final = 5


@SITE.home
def facts(request: HttpRequest) -> dict[str, Any]:
    """How much there is (up to ASKED_UP_TO of each), what happened last, and what is protected."""
    now = timezone.now()
    counted = (
        (
            "grant",
            "?state=open",
            ngettext_lazy("connection stands", "connections stand", "number"),
            Grant.objects.filter(revoked_at=None),
        ),
        (
            "pendingauthorization",
            "?state=waiting",
            ngettext_lazy("request waits for a decision", "requests wait for a decision", "number"),
            PendingAuthorization.objects.filter(decision="", expires_at__gt=now),
        ),
        ("client", "", ngettext_lazy("client is known", "clients are known", "number"), Client.objects.all()),
        (
            "client",
            "?state=blocked",
            ngettext_lazy("of them is blocked for everybody", "of them are blocked for everybody", "number"),
            Client.objects.filter(blocked_at__isnull=False),
        ),
        (
            "blockedclient",
            "",
            ngettext_lazy("app is blocked by people", "apps are blocked by people", "number"),
            BlockedClient.objects.all(),
        ),
        ("member", "", ngettext_lazy("user is known", "users are known", "number"), Member.objects.all()),
        (
            "tally",
            "?state=counts",
            ngettext_lazy("limit counts failures", "limits count failures", "number"),
            Tally.objects.filter(expires_at__gt=now, count__gt=0),
        ),
    )
    blocked = BlockedClient.objects.select_related("client", "account", "member").order_by("-pk")[:NEWEST_BLOCKED]
    return {
        "counts": [
            {
                "number": base.up_to(number, base.ASKED_UP_TO),
                "words": words % {"number": number},
                "url": reverse(f"admin:ovauth_{model}_changelist") + query,
            }
            for model, query, words, rows in counted
            for number in (base.count(rows),)
        ],
        "blocked": [
            {
                "pk": row.pk,
                "name": base.written_by_a_client(str(row.client)),
                "whom": row.member or row.account,
                "since": row.created_at,
            }
            for row in blocked
        ],
        "recent": AuditEvent.objects.order_by("-pk")[:RECENT],
        "resources": settings.OVAUTH.resources(_issuer(request)),
        "scopes": [
            {"name": scope.name, "sentence": said(scope.sentence), "role": said(Role(scope.lowest_role).label)}
            for scope in settings.OVAUTH.scopes
        ],
    }


def _issuer(request: HttpRequest) -> str:
    """As this request was decided to see it, in front of Django."""
    decided = getattr(request, "scope", {}).get("ovauth.issuer")
    return str(decided or request.build_absolute_uri("/").rstrip("/"))
