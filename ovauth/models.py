"""The schema on one page.

    Account ─< Member ─< ApiKey
                  │  └─< OneTimePassword
                  └────< Grant >──── Client ─< PendingAuthorization
                          ├─< AuthorizationCode
                          ├─< AccessToken
                          └─< RefreshToken ── successor

`Grant` is the row of one approval: everything that it issued hangs on it, and whether a token lives is a question to the
token, its grant, the member and what authorized the grant. Spent rows stay until they expire, or a replay would look like
a typo. Fields and constraints only: what changes rows is in `ovauth.flows`.
"""

from datetime import datetime
from functools import cache
from typing import Any, ClassVar, TypeVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import DEFAULT_DB_ALIAS, models
from django.db.backends.ddl_references import Statement as Written
from django.db.backends.ddl_references import Table
from django.db.models import Q
from django.db.models.base import ModelState
from django.utils.translation import gettext_lazy as _

from ovauth import credentials
from ovauth.roles import Role
from ovauth.sql import Statement

Stored = TypeVar("Stored", bound=models.Model)

ROLES = [(role.value, role.label) for role in Role]


class Secrets(models.QuerySet[Any]):
    """Rows that are found by a secret, of which only the digest is stored."""

    def by_secret(self, plain: str) -> Any:
        """The row behind the secret, or None."""
        return self.filter(digest=credentials.digest(plain)).first()

    def consume(self, pk: int, now: datetime) -> bool:
        """True for exactly one caller, whatever the database and however many ask at once."""
        return _consumption(self.model._meta.db_table).run(id=pk, now=now) == 1


@cache
def _consumption(table: str) -> Statement:
    return Statement(f"UPDATE {table} SET consumed_at = :now WHERE id = :id AND consumed_at IS NULL")


def known(model: type[Stored], followed: dict[str, models.Model] | None = None, /, **columns: Any) -> Stored:
    """A stored row of which these columns are known, and the rows that these foreign keys lead to; whatever else is wanted
    of it is fetched when it is touched."""
    # What `Model.from_db` does, without asking every field and telling signals that nobody here hears.
    row = model.__new__(model)
    row._state = ModelState()
    row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS
    if followed:
        # Where Django keeps what it has followed; its own assignment asks a router and compares every key.
        row._state.fields_cache = followed
    row.__dict__.update(columns)
    return row


class CaselessPrefix(models.Index):
    """Lets `istartswith` find by the index on both databases, each of which wants it said in its own way."""

    def create_sql(self, model: type[models.Model], schema_editor: Any, using: str = "", **kwargs: Any) -> Written:
        name, column = map(schema_editor.quote_name, (self.name, self.fields[0]))
        # As an object and not by name: where Django makes a table of SQLite anew, it has another name for a while.
        table = Table(model._meta.db_table, schema_editor.quote_name)
        by = f"{column} COLLATE NOCASE"
        if schema_editor.connection.vendor == "postgresql":
            by = f"UPPER({column}::text) text_pattern_ops"
        return Written("CREATE INDEX %(name)s ON %(table)s (%(by)s)", name=name, table=table, by=by)


class Digest(models.BinaryField):
    """The 32 bytes that are stored of a secret; two rows never share one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"max_length": 32, "unique": True, "editable": False} | options)


class RowNumber(models.BigAutoField):
    """A primary key whose number is given again when the row that had the highest is gone.

    For rows that are many, and that nobody names for longer than they live. Other keys are never given twice, for which
    SQLite keeps the highest of each table in a table of its own: read and written again at every insertion.
    """

    def db_type_suffix(self, connection: Any) -> str | None:
        return None if connection.vendor == "sqlite" else super().db_type_suffix(connection)


# ------------------------------------------------------------------ who


class Account(models.Model):
    """A tenant: its members see each other, and nobody else's."""

    name = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField()

    class Meta:
        verbose_name, verbose_name_plural = _("account"), _("accounts")

    def __str__(self) -> str:
        return self.name


