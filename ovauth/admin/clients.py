"""Clients: those that registered themselves, and those that an operator makes here."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.utils import model_ngettext
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Max, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from ovauth.admin import base, narrowing, walking
from ovauth.admin.words import said
from ovauth.errors import Conflict
from ovauth.flows import clients
from ovauth.models import AccessToken, Client, Grant, RefreshToken
from ovauth.rules import display_text, redirect_uris
from ovauth.rules.client_metadata import MOST_REDIRECT_URIS

A_YEAR = 366 * 24 * 3600
METHODS = {
    "none": _("none: an app on a person's own computer, which keeps no secret"),
    "client_secret_basic": _("client_secret_basic: a secret, in the Authorization header"),
    "client_secret_post": _("client_secret_post: a secret, in the form"),
}
THIS_MANY = ngettext_lazy("%(number)s client", "%(number)s clients", "number")


class Lines(forms.CharField):
    """A list of texts, one in each line."""

    widget = forms.Textarea(attrs={"rows": 5, "class": "vLargeTextField", "spellcheck": "false"})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return [line.strip() for line in str(value or "").splitlines() if line.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return list(initial or []) != self.to_python(data)


class RedirectUris(Lines):
    def validate(self, value: Any) -> None:
        """Each by the rules of registration, told by its line."""
        super().validate(value)
        if len(value) > MOST_REDIRECT_URIS:
            raise ValidationError(_("At most %(most)s redirect URIs.") % {"most": MOST_REDIRECT_URIS})
        faults = [(line, redirect_uris.why_not_registrable(uri)) for line, uri in enumerate(value, start=1)]
        wrong = [
            _("Line %(line)s is not acceptable: %(fault)s.") % {"line": line, "fault": fault}
            for line, fault in faults
            if fault
        ]
        if wrong:
            raise ValidationError(wrong)


class NewClientForm(forms.ModelForm):
    name = forms.CharField(label=_("Name"), max_length=200, help_text=_("As people see it when they are asked to approve."))
    redirect_uris = RedirectUris(
        label=_("Redirect URIs"), help_text=_("One per line. https, http on loopback, or an app's own scheme (cursor://…).")
    )
    token_endpoint_auth_method = forms.ChoiceField(label=_("Authentication"), choices=list(METHODS.items()))
    scopes = forms.MultipleChoiceField(
        label=_("Scopes"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("None chosen: the default scopes."),
    )

    class Meta:
        model = Client
        fields = ("name", "redirect_uris", "token_endpoint_auth_method")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offered: Any = self.fields["scopes"]
        offered.choices = [(scope.name, f"{scope.name}: {said(scope.sentence)}") for scope in settings.OVAUTH.scopes]


class ClientForm(forms.ModelForm):
    name = forms.CharField(label=_("Name"), max_length=200, required=False)
    redirect_uris = RedirectUris(label=_("Redirect URIs"), required=False, help_text=_("One per line."))
    access_token_ttl = forms.IntegerField(
        label=_("Life of an access token"),
        required=False,
        min_value=1,
        max_value=A_YEAR,
        help_text=_("In seconds. Empty: what OVAUTH_ACCESS_TOKEN_TTL says."),
    )

    class Meta:
        model = Client
        fields = ("name", "redirect_uris", "access_token_ttl", "acts_as")
        labels = {"acts_as": _("Acts as")}
        help_texts = {
            "acts_as": _("As whom the client acts by itself (client_credentials): account and role are this user's.")
        }

    def clean_redirect_uris(self) -> list[str]:
        uris: list[str] = self.cleaned_data["redirect_uris"]
        if not uris and "authorization_code" in self.instance.grant_types:
            raise ValidationError(_("This client needs at least one: codes go there."))
        return uris


class Alike(admin.SimpleListFilter):
    """Installations of one app, which all registered a client of their own: the newest of each kind, or those of one."""

    title = _("kind")
    parameter_name = "alike"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, Any]]:
        offered: list[tuple[Any, Any]] = [("newest", _("the newest of each kind"))]
        chosen = request.GET.get("alike")
        return offered if chosen in (None, "newest") else [*offered, (chosen, _("those of one kind"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Client]) -> QuerySet[Client]:
        chosen = self.value()
        if chosen == "newest":
            alike = Client.objects.exclude(likeness="").order_by().values("likeness")
            return queryset.filter(Q(likeness="") | Q(pk__in=alike.annotate(newest=Max("pk")).values("newest")))
        if chosen:
            walking.lead(request)
            return queryset.filter(likeness=chosen).exclude(likeness="")
        return queryset


@admin.register(Client)
class Clients(base.Page):
    list_display = (
        "named",
        "destinations",
        base.column("get_origin_display", _("how it came"), lambda label: said(label())),
        "others",
        base.column("scope", _("scopes")),
        "connections",
        "state",
        base.column("created_at", _("since")),
        base.column("last_used_at", _("last used")),
    )
    TOLD = (
        "client_id_in_full",
        base.column("get_origin_display", _("how it came"), lambda label: said(label())),
        "state",
        "others",
        "connections",
        base.column("token_endpoint_auth_method", _("authentication")),
        base.column("grant_types", _("grant types"), ", ".join),
        base.column("scope", _("scopes")),
        base.column("application_type", _("kind of app")),
        "more",
        base.column("created_at", _("since")),
        base.column("last_used_at", _("last used")),
    )
    list_filter = (
        base.choices(
            "state",
            _("state"),
            {
                "open": (_("not blocked"), lambda: Q(blocked_at=None)),
                "blocked": (_("blocked"), lambda: Q(blocked_at__isnull=False)),
                "approved": (_("known here"), lambda: Q(blocked_at=None, approved_at__isnull=False)),
                "unused": (_("never used"), lambda: Q(last_used_at=None)),
            },
        ),
        Alike,
        narrowing.by_method(),
    )
    search_fields = ("name__istartswith", "=client_id")
    search_help_text = _("How its name begins, or its id in full.")
    raw_id_fields = ("acts_as",)
    actions = ("block", "unblock", "approve", "unapprove", "renew_secret")

    def has_delete_permission(self, request: HttpRequest, obj: Client | None = None) -> bool:
        return self.has_change_permission(request, obj)

    def get_actions(self, request: HttpRequest) -> Any:
        """Without Django's “delete selected”: a client is deleted on its own page, which says what goes along."""
        return {name: action for name, action in super().get_actions(request).items() if name != "delete_selected"}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Client]:
        living = base.CountOf(Grant.objects.filter(client=OuterRef("pk"), revoked_at=None))
        alike = base.CountOf(Client.objects.filter(likeness=OuterRef("likeness")).exclude(likeness=""))
        hidden = ("secret_digest", "registration_digest")
        return super().get_queryset(request).defer(*hidden).annotate(living=living, alike=alike)

    def get_form(self, request: HttpRequest, obj: Client | None = None, change: bool = False, **kwargs: Any) -> Any:
        kwargs["form"] = NewClientForm if obj is None else ClientForm
        return super().get_form(request, obj, change=change, **kwargs)

    def get_fields(self, request: HttpRequest, obj: Client | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("name", "redirect_uris", "token_endpoint_auth_method", "scopes")
        editable = ("name", "redirect_uris", "access_token_ttl", "acts_as")
        return (*editable, *self.get_readonly_fields(request, obj))

    def get_readonly_fields(self, request: HttpRequest, obj: Client | None = None) -> tuple[str, ...]:
        if obj is None:
            return ()
        return self.TOLD

    @admin.display(description=_("client"))
    def named(self, client: Client) -> str:
        return base.written_by_a_client(client.name or client.client_id)

    @admin.display(description=_("client id"))
    def client_id_in_full(self, client: Client) -> str:
        return client.client_id

    @admin.display(description=_("what else it told"))
    def more(self, client: Client) -> str:
        told = (f"{name}: {value}" for name, value in client.metadata.items())
        return "; ".join(display_text.clean(each, 200) for each in told)

    @admin.display(description=_("goes to"))
    def destinations(self, client: Client) -> str:
        named = dict.fromkeys(redirect_uris.destination(uri) for uri in client.redirect_uris)
        return ", ".join(name for name in named if name)

    @admin.display(description=_("others like it"))
    def others(self, client: Client) -> str:
        """How many more registered with the same name, authentication and destination."""
        alike = client.alike  # type: ignore[attr-defined]  # annotated above
        if alike < 2:
            return ""
        many = alike > base.LISTED_UP_TO
        url = reverse("admin:ovauth_client_changelist")
        return format_html('<a href="{}?alike={}">{}</a>', url, client.likeness, base.up_to(alike if many else alike - 1))

    @admin.display(description=_("connections"))
    def connections(self, client: Client) -> str:
        return base.up_to(client.living)  # type: ignore[attr-defined]  # annotated above

    @admin.display(description=_("state"))
    def state(self, client: Client) -> str:
        if client.blocked_at is not None:
            return str(_("blocked since %(moment)s") % {"moment": f"{client.blocked_at:%Y-%m-%d %H:%M}"})
        return str(_("may ask") if client.approved_at is None else _("may ask, known here"))

    def save_model(self, request: HttpRequest, obj: Client, form: Any, change: bool) -> None:
        given = form.cleaned_data
        if not change:
            made = clients.make(
                name=given["name"],
                redirect_uris=given["redirect_uris"],
                token_endpoint_auth_method=given["token_endpoint_auth_method"],
                scope=" ".join(given["scopes"]),
            )
            obj.pk, obj.client_id = Client.objects.values_list("pk", "client_id").get(client_id=made.client_id)
            request.made = made  # type: ignore[attr-defined]  # for the answer, and no further
            base.note(request, "make client", obj)
            return
        clients.change(
            client_id=obj.client_id,
            name=given["name"],
            redirect_uris=given["redirect_uris"],
            access_token_ttl=given["access_token_ttl"],
            acts_as_pk=given["acts_as"].pk if given["acts_as"] else None,
        )
        base.note(request, "change client", obj)

    def response_add(self, request: HttpRequest, obj: Client, post_url_continue: str | None = None) -> HttpResponse:
        made: clients.Registration = request.made  # type: ignore[attr-defined]
        shown: list[tuple[base.Words, str]] = [(_("Client id"), made.client_id)]
        if made.client_secret is not None:
            shown.append((_("Client secret"), made.client_secret))
        return base.show_once(
            self,
            request,
            title=_("“%(client)s” was made") % {"client": made.metadata.client_name},
            shown=shown,
            advice=_("The secret is shown this once. Put it into the client's settings now.")
            if made.client_secret
            else _("This client has no secret. Put its id into its settings."),
        )

    def delete_model(self, request: HttpRequest, obj: Client) -> None:
        clients.remove(client_id=obj.client_id)
        base.note(request, "delete client", obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """How many rows of each kind go along; not each by itself, there may be thousands."""
        chosen = [client.pk for client in objs]
        grants = Grant.objects.filter(client__in=chosen)
        counts = {
            Client: len(chosen),
            Grant: base.count(grants),
            AccessToken: base.count(AccessToken.objects.filter(grant__in=grants.values("pk"))),
            RefreshToken: base.count(RefreshToken.objects.filter(grant__in=grants.values("pk"))),
        }
        summary = {
            model_ngettext(model._meta, count): base.up_to(count, base.ASKED_UP_TO) for model, count in counts.items()
        }
        return [base.written_by_a_client(str(client)) for client in objs], summary, set(), []

    # -------------------------------------------------------------- actions

    @admin.action(description=_("Block: nothing that they hold works any more"))
    def block(self, request: HttpRequest, queryset: QuerySet[Client]) -> HttpResponse | None:
        open_ones = queryset.filter(blocked_at=None)
        if not base.asked_and_confirmed(request):
            living = Grant.objects.filter(client__in=open_ones.order_by().values("pk"), revoked_at=None)
            return base.ask(
                self,
                request,
                queryset,
                action="block",
                question=_("Block these clients?"),
                consequences=(
                    base.so_many(
                        open_ones.count(),
                        ngettext_lazy(
                            "%(number)s client is refused from now on",
                            "%(number)s clients are refused from now on",
                            "number",
                        ),
                    ),
                    base.so_many(
                        base.count(living),
                        ngettext_lazy("%(number)s connection stands still", "%(number)s connections stand still", "number"),
                    ),
                    _("Unblocking lets them in again."),
                ),
                button=_("Block them"),
            )
        done = self._block(request, open_ones, blocked=True)
        self.message_user(request, _("Blocked: %(count)s.") % {"count": base.so_many(done, THIS_MANY, none=base.NOTHING)})
        return None

    @admin.action(description=_("Unblock"))
    def unblock(self, request: HttpRequest, queryset: QuerySet[Client]) -> HttpResponse | None:
        blocked = queryset.filter(blocked_at__isnull=False)
        if not base.asked_and_confirmed(request):
            living = Grant.objects.filter(client__in=blocked.order_by().values("pk"), revoked_at=None)
            return base.ask(
                self,
                request,
                queryset,
                action="unblock",
                question=_("Unblock these clients?"),
                consequences=(
                    base.so_many(
                        blocked.count(),
                        ngettext_lazy("%(number)s client may ask again", "%(number)s clients may ask again", "number"),
                    ),
                    base.so_many(
                        base.count(living),
                        ngettext_lazy("%(number)s connection goes on", "%(number)s connections go on", "number"),
                    ),
                ),
                button=_("Unblock them"),
            )
        done = self._block(request, blocked, blocked=False)
        self.message_user(request, _("Unblocked: %(count)s.") % {"count": base.so_many(done, THIS_MANY, none=base.NOTHING)})
        return None

    def _block(self, request: HttpRequest, queryset: QuerySet[Client], *, blocked: bool) -> int:
        now = timezone.now()
        found = list(queryset)
        for client in found:
            with transaction.atomic():
                clients.block(client, now, blocked=blocked)
                base.note(request, "block client" if blocked else "unblock client", client)
        return len(found)

    @admin.action(description=_("Approve: tell people that you know these clients"))
    def approve(self, request: HttpRequest, queryset: QuerySet[Client]) -> HttpResponse | None:
        unknown = queryset.filter(approved_at=None)
        if not base.asked_and_confirmed(request):
            return base.ask(
                self,
                request,
                queryset,
                action="approve",
                question=_("Approve these clients?"),
                consequences=(
                    base.so_many(unknown.count(), THIS_MANY),
                    _("People who review their requests read that you know them."),
                ),
                button=_("Approve them"),
            )
        done = self._approve(request, unknown, approved=True)
        self.message_user(request, _("Approved: %(count)s.") % {"count": base.so_many(done, THIS_MANY, none=base.NOTHING)})
        return None

    @admin.action(description=_("Take the approval back: nothing that they hold ends"))
    def unapprove(self, request: HttpRequest, queryset: QuerySet[Client]) -> HttpResponse | None:
        known = queryset.filter(approved_at__isnull=False)
        if not base.asked_and_confirmed(request):
            return base.ask(
                self,
                request,
                queryset,
                action="unapprove",
                question=_("Take the approval of these clients back?"),
                consequences=(
                    base.so_many(known.count(), THIS_MANY),
                    _("They count as unverified again. Nothing that they hold ends."),
                ),
                button=_("Take it back"),
            )
        done = self._approve(request, known, approved=False)
        counted = base.so_many(done, THIS_MANY, none=base.NOTHING)
        self.message_user(request, _("No longer approved: %(count)s.") % {"count": counted})
        return None

    def _approve(self, request: HttpRequest, queryset: QuerySet[Client], *, approved: bool) -> int:
        now = timezone.now()
        found = list(queryset)
        for client in found:
            with transaction.atomic():
                clients.approve(client, now, approved=approved)
                base.note(request, "approve client" if approved else "take back approval of client", client)
        return len(found)

    @admin.action(description=_("Renew the secret"))
    def renew_secret(self, request: HttpRequest, queryset: QuerySet[Client]) -> HttpResponse | None:
        with_secret = queryset.filter(secret_digest__isnull=False)
        if queryset.count() != 1 or not with_secret.exists():
            self.message_user(
                request, _("Choose one client that has a secret: the new one is shown once."), level="WARNING"
            )
            return None
        client = with_secret.get()
        if not base.asked_and_confirmed(request):
            return base.ask(
                self,
                request,
                queryset,
                action="renew_secret",
                question=_("Renew the secret of “%(client)s”?") % {"client": base.written_by_a_client(str(client))},
                consequences=(
                    _("The old secret stops working at once; the client cannot refresh until it has the new one."),
                ),
                button=_("Renew it"),
                known=clients.secret_known_as(client),
            )
        try:
            secret = clients.renew_secret(client_id=client.client_id, secret_known=base.known(request))
        except Conflict as again:
            self.message_user(request, _(again.description), level="WARNING")
            return None
        base.note(request, "renew client secret", client)
        return show_new_secret(self, request, client, secret)


def show_new_secret(page: base.Page, request: HttpRequest, client: Client, secret: str) -> HttpResponse:
    """The one answer that carries the renewed secret."""
    return base.show_once(
        page,
        request,
        title=_("“%(client)s” has a new secret") % {"client": base.written_by_a_client(str(client))},
        shown=[(_("Client id"), client.client_id), (_("Client secret"), secret)],
        advice=_("It is shown this once. Put it into the client's settings now."),
    )
