"""The first page: what an operator asks first, by cheap queries alone."""

from typing import Any, Final

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ovauth.admin import base
from ovauth.admin.words import said
from ovauth.models import AuditEvent, Client, Grant, Member, PendingAuthorization, Tally
from ovauth.roles import Role

SITE: Final[Any] = admin.site
RECENT: Final = 10


@SITE.home
def facts(request: HttpRequest) -> dict[str, Any]:
    """How much there is (up to ASKED_UP_TO of each), what happened last, and what is protected."""
    now = timezone.now()
    counted = (
        ("grant", "?state=open", _("connections stand"), Grant.objects.filter(revoked_at=None)),
        (
            "pendingauthorization",
            "?state=waiting",
            _("requests wait for a decision"),
            PendingAuthorization.objects.filter(decision="", expires_at__gt=now),
        ),
        ("client", "", _("clients are known"), Client.objects.all()),
        ("client", "?state=blocked", _("of them are blocked"), Client.objects.filter(blocked_at__isnull=False)),
        ("member", "", _("users"), Member.objects.all()),
        ("tally", "?state=counts", _("limits count failures"), Tally.objects.filter(expires_at__gt=now, count__gt=0)),
    )
    return {
        "counts": [
            {
                "number": base.up_to(base.count(rows), base.ASKED_UP_TO),
                "words": words,
                "url": reverse(f"admin:ovauth_{model}_changelist") + query,
            }
            for model, query, words, rows in counted
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