class Members(BaseUserManager):
    def get_queryset(self) -> Any:
        """With their account in the same statement: hardly anybody looks at a member without asking whose."""
        return super().get_queryset().select_related("account")

    def get_by_natural_key(self, username: str | None) -> Any:
        """`account/name`, or the name alone where only one account has it (sign-in; Django's own commands)."""
        try:
            return self.get(**{"sign_in_name" if "/" in (username or "") else "name": username})
        except Member.MultipleObjectsReturned:
            raise Member.DoesNotExist(f"several accounts have a user {username}") from None


class Member(AbstractBaseUser):
    """A user in an account, with a role. Django's user model: the console and the admin sign it in."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="members")
    name = models.CharField(max_length=64)
    sign_in_name = models.CharField(max_length=129, unique=True, editable=False)
    role = models.PositiveSmallIntegerField(choices=ROLES, default=Role.USER)
    is_active = models.BooleanField(default=True)
    password_epoch = models.PositiveIntegerField(
        default=0,
        editable=False,
        help_text="Counts password changes: what an older password approved is over.",
    )
    first_password = models.BooleanField(
        default=False, editable=False, help_text="The password is still the one that ovauth made up."
    )
    created_at = models.DateTimeField()

    objects = Members()

    USERNAME_FIELD = "sign_in_name"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        verbose_name, verbose_name_plural = _("user"), _("users")
        constraints = [models.UniqueConstraint(fields=["account", "name"], name="member_once_per_account")]
        indexes = [CaselessPrefix(fields=["sign_in_name"], name="member_search")]

    def __str__(self) -> str:
        return self.sign_in_name

    def set_password(self, raw_password: str | None) -> None:
        """Every change of the password passes here, Django's own commands included. Django's silent upgrade of an old
        hash saves the password field alone, so it does not count as a change."""
        super().set_password(raw_password)
        self.password_epoch += 1
        self.first_password = False

    @property
    def is_staff(self) -> bool:
        """The admin sees every account, so it is for role root."""
        return self.is_active and self.role >= Role.ROOT

    is_superuser = is_staff

    @property
    def is_administrator(self) -> bool:
        """Whether they see and end what others of the account have connected."""
        return self.role >= Role.ADMIN

    def has_perm(self, perm: str, obj: Any = None) -> bool:
        return self.is_staff

    def has_perms(self, perm_list: Any, obj: Any = None) -> bool:
        return self.is_staff

    def has_module_perms(self, app_label: str) -> bool:
        return self.is_staff


class ApiKey(models.Model):
    member = models.ForeignKey(Member, on_delete=models.CASCADE, related_name="api_keys")
    digest = Digest()
    last_four = models.CharField(max_length=4)
    created_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    objects = Secrets.as_manager()

    class Meta:
        verbose_name, verbose_name_plural = _("API key"), _("API keys")

    def __str__(self) -> str:
        return f"{credentials.Kind.API_KEY}…{self.last_four}"


class OneTimePassword(models.Model):
    """Stands for its owner on one code page, once. Its authority is that of the key or session that asked for it."""

    member = models.ForeignKey(Member, on_delete=models.CASCADE)
    digest = Digest()
    api_key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, null=True)
    password_epoch = models.PositiveIntegerField(null=True)
    expires_at = models.DateTimeField(db_index=True)
    consumed_at = models.DateTimeField(null=True)

    objects = Secrets.as_manager()

    def __str__(self) -> str:
        return f"of {self.member}"


# ------------------------------------------------------------------ what asks


class ClientOrigin(models.TextChoices):
    REGISTERED = "registered", "registered itself"
    MANUAL = "manual", "made by an operator"
    DOCUMENT = "document", "described by its own document"


class Client(models.Model):
    """An OAuth client. `metadata` holds the optional RFC 7591 members that it sent."""

    client_id = models.CharField(max_length=255, unique=True)
    origin = models.CharField(max_length=12, choices=ClientOrigin, default=ClientOrigin.MANUAL, editable=False)
    name = models.CharField(max_length=200, blank=True)
    redirect_uris = models.JSONField(default=list)
    grant_types = models.JSONField(default=list)
    response_types = models.JSONField(default=list)
    token_endpoint_auth_method = models.CharField(max_length=32)
    application_type = models.CharField(max_length=8)
    scope = models.TextField(blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    secret_digest = models.BinaryField(max_length=32, null=True, editable=False)
    registration_digest = models.BinaryField(max_length=32, null=True, editable=False)
    acts_as = models.ForeignKey(
        Member,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        db_index=False,
        help_text="As whom the client acts by itself (client_credentials): account and role are this member's.",
    )
    access_token_ttl = models.PositiveIntegerField(null=True, blank=True, help_text="Seconds; empty for the default.")
    likeness = models.CharField(
        max_length=16,
        default="",
        db_default="",
        blank=True,
        editable=False,
        help_text="The same for every client that an installation of one app registered.",
    )
    created_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, editable=False)
    blocked_at = models.DateTimeField(null=True, editable=False)
    approved_at = models.DateTimeField(null=True, editable=False, help_text="Since when the operator knows this client.")
    document_read_at = models.DateTimeField(null=True, editable=False, help_text="When its document was last good.")
    document_due_at = models.DateTimeField(null=True, editable=False, help_text="When its document is to be read again.")
    document_fault = models.CharField(max_length=300, blank=True, editable=False, help_text="Why its document ended it.")

    class Meta:
        verbose_name, verbose_name_plural = _("client"), _("clients")
        indexes = [
            models.Index(fields=["origin", "last_used_at", "created_at"], name="client_reaping"),
            CaselessPrefix(fields=["name"], name="client_search"),
            # "As many others are like this one": counted by the index alone.
            models.Index(fields=["likeness"], name="client_likeness", condition=~Q(likeness="")),
            models.Index(fields=["acts_as"], name="client_acts_as", condition=Q(acts_as__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.name or self.client_id


# ------------------------------------------------------------------ what was approved


class Grant(models.Model):
    """One approval: this client may act as this member, with the role that the member had then.

    One thing authorized it: an API key, or a console session opened with the password of that epoch, or neither of them
    but the operator, who bound the client to the member (client_credentials).
    """

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="grants")
    member = models.ForeignKey(Member, on_delete=models.CASCADE, related_name="grants")
    role = models.PositiveSmallIntegerField(choices=ROLES)
    scope = models.TextField()
    resource = models.TextField()
    redirect_uri = models.TextField(blank=True)
    asked_from_ip = models.CharField(max_length=45, blank=True, default="", db_default="")
    asked_by = models.CharField(
        max_length=300, blank=True, default="", db_default="", help_text="The User-Agent of whoever asked to connect."
    )
    browser_digest = models.BinaryField(
        max_length=32,
        null=True,
        editable=False,
        help_text="The browser that began: it tells installations of one app apart.",
    )
    api_key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, null=True, related_name="grants")
    password_epoch = models.PositiveIntegerField(null=True)
    created_at = models.DateTimeField()
    connected_at = models.DateTimeField(null=True, help_text="When the first token was issued.")
    last_used_at = models.DateTimeField(null=True)
    last_used_ip = models.CharField(max_length=45, blank=True)
    revoked_at = models.DateTimeField(null=True)
    revoked_because = models.CharField(max_length=60, blank=True)
    refused_at = models.DateTimeField(null=True, help_text="When one of its tokens was last used in vain, after its end.")

    class Meta:
        verbose_name, verbose_name_plural = _("connection"), _("connections")
        constraints = [
            models.CheckConstraint(condition=Q(api_key=None) | Q(password_epoch=None), name="grant_authorized_by_one_thing")
        ]

    def __str__(self) -> str:
        return f"{self.client} for {self.member}"

    def why_dead(self) -> str | None:
        """Why nothing may be issued under this grant now, or None. `ovauth.bearer` asks the same in SQL.

        Wants `client`, `member` and `api_key` selected along.
        """
        if self.revoked_at is not None:
            return "the grant was revoked"
        if self.client.blocked_at is not None:
            return "the client is blocked"
        if not self.member.is_active:
            return "the user is deactivated"
        if self.member.role < self.role:
            return "the user's role dropped below that of the approval"
        if self.api_key is not None:
            return "the API key that authorized it is gone" if self.api_key.revoked_at else None
        if self.password_epoch is None:
            return None if self.client.acts_as_id == self.member_id else "the client is no longer bound to this user"
        return None if self.password_epoch == self.member.password_epoch else "the password changed since the approval"


class BlockedClient(models.Model):
    """Somebody did not start what this client asked: nothing is approved for it, by that member or by the whole account."""

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="blocks")
    account = models.ForeignKey(Account, on_delete=models.CASCADE)
    member = models.ForeignKey(Member, on_delete=models.CASCADE, null=True, help_text="Empty: everybody of the account.")
    created_at = models.DateTimeField()

    class Meta:
        verbose_name, verbose_name_plural = _("app blocked by people"), _("apps blocked by people")
        constraints = [
            models.UniqueConstraint(
                fields=["client", "account"], condition=Q(member=None), name="blocked_once_per_account"
            ),
            models.UniqueConstraint(fields=["client", "member"], name="blocked_once_per_member"),
        ]

    def __str__(self) -> str:
        return f"{self.client} for {self.member or self.account}"


class PendingAuthorization(models.Model):
    """A request that waits for a person, and then for the browser that began it to fetch the result."""

    class Decision(models.TextChoices):
        NONE = "", "waiting"
        APPROVED = "approved"
        DENIED = "denied"

    class Kind(models.TextChoices):
        BROWSER = "browser", "a browser, OAuth 2.1 §4.1"
        DEVICE = "device", "a device, RFC 8628"

    public_id = models.CharField(max_length=32, unique=True)
    kind = models.CharField(max_length=7, choices=Kind, default=Kind.BROWSER)
    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="pending")
    redirect_uri = models.TextField(blank=True)
    state = models.TextField(blank=True)
    scope = models.TextField()
    resource = models.TextField()
    code_challenge = models.CharField(max_length=43, blank=True)
    browser_digest = models.BinaryField(max_length=32, null=True, editable=False)
    device_digest = Digest(null=True)
    device_interval = models.PositiveSmallIntegerField(default=5, help_text="Seconds between two polls of a device.")
    device_polled_at = models.DateTimeField(null=True)
    code_digest = Digest()
    code_attempt = models.PositiveSmallIntegerField()
    ip = models.CharField(max_length=45, blank=True)
    user_agent = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)
    decision = models.CharField(max_length=8, choices=Decision, default=Decision.NONE, blank=True)
    decided_at = models.DateTimeField(null=True)
    one_time_password = models.ForeignKey(OneTimePassword, on_delete=models.SET_NULL, null=True)
    grant = models.ForeignKey(Grant, on_delete=models.CASCADE, null=True)

    class Meta:
        verbose_name, verbose_name_plural = _("pending request"), _("pending requests")

    def __str__(self) -> str:
        return f"{self.client} since {self.created_at:%H:%M}"


class PushedRequest(models.Model):
    """The parameters of an authorization request that the client sent ahead (RFC 9126), for one use."""

    digest = Digest()
    client = models.ForeignKey(Client, on_delete=models.CASCADE)
    query = models.TextField(editable=False)
    expires_at = models.DateTimeField(db_index=True)
    consumed_at = models.DateTimeField(null=True)

    objects = Secrets.as_manager()

    def __str__(self) -> str:
        return f"of {self.client}"


class UsedAssertion(models.Model):
    """The `jti` of a client assertion that was accepted (RFC 7523 §3): it is not accepted again."""

    digest = Digest()
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{bytes(self.digest).hex()[:8]}…"


# ------------------------------------------------------------------ what was issued


class AuthorizationCode(models.Model):
    """`sealed` is the code itself, closed under the secret of the browser that may receive it: so the same redirect can
    be given again after a reload, and the database alone opens nothing."""

    digest = Digest()
    grant = models.ForeignKey(Grant, on_delete=models.CASCADE)
    pending = models.OneToOneField(PendingAuthorization, on_delete=models.CASCADE, null=True, related_name="code")
    redirect_uri = models.TextField()
    code_challenge = models.CharField(max_length=43)
    sealed = models.BinaryField(editable=False)
    expires_at = models.DateTimeField(db_index=True)
    consumed_at = models.DateTimeField(null=True)

    objects = Secrets.as_manager()

    class Meta:
        verbose_name, verbose_name_plural = _("authorization code"), _("authorization codes")

    def __str__(self) -> str:
        return f"{bytes(self.digest).hex()[:8]}…"


class AccessToken(models.Model):
    id = RowNumber("ID", primary_key=True)
    digest = Digest()
    grant = models.ForeignKey(Grant, on_delete=models.CASCADE, related_name="access_tokens")
    scope = models.TextField()
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)
    revoked_at = models.DateTimeField(null=True)

    objects = Secrets.as_manager()

    class Meta:
        verbose_name, verbose_name_plural = _("access token"), _("access tokens")

    def __str__(self) -> str:
        return f"{bytes(self.digest).hex()[:8]}…"


class RefreshToken(models.Model):
    """`sealed_successor` is the token that replaced this one, closed under this one in clear: a client that lost the
    answer gets the same successor again, and a reader of the database gets nothing."""

    id = RowNumber("ID", primary_key=True)
    digest = Digest()
    grant = models.ForeignKey(Grant, on_delete=models.CASCADE, related_name="refresh_tokens")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)
    consumed_at = models.DateTimeField(null=True)
    successor = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, related_name="+", db_index=False)
    sealed_successor = models.BinaryField(null=True, editable=False)

    objects = Secrets.as_manager()

    class Meta:
        verbose_name, verbose_name_plural = _("refresh token"), _("refresh tokens")
        # Of the used ones alone: a new token has no successor, and is in no index for saying so.
        indexes = [models.Index(fields=["successor"], name="refresh_successor", condition=Q(successor__isnull=False))]

    def __str__(self) -> str:
        return f"{bytes(self.digest).hex()[:8]}…"


# ------------------------------------------------------------------ what was noted


class Tally(models.Model):
    """How often something failed within a window; shared by every process and machine."""

    id = RowNumber("ID", primary_key=True)
    key = models.CharField(max_length=150, unique=True)
    count = models.PositiveIntegerField()
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name, verbose_name_plural = _("rate limit"), _("rate limits")

    def __str__(self) -> str:
        return f"{self.key}: {self.count}"


class AuditEvent(models.Model):
    """What happened, who did it, to whom. Append-only; names are copied, so deleting a row elsewhere keeps the story.

    What came later has its default in the database too: an older program that still serves beside a newer one can write.
    """

    id = RowNumber("ID", primary_key=True)
    at = models.DateTimeField(db_index=True)
    event = models.CharField(max_length=40)
    actor_kind = models.CharField(max_length=12, blank=True, db_default="", help_text="Through what the actor acted.")
    actor = models.CharField(max_length=129, blank=True)
    account = models.CharField(max_length=64, blank=True)
    client_id = models.CharField(max_length=255, blank=True)
    grant_id = models.BigIntegerField(null=True)
    ip = models.CharField(max_length=45, blank=True)
    browser = models.CharField(max_length=40, blank=True, db_default="")
    outcome = models.CharField(max_length=7, blank=True, db_default="")
    reason = models.CharField(max_length=200, blank=True, db_default="")
    request_id = models.CharField(max_length=64, blank=True)
    credential = models.CharField(
        max_length=8, blank=True, db_default="", help_text="The first eight characters of the hash of the credential."
    )
    detail = models.JSONField(default=dict)

    class Meta:
        verbose_name, verbose_name_plural = _("audit event"), _("audit events")

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.event}"


class Lease(models.Model):
    """Whose turn it is to keep house: one worker of all machines at a time, and none before it is due."""

    name = models.CharField(max_length=40, unique=True)
    holder = models.CharField(max_length=64, blank=True)
    expires_at = models.DateTimeField()
    due_at = models.DateTimeField()
    done_at = models.DateTimeField(null=True, help_text="When the work was last done to its end.")

    def __str__(self) -> str:
        return f"{self.name}: {self.holder or 'nobody'}"


class DatabaseMark(models.Model):
    """One row: where this database is at home, and with which key its nodes sign.

    A copy is at home elsewhere, and may hold what was revoked since. The key itself cannot be told from its digest.
    """

    home = models.CharField(max_length=100)
    key_digest = models.BinaryField(max_length=32, null=True, editable=False)

    def __str__(self) -> str:
        return self.home
