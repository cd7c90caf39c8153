"""Grants, what they issued, and what waits for a decision. To look at, and to end."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from ovauth.admin import base
from ovauth.flows import connections, revocation
from ovauth.models import AccessToken, AuthorizationCode, Grant, PendingAuthorization, RefreshToken
from ovauth.rules import redirect_uris

WHO = ("grant__client", "grant__member", "grant__api_key")


@admin.register(Grant)
class Grants(base.Look):
    list_display = (
        "member",
        "client",
        "destination",
        "scope",
        "state",
        "created_at",
        "last_used_at",
        "expires",
    )
    list_select_related = ("member", "client", "api_key")
    list_filter = (
        base.choices(
            "state",
            "state",
            {
                "open": ("not ended", lambda: Q(revoked_at=None, taken_over=False)),
                "earlier": ("not ended, behind a later one", lambda: Q(revoked_at=None, taken_over=True)),
                "ended": ("ended", lambda: Q(revoked_at__isnull=False)),
            },
        ),
        "member__account",
    )
    search_fields = ("member__sign_in_name", "client__name", "client__client_id")
    search_help_text = "user, or name or id of a client"
    fields = (
        "client",
        "member",
        "role",
        "scope",
        "resource",
        "redirect_uri",
        "state",
        "authorized_by",
        "created_at",
        "connected_at",
        "last_used_at",
        "last_used_ip",
        "expires",
        "revoked_at",
        "revoked_because",
    )
    actions = ("revoke",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Grant]:
        newest = RefreshToken.objects.filter(grant=OuterRef("pk"), consumed_at=None).order_by("-expires_at")
        until = Subquery(newest.values("expires_at")[:1])
        return super().get_queryset(request).annotate(until=until, taken_over=connections.taken_over())

    @admin.display(description="goes to")
    def destination(self, grant: Grant) -> str:
        return redirect_uris.destination(grant.redirect_uri) if grant.redirect_uri else ""

    @admin.display
    def state(self, grant: Grant) -> str:
        if dead := grant.why_dead():
            return dead
        if grant.taken_over:  # type: ignore[attr-defined]  # annotated above
            return "the same app signed in again since"
        return "connected" if grant.connected_at else "approved"

    @admin.display(ordering="until")
    def expires(self, grant: Grant) -> Any:
        return grant.until  # type: ignore[attr-defined]  # annotated above

    @admin.display
    def authorized_by(self, grant: Grant) -> str:
        if grant.api_key is not None:
            return f"API key {grant.api_key}"
        return "the operator, who bound the client" if grant.password_epoch is None else "a console session"

    @admin.action(description="Revoke: end what the app holds")
    def revoke(self, request: HttpRequest, queryset: QuerySet[Grant]) -> HttpResponse | None:
        living = queryset.filter(revoked_at=None)
        if not base.asked_and_confirmed(request):
            now = timezone.now()
            held = {"grant__in": living.values("pk"), "expires_at__gt": now}
            return base.ask(
                self,
                request,
                queryset,
                action="revoke",
                question="End these connections?",
                consequences=(
                    base.so_many(living.count(), "connection ends", "connections end"),
                    base.so_many(
                        AccessToken.objects.filter(**held, revoked_at=None).count(), "access token", "access tokens"
                    ),
                    base.so_many(
                        RefreshToken.objects.filter(**held, consumed_at=None).count(), "refresh token", "refresh tokens"
                    ),
                    "The next request of each app is refused; it has to be approved again.",
                ),
                button="End them",
            )
        ended = 0
        for grant in living.select_related(None).only("pk"):
            if revocation.revoke_grant(grant_pk=grant.pk):
                ended += 1
                base.note(request, "revoke grant", grant.pk)
        self.message_user(request, f"Ended {base.so_many(ended, 'connection', 'connections') or 'nothing'}.")
        return None


class Issued(base.Look):
    """What hangs on a grant and expires."""

    list_select_related = WHO
    search_fields = ("grant__member__sign_in_name", "grant__client__name", "grant__client__client_id")
    search_help_text = "user, or name or id of a client"

    @admin.display(description="digest")
    def begins(self, row: Any) -> str:
        return str(row)

    @admin.display(description="who")
    def member(self, row: Any) -> str:
        return str(row.grant.member)

    @admin.display
    def client(self, row: Any) -> str:
        return str(row.grant.client)


@admin.register(AccessToken)
class AccessTokens(Issued):
    list_display = ("begins", "member", "client", "scope", "state", "created_at", "last_used", "expires_at")
    list_filter = (base.choices("state", "state", base.expiring("revoked_at")), "grant__member__account")
    fields = ("begins", "grant", "member", "client", "scope", "state", "created_at", "expires_at", "revoked_at")
    actions = ("revoke",)

    @admin.display
    def state(self, token: AccessToken) -> str:
        if token.revoked_at is not None:
            return "revoked"
        return "expired" if base.expired(token.expires_at) else token.grant.why_dead() or "works"

    @admin.display(description="connection last used")
    def last_used(self, token: AccessToken) -> Any:
        return token.grant.last_used_at

    @admin.action(description="Revoke")
    def revoke(self, request: HttpRequest, queryset: QuerySet[AccessToken]) -> HttpResponse | None:
        if not base.asked_and_confirmed(request):
            working = queryset.filter(revoked_at=None, expires_at__gt=timezone.now())
            return base.ask(
                self,
                request,
                queryset,
                action="revoke",
                question="Revoke these access tokens?",
                consequences=(
                    base.so_many(working.count(), "token stops working", "tokens stop working"),
                    "An app with a refresh token gets itself another one. To end that, revoke its grant.",
                ),
                button="Revoke them",
            )
        ended = 0
        for token in queryset.select_related(None).only("pk", "digest"):
            if revocation.revoke_access_token(token_pk=token.pk):
                ended += 1
                base.note(request, "revoke access token", token)
        self.message_user(request, f"Revoked {base.so_many(ended, 'access token', 'access tokens') or 'nothing'}.")
        return None


@admin.register(RefreshToken)
class RefreshTokens(Issued):
    list_display = ("begins", "member", "client", "state", "created_at", "consumed_at", "expires_at")
    list_filter = (base.choices("state", "state", base.expiring("consumed_at")), "grant__member__account")
    fields = ("begins", "grant", "member", "client", "state", "created_at", "consumed_at", "expires_at", "followed_by")

    def get_queryset(self, request: HttpRequest) -> QuerySet[RefreshToken]:
        return super().get_queryset(request).defer("sealed_successor")

    @admin.display
    def state(self, token: RefreshToken) -> str:
        if base.expired(token.expires_at):
            return "expired"
        return token.grant.why_dead() or ("used" if token.consumed_at else "works")

    @admin.display
    def followed_by(self, token: RefreshToken) -> str:
        return str(token.successor or "")


@admin.register(AuthorizationCode)
class AuthorizationCodes(Issued):
    list_display = ("begins", "member", "client", "destination", "state", "expires_at")
    list_filter = (base.choices("state", "state", base.expiring("consumed_at")), "grant__member__account")
    fields = ("begins", "grant", "member", "client", "destination", "state", "consumed_at", "expires_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuthorizationCode]:
        return super().get_queryset(request).defer("sealed")

    @admin.display(description="goes to")
    def destination(self, code: AuthorizationCode) -> str:
        return redirect_uris.destination(code.redirect_uri) if code.redirect_uri else ""

    @admin.display
    def state(self, code: AuthorizationCode) -> str:
        if code.consumed_at is not None:
            return "used"
        return "expired" if base.expired(code.expires_at) else code.grant.why_dead() or "waits for the app"


@admin.register(PendingAuthorization)
class Pending(base.Look):
    list_display = ("client", "destination", "kind", "scope", "standing", "ip", "created_at", "expires_at")
    list_select_related = ("client",)
    list_filter = ("kind", "decision")
    search_fields = ("client__name", "client__client_id")
    search_help_text = "name or id of a client"
    fields: ClassVar[tuple[str, ...]] = (
        "client",
        "destination",
        "kind",
        "scope",
        "resource",
        "standing",
        "ip",
        "user_agent",
        "created_at",
        "expires_at",
        "decided_at",
        "grant",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[PendingAuthorization]:
        return super().get_queryset(request).defer("browser_digest", "device_digest", "code_digest", "code_challenge")

    @admin.display(description="goes to")
    def destination(self, pending: PendingAuthorization) -> str:
        return redirect_uris.destination(pending.redirect_uri) if pending.redirect_uri else ""

    @admin.display(description="state")  # the model's `state` is the client's, and nobody's business
    def standing(self, pending: PendingAuthorization) -> str:
        if pending.decision:
            return str(pending.get_decision_display())
        return "expired" if base.expired(pending.expires_at) else "waiting"
