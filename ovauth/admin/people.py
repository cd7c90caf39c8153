"""Accounts, members and API keys."""

from typing import Any, ClassVar, Final

from django import forms
from django.contrib import admin
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.password_validation import validate_password
from django.db.models import OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from ovauth.admin import base, narrowing
from ovauth.admin.words import said
from ovauth.errors import Conflict
from ovauth.flows import accounts, revocation
from ovauth.models import AccessToken, Account, ApiKey, AuthorizationCode, Grant, Member, RefreshToken
from ovauth.roles import Role

NAME: dict[str, Any] = {"regex": rf"\A{accounts.NAME.pattern}\Z", "max_length": 64}
NAME_HELP = _("Letters, digits, dot, hyphen, underscore and @, beginning with a letter or digit.")
PASSWORD = forms.PasswordInput(attrs={"autocomplete": "new-password"})
AUTHORIZED_BY_IT = ngettext_lazy(
    "%(number)s connection that it authorized ends", "%(number)s connections that it authorized end", "number"
)


@admin.register(Account)
class Accounts(base.Look):
    """They come with their first member."""

    list_display = ("name", "members", base.column("created_at", _("created")))
    search_fields = ("name__startswith",)
    search_help_text = _("How its name begins.")
    fields: ClassVar[Any] = (base.column("name", _("name")), "members", base.column("created_at", _("created")))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Account]:
        members = base.CountOf(Member.objects.filter(account=OuterRef("pk")))
        return super().get_queryset(request).annotate(how_many=members)

    @admin.display(description=_("users"))
    def members(self, account: Account) -> str:
        return base.up_to(account.how_many)  # type: ignore[attr-defined]  # annotated above


class NewMemberForm(forms.ModelForm):
    account_name = forms.RegexField(label=_("Account"), help_text=_("It is created where it is missing."), **NAME)
    name = forms.RegexField(label=_("Name"), help_text=NAME_HELP, **NAME)
    new_password = forms.CharField(
        label=_("Password"),
        required=False,
        widget=PASSWORD,
        help_text=_("Without one there is an API key, and no signing in."),
    )

    class Meta:
        model = Member
        fields = ("name", "role")

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        account, name = given.get("account_name"), given.get("name")
        if account and name and Member.objects.filter(account__name=account, name=name).exists():
            self.add_error(
                "name", _("The account %(account)s has a user %(name)s already.") % {"account": account, "name": name}
            )
        return given

    def clean_new_password(self) -> str:
        return _acceptable(self.cleaned_data["new_password"], Member(name=self.cleaned_data.get("name", "")))


class MemberForm(forms.ModelForm):
    new_password = forms.CharField(
        label=_("New password"),
        required=False,
        widget=PASSWORD,
        help_text=_("Empty: it stays. A new one ends this user's sessions, and what was approved in them."),
    )

    class Meta:
        model = Member
        fields = ("role", "is_active")

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        stays_root = given.get("role", Role.ROOT) >= Role.ROOT and given.get("is_active", True)
        others = Member.objects.filter(role=Role.ROOT, is_active=True).exclude(pk=self.instance.pk)
        if not stays_root and not others.exists():
            self.add_error(None, _("Somebody has to have the role root. Give it to another user first."))
        return given

    def clean_new_password(self) -> str:
        return _acceptable(self.cleaned_data["new_password"], self.instance)


def _acceptable(password: str, member: Member) -> str:
    if password:
        validate_password(password, member)
    return password


CREATED: Final = base.column("created_at", _("created"))


