"""Grants, what they issued, and what waits for a decision. To look at, and to end."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from ovauth.admin import base, narrowing
from ovauth.admin.words import said
from ovauth.flows import connections, revocation
from ovauth.models import AccessToken, AuditEvent, AuthorizationCode, Grant, PendingAuthorization, RefreshToken

WHO = ("grant__client", "grant__member", "grant__api_key")
METHODS = {
    "browser": (_("a browser"), lambda: ~Q(redirect_uri="")),
    "device": (_("a device with a code"), lambda: Q(redirect_uri="") & ~Q(api_key=None, password_epoch=None)),
    "machine": (_("the client by itself"), lambda: Q(api_key=None, password_epoch=None)),
}


@admin.register(Grant)
class Grants(narrowing.ByWhoAndWhat, base.Look):
    grant_path = ""
    list_display = (
        base.member,
        base.client,
        base.destination,
        base.column("scope", _("scopes")),
        "state",
        base.column("created_at", _("since")),
        base.column("last_used_at", _("last used")),
        base.column("until", _("expires")),
    )
    list_display_links = ("state",)
    list_select_related = ("member", "client", "api_key")
    list_filter = (
        base.choices(
            "state",
            _("state"),
            {
                "open": (_("not ended"), lambda: Q(~connections.taken_over(), revoked_at=None)),
                "earlier": (_("not ended, behind a later one"), lambda: Q(connections.taken_over(), revoked_at=None)),
                "ended": (_("ended"), lambda: Q(revoked_at__isnull=False)),
            },
        ),
        base.choices("by", _("way"), METHODS),
        narrowing.by_method("client__"),
        narrowing.by_account("member__", ""),
    )
    fields: ClassVar[Any] = (
        base.client,
        base.member,
        base.column("get_role_display", _("role"), lambda label: label()),
        base.column("scope", _("scopes")),
        base.column("resource", _("resource")),
        base.column("redirect_uri", _("redirect URI")),
        "state",
        "authorized_by",
        base.column("created_at", _("approved")),
        base.column("asked_from_ip", _("asked from the address")),
        base.column("asked_by", _("asked by the browser"), base.written_by_a_client),
        base.column("connected_at", _("first token")),
        base.column("last_used_at", _("last used")),
        base.column("last_used_ip", _("last used from")),
        base.column("until", _("expires")),
        base.column("revoked_at", _("ended")),
        base.column("revoked_because", _("ended because"), said),
        base.column("refused_at", _("tried again since, and refused")),
    )
    actions = ("revoke",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Grant]:
        newest = RefreshToken.objects.filter(grant=OuterRef("pk"), consumed_at=None).order_by("-expires_at")
        until = Subquery(newest.values("expires_at")[:1])
        return super().get_queryset(request).annotate(until=until, taken_over=connections.taken_over())

    @admin.display(description=_("state"))
    def state(self, grant: Grant) -> str:
        if dead := grant.why_dead():
            return said(dead)
        if grant.taken_over:  # type: ignore[attr-defined]  # annotated above
            return str(_("the same app signed in again since"))
        return said("connected" if grant.connected_at else "approved")

    @admin.display(description=_("authorized by"))
    def authorized_by(self, grant: Grant) -> str:
        if grant.api_key is not None:
            return str(_("API key %(key)s") % {"key": grant.api_key})
        by_the_operator = grant.password_epoch is None
        return str(_("the operator, who bound the client") if by_the_operator else _("a console session"))

    @admin.action(description=_("Revoke: end what the app holds"))
    def revoke(self, request: HttpRequest, queryset: QuerySet[Grant]) -> HttpResponse | None:
        living = queryset.filter(revoked_at=None)
        if not base.asked_and_confirmed(request):
            held = {"grant__in": living.values("pk"), "expires_at__gt": timezone.now()}
            return base.ask(
                self,
                request,
                queryset,
                action="revoke",
                question=_("End these connections?"),
                consequences=(
                    base.so_many(
                        base.count(living),
                        ngettext_lazy("%(number)s connection ends", "%(number)s connections end", "number"),
                    ),
                    base.so_many(base.count(AccessToken.objects.filter(**held, revoked_at=None)), base.ACCESS_TOKENS),
                    base.so_many(base.count(RefreshToken.objects.filter(**held, consumed_at=None)), base.REFRESH_TOKENS),
                    _("The next request of each app is refused; it has to be approved again."),
                ),
                button=_("End them"),
            )
        ended = 0
        for grant in living.select_related(None).only("pk"):
            if revocation.revoke_grant(grant_pk=grant.pk):
                ended += 1
                base.note(request, "revoke grant", grant.pk)
        self.message_user(
            request, _("Ended: %(count)s.") % {"count": base.so_many(ended, base.CONNECTIONS, none=base.NOTHING)}
        )
        return None


class Issued(narrowing.ByWhoAndWhat, base.Look):
    """What hangs on a grant and expires."""

    list_select_related = WHO
    list_display_links = ("begins",)

    @admin.display(description=_("digest"))
    def begins(self, row: Any) -> str:
        return str(row)

    @admin.display(description=_("user"))
    def member(self, row: Any) -> str:
        return base.member(row.grant)

    @admin.display(description=_("client"))
    def client(self, row: Any) -> str:
        return base.client(row.grant)

    @admin.display(description=_("goes to"))
    def destination(self, row: Any) -> str:
        return base.destination(row.grant)

    @admin.display(description=_("state"))
    def state(self, row: Any) -> str:
        return said(self.standing(row))

    def standing(self, row: Any) -> str:
        """What the row is at this moment, in words that `ovauth.admin.words` knows."""
        raise NotImplementedError


LAST_USED = base.column("grant.last_used_at", _("connection last used"))
EXPIRES = base.column("expires_at", _("expires"))
CREATED = base.column("created_at", _("created"))


@admin.register(AccessToken)
class AccessTokens(Issued):
    list_display = (
        "begins",
        "member",
        "client",
        "destination",
        base.column("scope", _("scopes")),
        "state",
        CREATED,
        LAST_USED,
        EXPIRES,
    )
    list_filter = (
        base.choices("state", _("state"), base.expiring("revoked_at", _("revoked"))),
        narrowing.by_method("grant__client__"),
        narrowing.by_account("grant__member__", "grant__"),
    )
    fields: ClassVar[Any] = (
        "begins",
        base.connection,
        "member",
        "client",
        base.column("scope", _("scopes")),
        "state",
        CREATED,
        EXPIRES,
        base.column("revoked_at", _("revoked")),
    )
    actions = ("revoke",)

    def standing(self, row: Any) -> str:
        if row.revoked_at is not None:
            return "revoked"
        return "expired" if base.expired(row.expires_at) else row.grant.why_dead() or "works"

    @admin.action(description=_("Revoke"))
    def revoke(self, request: HttpRequest, queryset: QuerySet[AccessToken]) -> HttpResponse | None:
        if not base.asked_and_confirmed(request):
            working = queryset.filter(revoked_at=None, expires_at__gt=timezone.now())
            return base.ask(
                self,
                request,
                queryset,
                action="revoke",
                question=_("Revoke these access tokens?"),
                consequences=(
                    base.so_many(
                        base.count(working),
                        ngettext_lazy("%(number)s token stops working", "%(number)s tokens stop working", "number"),
                    ),
                    _("An app with a refresh token gets itself another one. To end that, end its connection."),
                ),
                button=_("Revoke them"),
            )
        ended = 0
        for token in queryset.select_related(None).only("pk", "digest"):
            if revocation.revoke_access_token(token_pk=token.pk):
                ended += 1
                base.note(request, "revoke access token", token)
        counted = base.so_many(ended, base.ACCESS_TOKENS, none=base.NOTHING)
        self.message_user(request, _("Revoked: %(count)s.") % {"count": counted})
        return None


@admin.register(RefreshToken)
class RefreshTokens(Issued):
    list_display = (
        "begins",
        "member",
        "client",
        "destination",
        "state",
        CREATED,
        base.column("consumed_at", _("used")),
        EXPIRES,
    )
    list_filter = (
        base.choices("state", _("state"), base.expiring("consumed_at", _("used"))),
        narrowing.by_method("grant__client__"),
        narrowing.by_account("grant__member__", "grant__"),
    )
    fields: ClassVar[Any] = (
        "begins",
        base.connection,
        "member",
        "client",
        "state",
        CREATED,
        base.column("consumed_at", _("used")),
        EXPIRES,
        base.column("successor", _("followed by"), str),
    )
    actions = ("revoke",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[RefreshToken]:
        return super().get_queryset(request).defer("sealed_successor")

    def standing(self, row: Any) -> str:
        if base.expired(row.expires_at):
            return "expired"
        return row.grant.why_dead() or ("used" if row.consumed_at else "works")

    @admin.action(description=_("Revoke, with the connection"))
    def revoke(self, request: HttpRequest, queryset: QuerySet[RefreshToken]) -> HttpResponse | None:
        grants = Grant.objects.filter(pk__in=queryset.order_by().values("grant"), revoked_at=None)
        if not base.asked_and_confirmed(request):
            return base.ask(
                self,
                request,
                queryset,
                action="revoke",
                question=_("Revoke these refresh tokens?"),
                consequences=(
                    base.so_many(
                        base.count(grants),
                        ngettext_lazy("%(number)s connection ends", "%(number)s connections end", "number"),
                    ),
                    _("A refresh token ends with its connection, and all that the connection holds (RFC 7009)."),
                ),
                button=_("Revoke them"),
            )
        ended = 0
        for pk in list(grants.values_list("pk", flat=True)):
            if revocation.revoke_grant(grant_pk=pk):
                ended += 1
                base.note(request, "revoke grant", pk)
        self.message_user(
            request, _("Ended: %(count)s.") % {"count": base.so_many(ended, base.CONNECTIONS, none=base.NOTHING)}
        )
        return None


@admin.register(AuthorizationCode)
class AuthorizationCodes(Issued):
    list_display = ("begins", "member", "client", "destination", "state", EXPIRES)
    list_filter = (
        base.choices("state", _("state"), base.expiring("consumed_at", _("used"))),
        narrowing.by_method("grant__client__"),
        narrowing.by_account("grant__member__", "grant__"),
    )
    fields: ClassVar[Any] = (
        "begins",
        base.connection,
        "member",
        "client",
        "destination",
        "state",
        base.column("consumed_at", _("used")),
        EXPIRES,
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuthorizationCode]:
        return super().get_queryset(request).defer("sealed")

    def standing(self, row: Any) -> str:
        if row.consumed_at is not None:
            return "used"
        return "expired" if base.expired(row.expires_at) else row.grant.why_dead() or "waits for the app"


@admin.register(PendingAuthorization)
class Pending(base.Look):
    list_display = (
        base.client,
        base.destination,
        base.column("get_kind_display", _("way"), lambda label: said(label())),
        base.column("scope", _("scopes")),
        "standing",
        base.column("ip", _("address")),
        CREATED,
        EXPIRES,
    )
    list_display_links = ("standing",)
    list_select_related = ("client",)
    list_filter = (
        base.choices(
            "state",
            _("state"),
            {
                "waiting": (_("waits for a decision"), lambda: Q(decision="", expires_at__gt=timezone.now())),
                "approved": (_("approved"), lambda: Q(decision="approved")),
                "denied": (_("denied"), lambda: Q(decision="denied")),
                "expired": (_("expired"), lambda: Q(decision="", expires_at__lte=timezone.now())),
            },
        ),
        base.choices(
            "by",
            _("way"),
            {
                "browser": (_("a browser"), lambda: Q(kind="browser")),
                "device": (_("a device with a code"), lambda: Q(kind="device")),
            },
        ),
        narrowing.by_method("client__"),
    )
    search_fields = ("client__name__istartswith", "=client__client_id")
    search_help_text = _("A client: its id, or how its name begins.")
    fields: ClassVar[Any] = (
        base.client,
        base.destination,
        base.column("get_kind_display", _("way"), lambda label: said(label())),
        base.column("scope", _("scopes")),
        base.column("resource", _("resource")),
        "standing",
        base.column("ip", _("address")),
        base.column("user_agent", _("browser"), base.written_by_a_client),
        CREATED,
        EXPIRES,
        base.column("decided_at", _("decided")),
        "decided_by",
        base.connection,
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[PendingAuthorization]:
        return super().get_queryset(request).defer("browser_digest", "device_digest", "code_digest", "code_challenge")

    @admin.display(description=_("decided by"), empty_value="")
    def decided_by(self, pending: PendingAuthorization) -> str:
        """The row itself knows of an approval alone; a denial leaves no grant, but an audit event of the same moment."""
        if pending.decided_at is None:
            return ""
        decided = AuditEvent.objects.filter(
            at=pending.decided_at, event=f"authorization.{pending.decision}", client_id=pending.client.client_id
        ).first()
        if decided is None:
            return str(pending.grant.member) if pending.grant else ""
        if decided.detail.get("cancelled"):
            return str(_("the browser that began: it gave up"))
        return decided.actor

    @admin.display(description=_("state"))  # the model's `state` is the client's, and nobody's business
    def standing(self, pending: PendingAuthorization) -> str:
        if pending.decision:
            return said(str(pending.get_decision_display()))
        return said("expired" if base.expired(pending.expires_at) else "waits for a decision")
