"""The life of tokens, as Hypothesis lives it, against a model in plain Python: what the model says is dead is dead at the
next request, and what it says lives, lives.

After every step every access token goes through `bearer` (SQL) and `Grant.why_dead` (Python), which must agree with the
model and so with each other; every code and refresh token is peeked at, and every API key is tried.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test

from ovauth import bearer
from ovauth.errors import Forbidden, InvalidGrant, InvalidScope, InvalidToken, UntrustedRedirect
from ovauth.flows import accounts, authorization_code, clients, garbage, refresh_token, revocation
from ovauth.flows.authority import Authority
from ovauth.models import AccessToken, ApiKey, Client, Member
from ovauth.roles import Role
from tests.conftest import CALLBACK, ISSUER, RESOURCE, approved, person, redeemed, works

SETTINGS = settings(
    max_examples=40,
    stateful_step_count=40,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
START = "2026-11-24 10:00:00"
CODE, ACCESS, REFRESH, GRACE = (timedelta(seconds=seconds) for seconds in (300, 3600, 2_592_000, 60))
SPANS = [1, 59, 60, 61, 299, 300, 3599, 3600, 86_400, 2_592_000 - 3600, 2_592_000]

# ------------------------------------------------------------------ the model


@dataclass(eq=False)
class Someone:
    name: str
    role: Role
    keys: list[str]
    is_active: bool = True
    password_changes: int = 0


@dataclass(eq=False)
class App:
    client: Client
    is_blocked: bool = False
    is_deleted: bool = False

    @property
    def is_good(self) -> bool:
        return not self.is_blocked and not self.is_deleted


@dataclass(eq=False)
class Approval:
    app: App
    member: Someone
    role: Role
    scope: str
    key: str | None  # the API key that authorized it; None: a session, with the password of that time
    password_changes: int
    is_revoked: bool = False

    @property
    def stands(self) -> bool:
        return (
            not self.is_revoked
            and self.app.is_good
            and self.member.is_active
            and self.member.role >= self.role
            and (
                self.key == self.member.keys[-1]
                if self.key
                else self.password_changes == self.member.password_changes
            )
        )


@dataclass(eq=False)
class Code:
    plain: str
    approval: Approval
    expires_at: datetime
    is_used: bool = False


@dataclass(eq=False)
class Access:
    plain: str
    approval: Approval
    scope: str
    expires_at: datetime
    is_revoked: bool = False


@dataclass(eq=False)
class Refresh:
    plain: str
    approval: Approval
    expires_at: datetime
    used_at: datetime | None = None
    successor: "Refresh | None" = None
    is_collected: bool = False
    accesses: list[Access] = field(default_factory=list)
    """The access tokens that came with it."""


# ------------------------------------------------------------------ the machine

who = st.integers(0, 1)
ways = st.sampled_from(["flow", "table"])
"""How a member changes: by the flow, which ends things for good, or in the table, so that the queries have to notice."""


class TokenLife(RuleBasedStateMachine):
    codes = Bundle("codes")
    refreshes = Bundle("refreshes")

    replay_reaches: str
    time: FrozenDateTimeFactory

    def __init__(self) -> None:
        super().__init__()
        self.time.move_to(START)
        self.everything = transaction.atomic()
        self.everything.__enter__()
        made = [person("acme", "alice", Role.ADMIN), person("acme", "bob", Role.USER)]
        person("default", "operator", Role.ROOT)  # somebody has to be
        self.members = [Someone(one.member.name, Role(one.member.role), [one.api_key]) for one in made]
        self.apps = [self._app(name) for name in ("One", "Two")]
        self.approvals: list[Approval] = []
        self.all_codes: list[Code] = []
        self.all_accesses: list[Access] = []
        self.all_refreshes: list[Refresh] = []

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.everything.__exit__(None, None, None)

    # -------------------------------------------------------------- issue

    @rule(target=codes, app=who, member=who, by=st.sampled_from(["key", "session"]), scope=st.sampled_from(["mcp", "mcp fs"]))
    def approve(self, app: int, member: int, by: str, scope: str) -> Any:
        to, someone = self.apps[app], self.members[member]
        fresh = Member.objects.get(name=someone.name)
        if by == "key":
            authority = Authority(fresh.pk, api_key_pk=ApiKey.objects.by_secret(someone.keys[-1]).pk)
        else:
            authority = Authority(fresh.pk, password_epoch=fresh.password_epoch)
        if not to.is_good:
            with pytest.raises(UntrustedRedirect):
                approved(to.client, authority, scope=scope)
            return multiple()
        if not someone.is_active:
            with pytest.raises(Forbidden):
                approved(to.client, authority, scope=scope)
            return multiple()
        plain = approved(to.client, authority, scope=scope)
        key = someone.keys[-1] if by == "key" else None
        approval = Approval(to, someone, someone.role, scope, key, someone.password_changes)
        code = Code(plain, approval, timezone.now() + CODE)
        self.approvals.append(approval)
        self.all_codes.append(code)
        return code

    @rule(target=refreshes, code=codes)
    def redeem(self, code: Code) -> Any:
        approval = code.approval
        lives = approval.stands and timezone.now() < code.expires_at
        if lives and not code.is_used:
            pair = redeemed(approval.app.client, code.plain)
            code.is_used = True
            return self._got(approval, pair)
        with pytest.raises(InvalidGrant):
            redeemed(approval.app.client, code.plain)
        if lives:
            approval.is_revoked = True  # a second use ends what the first one issued
        return multiple()

    @rule(code=codes)
    def a_stranger_redeems(self, code: Code) -> None:
        with pytest.raises(InvalidGrant):
            redeemed(self._other(code.approval.app), code.plain)

    @rule(code=codes)
    def redeem_with_a_wrong_verifier(self, code: Code) -> None:
        with pytest.raises(InvalidGrant):
            redeemed(code.approval.app.client, code.plain, code_verifier="x" * 43)

    # -------------------------------------------------------------- refresh, retry, replay

    @rule(target=refreshes, token=refreshes, narrowed=st.booleans())
    def refresh(self, token: Refresh, narrowed: bool) -> Any:
        approval, now = token.approval, timezone.now()
        scope = "mcp" if narrowed else None
        if not approval.stands or token.expires_at <= now:
            with pytest.raises(InvalidGrant):
                self._rotate(token, scope)
            return multiple()
        if token.used_at is None:
            pair = self._rotate(token, scope)
            token.used_at = now
            token.successor = self._got(approval, pair)
            return token.successor
        assert token.successor is not None
        if token.successor.used_at is None or now < token.used_at + GRACE:
            pair = self._rotate(token, scope)
            assert pair.refresh_token == token.successor.plain
            token.successor.accesses.append(self._access(approval, pair))
            return multiple()
        with pytest.raises(InvalidGrant):
            self._rotate(token, scope)
        for other in self.approvals:
            if other is approval or (self.replay_reaches == "user" and other.member is approval.member):
                other.is_revoked = True
        return multiple()

    @rule(token=refreshes)
    def refresh_for_more(self, token: Refresh) -> None:
        lives = token.approval.stands and timezone.now() < token.expires_at
        with pytest.raises(InvalidScope if lives else InvalidGrant):
            self._rotate(token, "mcp fs admin")

    @rule(token=refreshes)
    def a_stranger_refreshes(self, token: Refresh) -> None:
        with pytest.raises(InvalidGrant):
            refresh_token.rotate(
                client=self._other(token.approval.app), refresh_token=token.plain, issuer=ISSUER
            )

    # -------------------------------------------------------------- ends

    @rule(token=refreshes)
    def revoke_access(self, token: Refresh) -> None:
        access = token.accesses[-1]
        revocation.revoke(client=token.approval.app.client, token=access.plain)
        access.is_revoked = True

    @rule(token=refreshes)
    def revoke_refresh(self, token: Refresh) -> None:
        revocation.revoke(client=token.approval.app.client, token=token.plain)
        token.approval.is_revoked |= not token.is_collected

    @rule(token=refreshes)
    def a_stranger_revokes(self, token: Refresh) -> None:
        stranger = self._other(token.approval.app)
        revocation.revoke(client=stranger, token=token.plain)
        revocation.revoke(client=stranger, token=token.accesses[-1].plain)

    @rule(member=who)
    def rotate_key(self, member: int) -> None:
        someone = self.members[member]
        someone.keys.append(accounts.rotate_api_key(account="acme", name=someone.name)[0])

    @rule(member=who)
    def change_password(self, member: int) -> None:
        someone = self.members[member]
        accounts.set_password(account="acme", name=someone.name, password="another-long-password")
        someone.password_changes += 1

    @rule(member=who, role=st.sampled_from([Role.USER, Role.ADMIN, Role.ROOT]), way=ways)
    def change_role(self, member: int, role: Role, way: str) -> None:
        someone = self.members[member]
        if way == "table":
            Member.objects.filter(name=someone.name).update(role=role)
        else:
            accounts.change(account="acme", name=someone.name, role=role, is_active=someone.is_active)
            self._revoke(lambda approval: approval.member is someone and role < someone.role and approval.role > role)
        someone.role = role

    @rule(member=who, is_active=st.booleans(), way=ways)
    def change_activity(self, member: int, is_active: bool, way: str) -> None:
        someone = self.members[member]
        if way == "table":
            Member.objects.filter(name=someone.name).update(is_active=is_active)
        else:
            accounts.change(account="acme", name=someone.name, role=someone.role, is_active=is_active)
            self._revoke(lambda approval: approval.member is someone and someone.is_active and not is_active)
        someone.is_active = is_active

    @rule(member=who)
    def revoke_user(self, member: int) -> None:
        someone = self.members[member]
        revocation.revoke_user_tokens(account="acme", name=someone.name)
        self._revoke(lambda approval: approval.member is someone)

    @rule(app=who, blocked=st.booleans())
    def block(self, app: int, blocked: bool) -> None:
        clients.block(self.apps[app].client, timezone.now(), blocked=blocked)
        self.apps[app].is_blocked = blocked

    @rule(app=who)
    def delete_client(self, app: int) -> None:
        clients.remove(client_id=self.apps[app].client.client_id)
        self.apps[app].is_deleted = True
        self.apps[app] = self._app("Another")

    @rule(seconds=st.sampled_from(SPANS))
    def time_passes(self, seconds: int) -> None:
        self.time.tick(timedelta(seconds=seconds))

    @rule()
    def collect_garbage(self) -> None:
        garbage.collect()
        for token in self.all_refreshes:
            token.is_collected |= token.expires_at <= timezone.now()

    # -------------------------------------------------------------- what must hold

    @invariant()
    def access_tokens_live_and_die_as_the_model_says(self) -> None:
        now = timezone.now()
        rows = AccessToken.objects.select_related("grant__client", "grant__member", "grant__api_key")
        for access in self.all_accesses:
            lives = not access.is_revoked and access.approval.stands and now < access.expires_at
            assert identified(access.plain) == (
                (access.approval.member.name, access.approval.role.label, tuple(access.scope.split())) if lives else None
            )
            row = rows.by_secret(access.plain)
            told = row is not None and row.revoked_at is None and now < row.expires_at and row.grant.why_dead() is None
            assert told == lives, row and row.grant.why_dead()

    @invariant()
    def codes_and_refresh_tokens_live_and_die_as_the_model_says(self) -> None:
        now = timezone.now()
        for code in self.all_codes:
            peeked: Any = authorization_code.peek(client=code.approval.app.client, code=code.plain)
            assert (peeked is not None) == (code.approval.stands and now < code.expires_at)
        for token in self.all_refreshes:
            peeked = refresh_token.peek(client=token.approval.app.client, refresh_token=token.plain)
            assert (peeked is not None) == (token.approval.stands and now < token.expires_at)

    @invariant()
    def the_newest_key_of_an_active_member_works_and_no_other(self) -> None:
        for someone in self.members:
            for key in someone.keys:
                assert works(key) == (key == someone.keys[-1] and someone.is_active)

    # -------------------------------------------------------------- means

    @staticmethod
    def _app(name: str) -> App:
        made = clients.make(name=name, redirect_uris=[CALLBACK], token_endpoint_auth_method="none")
        return App(Client.objects.get(client_id=made.client_id))

    def _other(self, app: App) -> Client:
        return next(other.client for other in self.apps if other is not app)

    def _revoke(self, which: Any) -> None:
        for approval in self.approvals:
            approval.is_revoked |= which(approval)

    def _got(self, approval: Approval, pair: Any) -> Refresh:
        token = Refresh(pair.refresh_token, approval, timezone.now() + REFRESH)
        token.accesses.append(self._access(approval, pair))
        self.all_refreshes.append(token)
        return token

    def _access(self, approval: Approval, pair: Any) -> Access:
        assert set(pair.scope.split()) <= set(approval.scope.split())
        access = Access(pair.access_token, approval, pair.scope, timezone.now() + ACCESS)
        self.all_accesses.append(access)
        return access

    @staticmethod
    def _rotate(token: Refresh, scope: str | None) -> Any:
        client = token.approval.app.client
        return refresh_token.rotate(client=client, refresh_token=token.plain, scope=scope, issuer=ISSUER)


def identified(secret: str) -> tuple[str, str, tuple[str, ...]] | None:
    """Whom `bearer` sees, with which role and scopes; None for nobody."""
    try:
        found = bearer.identify(secret, resource=RESOURCE)
    except InvalidToken:
        return None
    return found.user_id, found.role, found.scopes


@pytest.mark.parametrize("reaches", ["user", "grant"])
def test_what_the_model_says_is_dead_is_dead_and_what_it_says_lives_lives(
    db: None, reaches: str, configure: Callable[..., Any]
) -> None:
    configure(replay_revokes=reaches)
    with freeze_time(START, ignore=["asyncio", "uvicorn"]) as frozen:
        machine = type("TokenLife", (TokenLife,), {"replay_reaches": reaches, "time": frozen})
        run_state_machine_as_test(machine, settings=SETTINGS)