@admin.register(Member)
class Members(base.Page):
    list_display = (
        base.column("sign_in_name", _("user")),
        base.column("get_role_display", _("role"), lambda label: said(label())),
        "signs_in",
        "connections",
        CREATED,
    )
    list_filter = (
        base.choices(
            "role",
            _("role"),
            {role.label: (_(role.label), lambda role=role: Q(role=role)) for role in Role},  # type: ignore[misc]
        ),
        base.choices(
            "state",
            _("state"),
            {
                "active": (_("active"), lambda: Q(is_active=True)),
                "deactivated": (_("deactivated"), lambda: Q(is_active=False)),
                "first": (_("has the first password"), lambda: Q(first_password=True)),
            },
        ),
        narrowing.by_account(""),
    )
    search_fields = ("sign_in_name__istartswith", "=name")
    search_help_text = _("account/name or the beginning of it, or the name alone")
    readonly_fields = ("user", CREATED)
    actions = ("revoke_user_tokens", "rotate_api_key")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Member]:
        living = base.CountOf(Grant.objects.filter(member=OuterRef("pk"), revoked_at=None))
        return super().get_queryset(request).annotate(living=living)

    def get_form(self, request: HttpRequest, obj: Member | None = None, change: bool = False, **kwargs: Any) -> Any:
        kwargs["form"] = NewMemberForm if obj is None else MemberForm
        return super().get_form(request, obj, change=change, **kwargs)

    def get_fields(self, request: HttpRequest, obj: Member | None = None) -> tuple[Any, ...]:
        if obj is None:
            return ("account_name", "name", "role", "new_password")
        return ("user", "role", "is_active", "new_password", CREATED)

    def get_readonly_fields(self, request: HttpRequest, obj: Member | None = None) -> tuple[Any, ...]:
        return () if obj is None else self.readonly_fields

    @admin.display(description=_("user"))
    def user(self, member: Member) -> str:
        return member.sign_in_name

    @admin.display(description=_("connections"))
    def connections(self, member: Member) -> str:
        return base.up_to(member.living)  # type: ignore[attr-defined]  # annotated above

    @admin.display(description=_("state"))
    def signs_in(self, member: Member) -> str:
        if not member.is_active:
            return str(_("deactivated"))
        return str(_("has the first password") if member.first_password else _("active"))

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
            title=_("%(user)s was created") % {"user": made.sign_in_name},
            shown=[(_("User name"), made.sign_in_name), (_("API key"), made.api_key)],
            advice=_("The API key is shown this once. Give it to its owner now."),
        )

    @admin.action(description=_("Revoke every code, access and refresh token (revoke_user_tokens)"))
    def revoke_user_tokens(self, request: HttpRequest, queryset: QuerySet[Member]) -> HttpResponse | None:
        if not base.asked_and_confirmed(request):
            held = {"grant__in": Grant.objects.filter(member__in=queryset.order_by().values("pk"), revoked_at=None)}
            living = held | {"expires_at__gt": timezone.now()}
            codes = base.count(AuthorizationCode.objects.filter(**living, consumed_at=None))
            access = base.count(AccessToken.objects.filter(**living, revoked_at=None))
            refresh = base.count(RefreshToken.objects.filter(**living, consumed_at=None))
            return base.ask(
                self,
                request,
                queryset,
                action="revoke_user_tokens",
                question=_("Revoke everything that the apps of these users hold?"),
                consequences=(
                    base.so_many(codes, base.CODES),
                    base.so_many(access, base.ACCESS_TOKENS),
                    base.so_many(refresh, base.REFRESH_TOKENS),
                    "" if codes or access or refresh else _("They hold nothing at this moment."),
                    _("API keys and passwords go on working."),
                ),
                button=_("Revoke everything"),
            )
        codes = access = refresh = 0
        for member in queryset.select_related("account"):
            ended = revocation.revoke_user_tokens(account=member.account.name, name=member.name)
            base.note(request, "revoke user tokens", member)
            codes += ended.authorization_codes
            access += ended.access_tokens
            refresh += ended.refresh_tokens
        counted = (
            base.so_many(codes, base.CODES),
            base.so_many(access, base.ACCESS_TOKENS),
            base.so_many(refresh, base.REFRESH_TOKENS),
        )
        listed = ", ".join(filter(None, counted)) or base.NOTHING
        self.message_user(request, _("Revoked: %(count)s.") % {"count": listed})
        return None

    @admin.action(description=_("Rotate the API key"))
    def rotate_api_key(self, request: HttpRequest, queryset: QuerySet[Member]) -> HttpResponse | None:
        if queryset.count() != 1:
            self.message_user(
                request, _("Choose one user: the new key is shown once, to be given to its owner."), level="WARNING"
            )
            return None
        member = queryset.select_related("account").get()
        if not base.asked_and_confirmed(request):
            bound = base.count(Grant.objects.filter(member=member, api_key__isnull=False, revoked_at=None))
            newest = ApiKey.objects.filter(member=member, revoked_at=None).order_by("-pk").only("pk").first()
            return base.ask(
                self,
                request,
                queryset,
                action="rotate_api_key",
                question=_("Rotate the API key of %(user)s?") % {"user": member},
                consequences=(
                    _("The old key no longer works, from that moment on."),
                    base.so_many(bound, AUTHORIZED_BY_IT),
                ),
                button=_("Rotate it"),
                known=f"after {newest.pk if newest else 0}",
            )
        after = (base.known(request) or "").removeprefix("after ")
        try:
            key, _ended = accounts.rotate_api_key(
                account=member.account.name, name=member.name, after=int(after) if after.isdecimal() else None
            )
        except Conflict as again:
            self.message_user(request, _(again.description), level="WARNING")
            return None
        base.note(request, "rotate API key", member)
        return base.show_once(
            self,
            request,
            title=_("%(user)s has a new API key") % {"user": member},
            shown=[(_("User name"), member.sign_in_name), (_("API key"), key)],
            advice=_("It is shown this once. Give it to its owner now. The old one has stopped working."),
        )


