"""Accounts, members and API keys."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.password_validation import validate_password
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from ovauth.admin import base
from ovauth.flows import accounts, revocation
from ovauth.models import AccessToken, Account, ApiKey, AuthorizationCode, Grant, Member, RefreshToken
from ovauth.roles import Role

NAME: dict[str, Any] = {"regex": rf"\A{accounts.NAME.pattern}\Z", "max_length": 64}
NAME_HELP = "Letters, digits, dot, hyphen, underscore and @, beginning with a letter or digit."
PASSWORD = forms.PasswordInput(attrs={"autocomplete": "new-password"})


@admin.register(Account)
class Accounts(base.Look):
    """They come with their first member."""

    list_display = ("name", "members", "created_at")
    search_fields = ("name",)
    fields = ("name", "created_at")
    ordering = ("name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Account]:
        return super().get_queryset(request).annotate(how_many=Count("members"))

    @admin.display(ordering="how_many")
    def members(self, account: Account) -> int:
        return account.how_many  # type: ignore[attr-defined]  # annotated above


class NewMemberForm(forms.ModelForm):
    account_name = forms.RegexField(label="Account", help_text="It is created where it is missing.", **NAME)
    name = forms.RegexField(help_text=NAME_HELP, **NAME)
    new_password = forms.CharField(
        label="Password", required=False, widget=PASSWORD, help_text="Without one there is an API key, and no signing in."
    )

    class Meta:
        model = Member
        fields = ("name", "role")

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        account, name = given.get("account_name"), given.get("name")
        if account and name and Member.objects.filter(account__name=account, name=name).exists():
            self.add_error("name", f"The account {account} has a user {name} already.")
        return given

    def clean_new_password(self) -> str:
        return _acceptable(self.cleaned_data["new_password"], Member(name=self.cleaned_data.get("name", "")))


class MemberForm(forms.ModelForm):
    new_password = forms.CharField(
        label="New password",
        required=False,
        widget=PASSWORD,
        help_text="Empty: it stays. A new one ends this user's sessions, and what was approved in them.",
    )

    class Meta:
        model = Member
        fields = ("role", "is_active")

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        stays_root = given.get("role", Role.ROOT) >= Role.ROOT and given.get("is_active", True)
        others = Member.objects.filter(role=Role.ROOT, is_active=True).exclude(pk=self.instance.pk)
        if not stays_root and not others.exists():
            self.add_error(None, "Somebody has to have the role root. Give it to another member first.")
        return given

    def clean_new_password(self) -> str:
        return _acceptable(self.cleaned_data["new_password"], self.instance)


def _acceptable(password: str, member: Member) -> str:
    if password:
        validate_password(password, member)
    return password


@admin.register(Member)
class Members(base.Page):
    list_display = ("sign_in_name", "account", "role", "is_active", "connections", "first_password", "created_at")
    list_select_related = ("account",)
    list_filter = ("role", "is_active", "account")
    search_fields = ("sign_in_name",)
    ordering = ("sign_in_name",)
    readonly_fields = ("sign_in_name", "created_at")
    actions = ("revoke_user_tokens", "rotate_api_key")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Member]:
        living = Count("grants", filter=Q(grants__revoked_at=None))
        return super().get_queryset(request).annotate(living=living)

    def get_form(self, request: HttpRequest, obj: Member | None = None, change: bool = False, **kwargs: Any) -> Any:
        kwargs["form"] = NewMemberForm if obj is None else MemberForm
        return super().get_form(request, obj, change=change, **kwargs)

    def get_fields(self, request: HttpRequest, obj: Member | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("account_name", "name", "role", "new_password")
        return ("sign_in_name", "role", "is_active", "new_password", "created_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Member | None = None) -> tuple[str, ...]:
        return () if obj is None else self.readonly_fields

    @admin.display(ordering="living", description="connections")
    def connections(self, member: Member) -> int:
        return member.living  # type: ignore[attr-defined]  # annotated above

    def save_model(self, request: HttpRequest, obj: Member, form: Any, change: bool) -> None:
        given = form.cleaned_data
        if not change:
            made = accounts.create_user(
                account=given["account_name"],
                name=given["name"],
                role=Role(given["role"]),
                password=given["new_password"] or None,
            )
            found = Member.objects.get(sign_in_name=made.sign_in_name)
            obj.pk, obj.account_id, obj.sign_in_name = found.pk, found.account_id, found.sign_in_name
            request.made = made  # type: ignore[attr-defined]  # for the answer, and no further
            base.note(request, "create user", obj)
            return
        before = Member.objects.select_related("account").get(pk=obj.pk)
        who = {"account": before.account.name, "name": before.name}
        accounts.change(**who, role=Role(given["role"]), is_active=given["is_active"])
        if given["new_password"]:
            accounts.set_password(**who, password=given["new_password"])
            if request.user.pk == obj.pk:
                # The session of whoever changes their own password goes on.
                update_session_auth_hash(request, Member.objects.get(pk=obj.pk))
        base.note(request, "change user", obj)

    def response_add(self, request: HttpRequest, obj: Member, post_url_continue: str | None = None) -> HttpResponse:
        made: accounts.NewMember = request.made  # type: ignore[attr-defined]
        return base.show_once(
            self,
            request,
            title=f"{made.sign_in_name} was created",
            shown=[("User name", made.sign_in_name), ("API key", made.api_key)],
            advice="The API key is shown this once. Give it to its owner now.",
        )

    @admin.action(description="Revoke every code, access and refresh token (revoke_user_tokens)")
    def revoke_user_tokens(self, request: HttpRequest, queryset: QuerySet[Member]) -> HttpResponse | None:
        if not base.asked_and_confirmed(request):
            held = {"grant__in": Grant.objects.filter(member__in=queryset.values("pk"), revoked_at=None)}
            living = held | {"expires_at__gt": timezone.now()}
            codes = AuthorizationCode.objects.filter(**living, consumed_at=None).count()
            access = AccessToken.objects.filter(**living, revoked_at=None).count()
            refresh = RefreshToken.objects.filter(**living, consumed_at=None).count()
            return base.ask(
                self,
                request,
                queryset,
                action="revoke_user_tokens",
                question="Revoke everything that the apps of these users hold?",
                consequences=(
                    base.so_many(codes, "authorization code", "authorization codes"),
                    base.so_many(access, "access token", "access tokens"),
                    base.so_many(refresh, "refresh token", "refresh tokens"),
                    "" if codes or access or refresh else "They hold nothing at this moment.",
                    "API keys and passwords go on working.",
                ),
                button="Revoke everything",
            )
        codes = access = refresh = 0
        for member in queryset.select_related("account"):
            ended = revocation.revoke_user_tokens(account=member.account.name, name=member.name)
            base.note(request, "revoke user tokens", member)
            codes += ended.authorization_codes
            access += ended.access_tokens
            refresh += ended.refresh_tokens
        self.message_user(
            request, f"Revoked: {codes} authorization codes, {access} access tokens, {refresh} refresh tokens."
        )
        return None

    @admin.action(description="Rotate the API key")
    def rotate_api_key(self, request: HttpRequest, queryset: QuerySet[Member]) -> HttpResponse | None:
        if queryset.count() != 1:
            self.message_user(
                request, "Choose one user: the new key is shown once, to be given to its owner.", level="WARNING"
            )
            return None
        member = queryset.select_related("account").get()
        if not base.asked_and_confirmed(request):
            bound = Grant.objects.filter(member=member, api_key__isnull=False, revoked_at=None).count()
            return base.ask(
                self,
                request,
                queryset,
                action="rotate_api_key",
                question=f"Rotate the API key of {member}?",
                consequences=(
                    "The old key stops working at once.",
                    base.so_many(bound, "connection that it authorized ends.", "connections that it authorized end."),
                ),
                button="Rotate it",
            )
        key, _ended = accounts.rotate_api_key(account=member.account.name, name=member.name)
        base.note(request, "rotate API key", member)
        return base.show_once(
            self,
            request,
            title=f"{member} has a new API key",
            shown=[("User name", member.sign_in_name), ("API key", key)],
            advice="It is shown this once. Give it to its owner now. The old one has stopped working.",
        )


@admin.register(ApiKey)
class ApiKeys(base.Look):
    list_display = ("key", "member", "state", "created_at", "last_used_at", "revoked_at")
    list_select_related = ("member",)
    list_filter = (
        base.choices(
            "state",
            "state",
            {
                "works": ("works", lambda: Q(revoked_at=None)),
                "revoked": ("revoked", lambda: Q(revoked_at__isnull=False)),
            },
        ),
        "member__account",
    )
    search_fields = ("member__sign_in_name", "=last_four")
    search_help_text = "user, or the last four characters of a key"
    fields = ("key", "member", "state", "created_at", "last_used_at", "revoked_at")
    actions = ("revoke",)

    @admin.display
    def key(self, key: ApiKey) -> str:
        return str(key)

    @admin.display
    def state(self, key: ApiKey) -> str:
        if key.revoked_at is not None:
            return "revoked"
        return "works" if key.member.is_active else "the user is deactivated"

    @admin.action(description="Revoke, with what they authorized")
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        if not base.asked_and_confirmed(request):
            working = queryset.filter(revoked_at=None)
            bound = Grant.objects.filter(api_key__in=working.values("pk"), revoked_at=None).count()
            return base.ask(
                self,
                request,
                queryset,
                action="revoke",
                question="Revoke these API keys?",
                consequences=(
                    base.so_many(working.count(), "key stops working", "keys stop working"),
                    base.so_many(bound, "connection that it authorized ends", "connections that they authorized end"),
                    "A new key comes from the action “Rotate the API key” of its owner.",
                ),
                button="Revoke them",
            )
        ended = 0
        for key in queryset.select_related(None).only("pk", "last_four"):
            if accounts.revoke_api_key(key_pk=key.pk) is not None:
                ended += 1
                base.note(request, "revoke API key", key)
        self.message_user(request, f"Revoked {base.so_many(ended, 'API key', 'API keys') or 'nothing'}.")
        return None
