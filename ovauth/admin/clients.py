"""Clients: those that registered themselves, and those that an operator makes here."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.utils import model_ngettext
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from ovauth.admin import base
from ovauth.flows import clients
from ovauth.models import AccessToken, Client, Grant, RefreshToken
from ovauth.rules import redirect_uris
from ovauth.rules.client_metadata import MOST_REDIRECT_URIS

A_YEAR = 366 * 24 * 3600
METHODS = {
    "none": "none: an app on a person's own computer, which keeps no secret",
    "client_secret_basic": "client_secret_basic: a secret, in the Authorization header",
    "client_secret_post": "client_secret_post: a secret, in the form",
}


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
            raise ValidationError(f"At most {MOST_REDIRECT_URIS} redirect URIs.")
        faults = [(line, redirect_uris.why_not_registrable(uri)) for line, uri in enumerate(value, start=1)]
        wrong = [f"Line {line} is not acceptable: {fault}." for line, fault in faults if fault]
        if wrong:
            raise ValidationError(wrong)


class NewClientForm(forms.ModelForm):
    name = forms.CharField(max_length=200, help_text="As people see it when they are asked to approve.")
    redirect_uris = RedirectUris(
        label="Redirect URIs", help_text="One per line. https, http on loopback, or an app's own scheme (cursor://…)."
    )
    token_endpoint_auth_method = forms.ChoiceField(label="Authentication", choices=list(METHODS.items()))
    scopes = forms.MultipleChoiceField(
        required=False, widget=forms.CheckboxSelectMultiple, help_text="None chosen: the default scopes."
    )

    class Meta:
        model = Client
        fields = ("name", "redirect_uris", "token_endpoint_auth_method")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offered: Any = self.fields["scopes"]
        offered.choices = [(scope.name, f"{scope.name}: {scope.sentence}") for scope in settings.OVAUTH.scopes]


class ClientForm(forms.ModelForm):
    name = forms.CharField(max_length=200, required=False)
    redirect_uris = RedirectUris(label="Redirect URIs", required=False, help_text="One per line.")
    access_token_ttl = forms.IntegerField(
        label="Life of an access token",
        required=False,
        min_value=1,
        max_value=A_YEAR,
        help_text="In seconds. Empty: what OVAUTH_ACCESS_TOKEN_TTL says.",
    )

    class Meta:
        model = Client
        fields = ("name", "redirect_uris", "access_token_ttl", "acts_as")

    def clean_redirect_uris(self) -> list[str]:
        uris: list[str] = self.cleaned_data["redirect_uris"]
        if not uris and "authorization_code" in self.instance.grant_types:
            raise ValidationError("This client needs at least one: codes go there.")
        return uris


@admin.register(Client)
class Clients(base.Page):
    list_display = (
        "__str__",
        "destinations",
        "origin",
        "token_endpoint_auth_method",
        "scope",
        "connections",
        "state",
        "created_at",
        "last_used_at",
    )
    list_filter = (
        "origin",
        base.choices(
            "state",
            "state",
            {
                "open": ("not blocked", lambda: Q(blocked_at=None)),
                "blocked": ("blocked", lambda: Q(blocked_at__isnull=False)),
                "approved": ("known here", lambda: Q(blocked_at=None, approved_at__isnull=False)),
            },
        ),
    )
    search_fields = ("name", "=client_id")
    search_help_text = "name, or client id in full"
    raw_id_fields = ("acts_as",)
    actions = ("block", "unblock", "approve", "unapprove", "renew_secret")

    def has_delete_permission(self, request: HttpRequest, obj: Client | None = None) -> bool:
        return self.has_change_permission(request, obj)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Client]:
        living = Count("grants", filter=Q(grants__revoked_at=None))
        hidden = ("secret_digest", "registration_digest")
        return super().get_queryset(request).defer(*hidden).annotate(living=living)

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
        return (
            "client_id",
            "origin",
            "state",
            "token_endpoint_auth_method",
            "grant_types",
            "scope",
            "application_type",
            "metadata",
            "created_at",
            "last_used_at",
        )

    @admin.display(description="goes to")
    def destinations(self, client: Client) -> str:
        named = dict.fromkeys(redirect_uris.destination(uri) for uri in client.redirect_uris)
        return ", ".join(name for name in named if name)

    @admin.display(ordering="living")
    def connections(self, client: Client) -> int:
        return client.living  # type: ignore[attr-defined]  # annotated above

    @admin.display
    def state(self, client: Client) -> str:
        if client.blocked_at is not None:
            return f"blocked since {client.blocked_at:%Y-%m-%d %H:%M}"
        return "may ask" if client.approved_at is None else "may ask, known here"

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
        shown = [("Client id", made.client_id)]
        if made.client_secret is not None:
            shown.append(("Client secret", made.client_secret))
        return base.show_once(
            self,
            request,
            title=f"“{made.metadata.client_name}” was made",
            shown=shown,
            advice="The secret is shown this once. Put it into the client's settings now."
            if made.client_secret
            else "This client has no secret. Put its id into its settings.",
        )

    def delete_model(self, request: HttpRequest, obj: Client) -> None:
        clients.remove(client_id=obj.client_id)
        base.note(request, "delete client", obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Client]) -> None:
        with transaction.atomic():
            for client in queryset:
                self.delete_model(request, client)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """How many rows of each kind go along; not each by itself, there may be thousands."""
        chosen = [client.pk for client in objs]
        grants = Grant.objects.filter(client__in=chosen)
        counts = {
            Client: len(chosen),
            Grant: grants.count(),
            AccessToken: AccessToken.objects.filter(grant__in=grants).count(),
            RefreshToken: RefreshToken.objects.filter(grant__in=grants).count(),
        }
        summary = {model_ngettext(model._meta, count): count for model, count in counts.items()}
        return [str(client) for client in objs], summary, set(), []

    # -------------------------------------------------------------- actions

    @admin.action(description="Block: nothing that they hold works any more")
    def block(self, request: HttpRequest, queryset: QuerySet[Client]) -> HttpResponse | None:
        open_ones = queryset.filter(blocked_at=None)
        if not base.asked_and_confirmed(request):
            living = Grant.objects.filter(client__in=open_ones.values("pk"), revoked_at=None).count()
            return base.ask(
                self,
                request,
                queryset,
                action="block",
                question="Block these clients?",
                consequences=(
                    base.so_many(open_ones.count(), "client is refused from now on", "clients are refused from now on"),
                    base.so_many(living, "connection stands still", "connections stand still"),
                    "Unblocking lets them in again.",
                ),
                button="Block them",
            )
        self._block(request, open_ones, blocked=True)
        return None

    @admin.action(description="Unblock")
    def unblock(self, request: HttpRequest, queryset: QuerySet[Client]) -> None:
        self._block(request, queryset.filter(blocked_at__isnull=False), blocked=False)

    def _block(self, request: HttpRequest, queryset: QuerySet[Client], *, blocked: bool) -> None:
        now = timezone.now()
        done = 0
        for client in list(queryset):
            with transaction.atomic():
                clients.block(client, now, blocked=blocked)
                base.note(request, "block client" if blocked else "unblock client", client)
            done += 1
        counted = base.so_many(done, "client", "clients") or "nothing"
        self.message_user(request, f"{'Blocked' if blocked else 'Unblocked'} {counted}.")

    @admin.action(description="Approve: tell people that you know these clients")
    def approve(self, request: HttpRequest, queryset: QuerySet[Client]) -> None:
        self._approve(request, queryset.filter(approved_at=None), approved=True)

    @admin.action(description="Take the approval back: nothing that they hold ends")
    def unapprove(self, request: HttpRequest, queryset: QuerySet[Client]) -> None:
        self._approve(request, queryset.filter(approved_at__isnull=False), approved=False)

    def _approve(self, request: HttpRequest, queryset: QuerySet[Client], *, approved: bool) -> None:
        now = timezone.now()
        done = 0
        for client in list(queryset):
            with transaction.atomic():
                clients.approve(client, now, approved=approved)
                base.note(request, "approve client" if approved else "take back approval of client", client)
            done += 1
        counted = base.so_many(done, "client", "clients") or "nothing"
        told = "People who review their requests read that you know them" if approved else "They count as unverified again"
        self.message_user(request, f"{'Approved' if approved else 'No longer approved:'} {counted}. {told}.")

    @admin.action(description="Renew the secret")
    def renew_secret(self, request: HttpRequest, queryset: QuerySet[Client]) -> HttpResponse | None:
        with_secret = queryset.filter(secret_digest__isnull=False)
        if queryset.count() != 1 or not with_secret.exists():
            self.message_user(request, "Choose one client that has a secret: the new one is shown once.", level="WARNING")
            return None
        client = with_secret.get()
        if not base.asked_and_confirmed(request):
            return base.ask(
                self,
                request,
                queryset,
                action="renew_secret",
                question=f"Renew the secret of “{client}”?",
                consequences=("The old secret stops working at once; the client cannot refresh until it has the new one.",),
                button="Renew it",
            )
        secret = clients.renew_secret(client_id=client.client_id)
        base.note(request, "renew client secret", client)
        return base.show_once(
            self,
            request,
            title=f"“{client}” has a new secret",
            shown=[("Client id", client.client_id), ("Client secret", secret)],
            advice="It is shown this once. Put it into the client's settings now.",
        )