@admin.register(ApiKey)
class ApiKeys(base.Look):
    list_display = (
        "key",
        base.member,
        "state",
        base.column("created_at", _("created")),
        base.column("last_used_at", _("last used")),
        base.column("revoked_at", _("revoked")),
    )
    list_select_related = ("member",)
    list_filter = (
        base.choices(
            "state",
            _("state"),
            {
                "works": (_("works"), lambda: Q(revoked_at=None)),
                "revoked": (_("revoked"), lambda: Q(revoked_at__isnull=False)),
            },
        ),
        narrowing.by_account("member__"),
    )
    search_fields = ("member__sign_in_name__istartswith", "=member__name", "=last_four")
    search_help_text = _("A user, or the last four characters of a key.")
    fields: ClassVar[Any] = (
        "key",
        base.member,
        "state",
        "bound",
        base.column("created_at", _("created")),
        base.column("last_used_at", _("last used")),
        base.column("revoked_at", _("revoked")),
    )
    actions = ("revoke",)

    @admin.display(description=_("API key"))
    def key(self, key: ApiKey) -> str:
        return str(key)

    @admin.display(description=_("connections that it authorized"))
    def bound(self, key: ApiKey) -> str:
        return base.so_many(base.count(key.grants.filter(revoked_at=None)), base.CONNECTIONS)

    @admin.display(description=_("state"))
    def state(self, key: ApiKey) -> str:
        if key.revoked_at is not None:
            return said("revoked")
        return said("works" if key.member.is_active else "the user is deactivated")

    @admin.action(description=_("Revoke, with what they authorized"))
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        if not base.asked_and_confirmed(request):
            working = queryset.filter(revoked_at=None)
            bound = Grant.objects.filter(api_key__in=working.order_by().values("pk"), revoked_at=None)
            return base.ask(
                self,
                request,
                queryset,
                action="revoke",
                question=_("Revoke these API keys?"),
                consequences=(
                    base.so_many(
                        base.count(working),
                        ngettext_lazy("%(number)s key stops working", "%(number)s keys stop working", "number"),
                    ),
                    base.so_many(base.count(bound), AUTHORIZED_BY_IT),
                    _("A new key comes from the action “Rotate the API key” of its owner."),
                ),
                button=_("Revoke them"),
            )
        ended = 0
        for key in queryset.select_related(None).only("pk", "last_four"):
            if accounts.revoke_api_key(key_pk=key.pk) is not None:
                ended += 1
                base.note(request, "revoke API key", key)
        counted = base.so_many(ended, ngettext_lazy("%(number)s API key", "%(number)s API keys", "number"))
        self.message_user(request, _("Revoked: %(count)s.") % {"count": counted or base.NOTHING})
        return None
