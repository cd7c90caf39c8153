"""The life of tokens, as Hypothesis lives it, against a model in plain Python: what the model says is dead is dead at the
next request, and what it says lives, lives.

Every life begins in the same world: two members, two clients, connections by key and by session, codes not yet redeemed.
After every step every access token goes through `bearer` (SQL) and `Grant.why_dead` (Python), which must agree with the
model and so with each other, and every API key is tried. At the end of a life every code and refresh token is asked for.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import product
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from ovauth import bearer
from ovauth.credentials import Kind, digest, mint
from ovauth.errors import Forbidden, InvalidGrant, InvalidScope, InvalidToken, UntrustedRedirect
from ovauth.flows import accounts, authorization_code, clients, garbage, refresh_token, revocation
from ovauth.flows.authority import Authority
from ovauth.models import AccessToken, ApiKey, Client, Member
from ovauth.roles import Role
from tests.conftest import CALLBACK, ISSUER, RESOURCE, approved, person, redeemed, works

SETTINGS = settings(
    max_examples=30,
    stateful_step_count=20,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
START = "2026-11-24 10:00:00"
CODE, ACCESS, REFRESH, GRACE = (timedelta(seconds=seconds) for seconds in (300, 3600, 2_592_000, 60))
SPANS = [1, 1, 30, 30, 59, 60, 61, 61, 299, 300, 3599, 3600, 86_400, 2_592_000]

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
            and (self.key == self.member.keys[-1] if self.key else self.password_changes == self.member.password_changes)
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


@dataclass(eq=False)
class World:
    members: list[Someone]
    apps: list[App]
    approvals: list[Approval] = field(default_factory=list)
    codes: list[Code] = field(default_factory=list)
    accesses: list[Access] = field(default_factory=list)
    refreshes: list[Refresh] = field(default_factory=list)

    def connect(self, app: App, member: Someone, by: str, scope: str) -> Refresh:
        return self.redeem(self.approve(app, member, by, scope))

    def approve(self, app: App, member: Someone, by: str, scope: str) -> Code:
        plain = approved(app.client, authority(member, by), scope=scope)
        key = member.keys[-1] if by == "key" else None
        approval = Approval(app, member, member.role, scope, key, member.password_changes)
        code = Code(plain, approval, timezone.now() + CODE)
        self.approvals.append(approval)
        self.codes.append(code)
        return code

    def redeem(self, code: Code) -> Refresh:
        pair = redeemed(code.approval.app.client, code.plain)
        code.is_used = True
        return self.got(code.approval, pair)

    def got(self, approval: Approval, pair: Any) -> Refresh:
        token = Refresh(pair.refresh_token, approval, timezone.now() + REFRESH)
        token.accesses.append(self.got_access(approval, pair))
        self.refreshes.append(token)
        return token

    def got_access(self, approval: Approval, pair: Any) -> Access:
        access = Access(pair.access_token, approval, pair.scope, timezone.now() + ACCESS)
        self.accesses.append(access)
        return access


def authority(member: Someone, by: str) -> Authority:
    row = Member.objects.get(name=member.name)
    if by == "session":
        return Authority(row.pk, password_epoch=row.password_epoch)
    return Authority(row.pk, api_key_pk=ApiKey.objects.by_secret(member.keys[-1]).pk)


def new_key(name: str) -> str:
    plain = mint(Kind.API_KEY)
    member = Member.objects.get(name=name)
    ApiKey.objects.create(member=member, digest=digest(plain), last_four=plain[-4:], created_at=timezone.now())
    return plain


def new_app(name: str) -> App:
    made = clients.make(name=name, redirect_uris=[CALLBACK], token_endpoint_auth_method="none")
    return App(Client.objects.get(client_id=made.client_id))


def new_world() -> World:
    person("default", "operator", Role.ROOT)  # somebody has to be
    made = [person("acme", "alice", Role.ADMIN), person("acme", "bob", Role.USER)]
    members = [Someone(one.member.name, Role(one.member.role), [one.api_key]) for one in made]
    world = World(members, [new_app("One"), new_app("Two")])
    (alice, bob), (one, two) = world.members, world.apps
    token = world.connect(one, alice, "key", "mcp fs")
    for _ in range(2):  # a chain, so that lost answers and replays are near
        token.used_at = timezone.now()
        token.successor = world.got(token.approval, rotate(token, None))
        token = token.successor
    world.connect(two, alice, "session", "mcp")
    world.connect(one, bob, "session", "mcp fs")
    world.connect(two, bob, "key", "mcp")
    world.approve(one, alice, "session", "mcp")
    world.approve(two, bob, "key", "mcp fs")
    return world


# ------------------------------------------------------------------ the machine

who = st.integers(0, 1)
ways = st.sampled_from(["flow", "table"])
"""How a member changes: by the flow, which ends things for good, or in the table, so that the queries have to notice."""


class TokenLife(RuleBasedStateMachine):
    codes = Bundle("codes")
    firsts = Bundle("firsts")
    """The first refresh token of each chain."""

    replay_reaches: str
    first_day: World
    time: FrozenDateTimeFactory

    def __init__(self) -> None:
        super().__init__()
        self.time.move_to(START)
        self.everything = transaction.atomic()
        self.everything.__enter__()
        self.world = deepcopy(self.first_day)

    def teardown(self) -> None:
        try:
            self.at_the_end()
        finally:
            transaction.set_rollback(True)
            self.everything.__exit__(None, None, None)

    @initialize(target=codes)
    def the_codes(self) -> Any:
        return multiple(*self.world.codes)

    @initialize(target=firsts)
    def the_tokens(self) -> Any:
        later = {token.successor for token in self.world.refreshes}
        return multiple(*[token for token in self.world.refreshes if token not in later])

    # -------------------------------------------------------------- issue

    @rule(
        target=codes, app=who, member=who, by=st.sampled_from(["key", "session"]), scope=st.sampled_from(["mcp", "mcp fs"])
    )
    def approve(self, app: int, member: int, by: str, scope: str) -> Any:
        to, someone = self.world.apps[app], self.world.members[member]
        if to.is_good and someone.is_active:
            return self.world.approve(to, someone, by, scope)
        with pytest.raises(Forbidden if to.is_good else UntrustedRedirect):
            approved(to.client, authority(someone, by), scope=scope)
        return multiple()

    @rule(target=firsts, code=codes)
    def redeem(self, code: Code) -> Any:
        approval = code.approval
        lives = approval.stands and timezone.now() < code.expires_at
        if lives and not code.is_used:
            return self.world.redeem(code)
        with pytest.raises(InvalidGrant):
            redeemed(approval.app.client, code.plain)
        if lives:
            approval.is_revoked = True  # a second use ends what the first one issued
        return multiple()

    @rule(code=codes)
    def redeem_as_another_client_or_with_a_wrong_verifier(self, code: Code) -> None:
        with pytest.raises(InvalidGrant):
            redeemed(self._stranger(code), code.plain)
        with pytest.raises(InvalidGrant):
            redeemed(code.approval.app.client, code.plain, code_verifier="x" * 43)

    # -------------------------------------------------------------- refresh, retry, replay

    @rule(first=firsts, back=st.integers(0, 2), narrowed=st.booleans())
    def refresh(self, first: Refresh, back: int, narrowed: bool) -> None:
        token = self._of_chain(first, back)
        approval, now = token.approval, timezone.now()
        scope = "mcp" if narrowed else None
        if not approval.stands or token.expires_at <= now:
            with pytest.raises(InvalidGrant):
                rotate(token, scope)
        elif token.successor is None:
            pair = rotate(token, scope)
            assert pair.scope == (scope or approval.scope)
            token.used_at = now
            token.successor = self.world.got(approval, pair)
        elif token.successor.used_at is None or (token.used_at and now < token.used_at + GRACE):
            pair = rotate(token, scope)
            assert pair.refresh_token == token.successor.plain
            token.successor.accesses.append(self.world.got_access(approval, pair))
        else:
            with pytest.raises(InvalidGrant):
                rotate(token, scope)
            everything = self.replay_reaches == "user"
            self._revoke(lambda other: other is approval or (everything and other.member is approval.member))

    @rule(first=firsts, back=st.integers(0, 2))
    def ask_for_more_or_as_another_client(self, first: Refresh, back: int) -> None:
        token = self._of_chain(first, back)
        lives = token.approval.stands and timezone.now() < token.expires_at
        with pytest.raises(InvalidScope if lives else InvalidGrant):
            rotate(token, "mcp fs admin")
        stranger = self._stranger(token)
        with pytest.raises(InvalidGrant):
            refresh_token.rotate(client=stranger, refresh_token=token.plain, issuer=ISSUER)
        revocation.revoke(client=stranger, token=token.plain)
        revocation.revoke(client=stranger, token=token.accesses[-1].plain)

    # -------------------------------------------------------------- ends

    @rule(first=firsts, back=st.integers(0, 2))
    def revoke_access(self, first: Refresh, back: int) -> None:
        token = self._of_chain(first, back)
        access = token.accesses[-1]
        revocation.revoke(client=token.approval.app.client, token=access.plain)
        access.is_revoked = True

    @rule(first=firsts, back=st.integers(0, 2))
    def revoke_refresh(self, first: Refresh, back: int) -> None:
        token = self._of_chain(first, back)
        revocation.revoke(client=token.approval.app.client, token=token.plain)
        token.approval.is_revoked |= not token.is_collected

    @rule(member=who, way=ways)
    def rotate_key(self, member: int, way: str) -> None:
        someone = self.world.members[member]
        if way == "table":  # the key alone ends, and what it authorized has to notice
            ApiKey.objects.filter(member__name=someone.name).update(revoked_at=timezone.now())
            made = new_key(someone.name)
        else:
            made = accounts.rotate_api_key(account="acme", name=someone.name)[0]
        someone.keys.append(made)

    @rule(member=who)
    def change_password(self, member: int) -> None:
        someone = self.world.members[member]
        accounts.set_password(account="acme", name=someone.name, password="another-long-password")
        someone.password_changes += 1

    @rule(member=who, role=st.sampled_from([Role.USER, Role.ADMIN, Role.ROOT]), way=ways)
    def change_role(self, member: int, role: Role, way: str) -> None:
        someone = self.world.members[member]
        if way == "table":
            Member.objects.filter(name=someone.name).update(role=role)
        else:
            accounts.change(account="acme", name=someone.name, role=role, is_active=someone.is_active)
            self._revoke(lambda approval: approval.member is someone and role < someone.role and approval.role > role)
        someone.role = role

    @rule(member=who, is_active=st.booleans(), way=ways)
    def change_activity(self, member: int, is_active: bool, way: str) -> None:
        someone = self.world.members[member]
        if way == "table":
            Member.objects.filter(name=someone.name).update(is_active=is_active)
        else:
            accounts.change(account="acme", name=someone.name, role=someone.role, is_active=is_active)
            self._revoke(lambda approval: approval.member is someone and someone.is_active and not is_active)
        someone.is_active = is_active

    @rule(member=who)
    def revoke_user(self, member: int) -> None:
        someone = self.world.members[member]
        revocation.revoke_user_tokens(account="acme", name=someone.name)
        self._revoke(lambda approval: approval.member is someone)

    @rule(app=who, blocked=st.booleans())
    def block(self, app: int, blocked: bool) -> None:
        clients.block(self.world.apps[app].client, timezone.now(), blocked=blocked)
        self.world.apps[app].is_blocked = blocked

    @rule(app=who)
    def delete_client(self, app: int) -> None:
        clients.remove(client_id=self.world.apps[app].client.client_id)
        self.world.apps[app].is_deleted = True
        self.world.apps[app] = new_app("Another")

    @rule(seconds=st.sampled_from(SPANS))
    def time_passes(self, seconds: int) -> None:
        self.time.tick(timedelta(seconds=seconds))

    @rule()
    def collect_garbage(self) -> None:
        garbage.collect()
        for token in self.world.refreshes:
            token.is_collected |= token.expires_at <= timezone.now()

    # -------------------------------------------------------------- what must hold

    @invariant()
    def access_tokens_live_and_die_as_the_model_says(self) -> None:
        now = timezone.now()
        found = AccessToken.objects.select_related("grant__client", "grant__member", "grant__api_key")
        rows = {bytes(row.digest): row for row in found}
        for access in self.world.accesses:
            approval = access.approval
            lives = not access.is_revoked and approval.stands and now < access.expires_at
            told = (approval.member.name, approval.role.label, tuple(access.scope.split())) if lives else None
            assert identified(access.plain) == told
            row = rows.get(digest(access.plain))
            assert lives == (
                row is not None and row.revoked_at is None and now < row.expires_at and row.grant.why_dead() is None
            )

    @invariant()
    def the_newest_key_of_an_active_member_works_and_no_other(self) -> None:
        for someone in self.world.members:
            for key in someone.keys:
                assert works(key) == (key == someone.keys[-1] and someone.is_active)

    def at_the_end(self) -> None:
        now = timezone.now()
        for code in self.world.codes:
            peeked: Any = authorization_code.peek(client=code.approval.app.client, code=code.plain)
            assert (peeked is not None) == (code.approval.stands and now < code.expires_at)
        for token in self.world.refreshes:
            peeked = refresh_token.peek(client=token.approval.app.client, refresh_token=token.plain)
            assert (peeked is not None) == (token.approval.stands and now < token.expires_at)

    # -------------------------------------------------------------- means

    @staticmethod
    def _of_chain(first: Refresh, back: int) -> Refresh:
        """The newest token of the chain, or that many before it."""
        chain = [first]
        while chain[-1].successor is not None:
            chain.append(chain[-1].successor)
        return chain[max(0, len(chain) - 1 - back)]

    def _stranger(self, held: Code | Refresh) -> Client:
        return next(app.client for app in self.world.apps if app is not held.approval.app)

    def _revoke(self, which: Callable[[Approval], bool]) -> None:
        for approval in self.world.approvals:
            approval.is_revoked |= which(approval)


def rotate(token: Refresh, scope: str | None) -> Any:
    client = token.approval.app.client
    return refresh_token.rotate(client=client, refresh_token=token.plain, scope=scope, issuer=ISSUER)


def identified(secret: str) -> tuple[str, str, tuple[str, ...]] | None:
    """Whom `bearer` sees, with which role and scopes; None for nobody."""
    try:
        found = bearer.identify(secret, resource=RESOURCE)
    except InvalidToken:
        return None
    return found.user_id, found.role, found.scopes


@contextmanager
def life(reaches: str) -> Iterator[type[TokenLife]]:
    with freeze_time(START, ignore=["asyncio", "uvicorn"]) as frozen:
        facts = {"replay_reaches": reaches, "time": frozen, "first_day": new_world()}
        yield type("TokenLife", (TokenLife,), facts)


@pytest.mark.parametrize("reaches", ["user", "grant"])
def test_what_the_model_says_is_dead_is_dead_and_what_it_says_lives_lives(
    db: None, reaches: str, configure: Callable[..., Any]
) -> None:
    configure(replay_revokes=reaches)
    with life(reaches) as machine:
        run_state_machine_as_test(machine, settings=SETTINGS)


ONE, ALICE, BOB = 0, 0, 1
EVENTS: dict[str, Callable[[TokenLife], Any]] = {
    "rotate": lambda one: one.rotate_key(ALICE, "flow"),
    "revoke the key": lambda one: one.rotate_key(BOB, "table"),
    "change the password": lambda one: one.change_password(BOB),
    "demote": lambda one: one.change_role(ALICE, Role.USER, "flow"),
    "demote in the table": lambda one: one.change_role(ALICE, Role.USER, "table"),
    "promote": lambda one: one.change_role(ALICE, Role.ROOT, "flow"),
    "deactivate": lambda one: one.change_activity(BOB, False, "flow"),
    "deactivate in the table": lambda one: one.change_activity(BOB, False, "table"),
    "reactivate": lambda one: one.change_activity(BOB, True, "flow"),
    "revoke the user": lambda one: one.revoke_user(ALICE),
    "block": lambda one: one.block(ONE, True),
    "unblock": lambda one: one.block(ONE, False),
    "delete the client": lambda one: one.delete_client(ONE),
    "a minute": lambda one: one.time_passes(60),
    "an hour": lambda one: one.time_passes(3600),
    "garbage": lambda one: one.collect_garbage(),
    "refresh": lambda one: one.refresh(one.world.refreshes[0], 0, True),
    "retry": lambda one: one.refresh(one.world.refreshes[0], 1, False),
    "replay": lambda one: one.refresh(one.world.refreshes[0], 2, False),
    "redeem": lambda one: one.redeem(one.world.codes[-1]),
    "redeem as another": lambda one: one.redeem_as_another_client_or_with_a_wrong_verifier(one.world.codes[-1]),
    "refresh as another": lambda one: one.ask_for_more_or_as_another_client(one.world.refreshes[0], 2),
    "revoke an access token": lambda one: one.revoke_access(one.world.refreshes[0], 0),
    "revoke a refresh token": lambda one: one.revoke_refresh(one.world.refreshes[0], 2),
}


REVIVALS = ("promote", "reactivate", "unblock", "garbage", "refresh", "retry", "replay", "redeem")
"""What could wake something that was dead."""


def test_every_event_with_everything_alive_and_nothing_revives_what_it_ended(
    db: None, configure: Callable[..., Any]
) -> None:
    """What chance may leave out."""
    configure(replay_revokes="user")
    with life("user") as machine:
        for first, second in product(EVENTS, REVIVALS):
            one = machine()
            try:
                for event in (first, second):
                    EVENTS[event](one)
                    one.access_tokens_live_and_die_as_the_model_says()
                one.the_newest_key_of_an_active_member_works_and_no_other()
            except BaseException as error:
                error.add_note(f"{first}, then {second}")
                raise
            finally:
                one.teardown()
