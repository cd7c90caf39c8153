"""Twenty at once, on SQLite and on PostgreSQL, as threads and as processes: what must happen once happens once.

A racer that meets anything but a value or a refusal (an IntegrityError, a deadlock, a locked database) fails the test in
`Arena.race`.
"""

from collections import Counter
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest

from ovauth.flows import limits
from tests.races.conftest import RACERS, Arena, Outcome

pytestmark = pytest.mark.xdist_group("races")

rounds = pytest.mark.parametrize("round_", range(1, 3))


def refusals(outcomes: list[Outcome]) -> Counter[str]:
    return Counter(outcome.refused for outcome in outcomes if outcome.refused)


def values(outcomes: list[Outcome]) -> list[Any]:
    return [outcome.value for outcome in outcomes if not outcome.refused]


def pairs(outcomes: list[Outcome]) -> list[dict[str, Any]]:
    """The tokens that somebody got."""
    return [value for value in values(outcomes) if isinstance(value, dict) and "access_token" in value]


def assert_dead(arena: Arena, client: str, pair: dict[str, Any]) -> None:
    assert not arena.opens(secret=pair["access_token"])
    again = arena.race(("refresh", {"client": client, "token": pair["refresh_token"]}))
    assert refusals(again) == {"InvalidGrant": 1}


def test_the_races_run_where_they_say(arena: Arena, request: pytest.FixtureRequest) -> None:
    assert arena.runs_on() in request.node.name


@rounds
def test_a_code_is_redeemed_by_one_of_twenty(arena: Arena, round_: int) -> None:
    client, user = arena.new_client()["client"], arena.new_user()
    code = arena.new_code(client=client, user=user, by="key")
    outcomes = arena.all_at_once("redeem", client=client, code=code)
    assert refusals(outcomes) == {"InvalidGrant": RACERS - 1}
    (pair,) = values(outcomes)
    assert arena.rows(client=client) == {"grants": 1, "access tokens": 1}
    # The nineteen others were a second use: what the first one was given is over (RFC 6749 §4.1.2).
    assert not arena.opens(secret=pair["access_token"])
    assert arena.race(("refresh", {"client": client, "token": pair["refresh_token"]}))[0].refused == "InvalidGrant"


@rounds
def test_a_refresh_token_used_by_twenty_leaves_one_chain_and_everybody_holds_it(arena: Arena, round_: int) -> None:
    client, user = arena.new_client()["client"], arena.new_user()
    token = arena.new_connection(client=client, user=user, by="session")["refresh_token"]
    for _ in range(2):  # the successor serves them just as well
        outcomes = arena.all_at_once("refresh", client=client, token=token)
        assert not refusals(outcomes)
        (successor,) = {outcome.value["refresh_token"] for outcome in outcomes}
        assert arena.unused_refresh_tokens(client=client) == 1
        access_tokens = {outcome.value["access_token"] for outcome in outcomes}
        assert len(access_tokens) == RACERS
        assert all(arena.opens(secret=access_token) for access_token in access_tokens)
        token = successor


@rounds
def test_of_approve_and_deny_the_first_stands_and_the_result_agrees(arena: Arena, round_: int) -> None:
    client, user = arena.new_client()["client"], arena.new_user()
    pending = arena.new_pending(client=client)
    ask = {"user": user, "by": "key", "pending": pending}
    outcomes = arena.race(*[("approve", ask), ("deny", ask)] * (RACERS // 2))
    assert refusals(outcomes) == {"Conflict": RACERS - 1}
    (decision,) = values(outcomes)
    collected = arena.collect(pending=pending)
    assert collected["status"] == decision
    assert ("code=" in collected["redirect_url"]) == (decision == "approved")
    assert arena.rows(client=client)["grants"] == (decision == "approved")


@rounds
def test_whoever_collects_at_once_collects_the_same_code(arena: Arena, round_: int) -> None:
    client, user = arena.new_client()["client"], arena.new_user()
    pending = arena.new_pending(client=client)
    arena.approve(user=user, by="key", pending=pending)
    outcomes = arena.all_at_once("collect", pending=pending)
    assert not refusals(outcomes)
    assert len({outcome.value["redirect_url"] for outcome in outcomes}) == 1


@rounds
@pytest.mark.parametrize("ending", ["revoke", "revoke_user", "disconnect"])
def test_after_a_revocation_against_refreshes_nothing_works(arena: Arena, ending: str, round_: int) -> None:
    client, user = arena.new_client()["client"], arena.new_user()
    pair = arena.new_connection(client=client, user=user, by="key")
    refresh = ("refresh", {"client": client, "token": pair["refresh_token"]})
    end = {"revoke": {"client": client, "token": pair["refresh_token"]}}.get(ending, {"user": user})
    outcomes = arena.race(*[refresh] * 5, (ending, end), *[refresh] * 5)
    assert set(refusals(outcomes)) <= {"InvalidGrant"}
    for held in [pair, *pairs(outcomes)]:
        assert_dead(arena, client, held)


@rounds
def test_after_an_approval_with_less_against_refreshes_and_redemptions_nothing_has_more(arena: Arena, round_: int) -> None:
    client, user = arena.new_client()["client"], arena.new_user()
    wide = {"client": client, "user": user, "by": "key", "scope": "mcp fs"}
    pair, codes = arena.new_connection(**wide), [arena.new_code(**wide) for _ in range(2)]
    pending = arena.new_pending(client=client, scope="mcp fs")
    refresh = ("refresh", {"client": client, "token": pair["refresh_token"]})
    redemptions = [("redeem", {"client": client, "code": code}) for code in codes]
    less = ("approve", {"user": user, "by": "session", "pending": pending, "scopes": ["mcp"]})
    before = [*[refresh] * 4, redemptions[0]]
    outcomes = arena.race(*before, less, *[refresh] * 4, redemptions[1])
    assert outcomes[len(before)].value == "approved"
    assert set(refusals(outcomes)) <= {"InvalidGrant"}
    for held in [pair, *pairs(outcomes)]:
        assert_dead(arena, client, held)


@rounds
def test_after_a_rotation_of_the_key_nothing_that_the_old_one_authorized_works(arena: Arena, round_: int) -> None:
    client, user = arena.new_client()["client"], arena.new_user()
    key = arena.key(user=user)
    spared = arena.new_connection(client=client, user=user, by="session")
    token = arena.new_connection(client=client, user=user, by="key")["refresh_token"]
    codes = [arena.new_code(client=client, user=user, by="key") for _ in range(4)]
    waiting = [arena.new_pending(client=client) for _ in range(4)]
    redemptions = [("redeem", {"client": client, "code": code}) for code in codes]
    approvals = [("approve", {"user": user, "by": key, "pending": pending}) for pending in waiting]
    refresh = ("refresh", {"client": client, "token": token})
    before, after = [*redemptions[:2], *approvals[:2], refresh], [*redemptions[2:], *approvals[2:], refresh]
    outcomes = arena.race(*before, ("rotate_key", {"user": user}), *after)
    assert set(refusals(outcomes)) <= {"InvalidGrant", "Forbidden"}
    for held in pairs(outcomes):
        assert_dead(arena, client, held)
    for pending in waiting:
        collected = arena.collect(pending=pending)
        if collected["status"] == "approved":
            (code,) = parse_qs(urlsplit(collected["redirect_url"]).query)["code"]
            assert refusals(arena.race(("redeem", {"client": client, "code": code}))) == {"InvalidGrant": 1}
    assert arena.opens(secret=spared["access_token"])


@rounds
def test_after_a_change_of_the_password_nothing_that_the_old_one_approved_works(arena: Arena, round_: int) -> None:
    client, user = arena.new_client()["client"], arena.new_user()
    codes = [arena.new_code(client=client, user=user, by="session") for _ in range(4)]
    token = arena.new_connection(client=client, user=user, by="session")["refresh_token"]
    redemptions = [("redeem", {"client": client, "code": code}) for code in codes]
    change = ("change_password", {"user": user, "password": "another-long-password"})
    refresh = ("refresh", {"client": client, "token": token})
    outcomes = arena.race(*redemptions[:2], refresh, change, *redemptions[2:], refresh)
    assert set(refusals(outcomes)) <= {"InvalidGrant"}
    for held in pairs(outcomes):
        assert_dead(arena, client, held)


@rounds
def test_every_change_of_a_password_is_counted(arena: Arena, round_: int) -> None:
    user = arena.new_user()
    before = arena.password_epoch(user=user)
    outcomes = arena.all_at_once("change_password", user=user, password="another-long-password")
    assert not refusals(outcomes)
    assert arena.password_epoch(user=user) == before + RACERS


@rounds
def test_twenty_rotations_leave_one_key(arena: Arena, round_: int) -> None:
    user = arena.new_user()
    outcomes = arena.all_at_once("rotate_key", user=user)
    assert arena.living_keys(user=user) == 1
    assert sum(arena.opens(secret=outcome.value) for outcome in outcomes) == 1


@rounds
def test_a_user_is_created_once(arena: Arena, round_: int) -> None:
    outcomes = arena.all_at_once("create_user", user=f"new-{uuid4()}")
    assert refusals(outcomes) == {"Conflict": RACERS - 1}


@rounds
def test_a_one_time_password_stands_for_its_owner_on_one_page_of_twenty(arena: Arena, round_: int) -> None:
    client, user = arena.new_client()["client"], arena.new_user()
    typed = arena.new_one_time_password(user=user)
    pages = [arena.new_pending(client=client) for _ in range(RACERS)]
    outcomes = arena.race(*[("present", {"pending": pending, "browser": "browser", "typed": typed}) for pending in pages])
    assert refusals(outcomes) == {"NotFound": RACERS - 1}


@rounds
def test_no_failure_is_lost_whether_the_window_is_new_or_over(arena: Arena, round_: int) -> None:
    for who in (str(uuid4()), str(uuid4())):
        assert not refusals(arena.all_at_once("fail", who=who))
        assert arena.failures(key=f"code/member:{who}") == RACERS
        assert arena.failures(key=f"code/address:{who}") == RACERS
        arena.expire_limits()
        assert not refusals(arena.all_at_once("fail", who=who))
        assert arena.failures(key=f"code/member:{who}") == RACERS


@rounds
def test_of_a_burst_of_wrong_codes_as_many_are_judged_as_the_limit_says(arena: Arena, round_: int) -> None:
    user, most = arena.new_user(), limits.CODE_BY_MEMBER.most
    judged = arena.audited(event="authorization.code_failed")
    assert refusals(arena.all_at_once("guess", user=user)) == {"NotFound": most, "TooManyRequests": RACERS - most}
    assert arena.audited(event="authorization.code_failed", since=judged) == most
    assert refusals(arena.race(("guess", {"user": user}))) == {"TooManyRequests": 1}


@rounds
def test_of_a_burst_of_many_users_as_many_are_judged_as_their_address_has(arena: Arena, round_: int) -> None:
    users, ip, most = [arena.new_user() for _ in range(RACERS // 5)], str(uuid4()), limits.CODE_BY_ADDRESS.most
    outcomes = arena.race(*[("guess", {"user": user, "ip": ip}) for user in users * 5])
    assert refusals(outcomes) == {"NotFound": most, "TooManyRequests": RACERS - most}
    # Whom the address stopped has no place of their own less for it.
    assert sum(arena.failures(key=key) for key in arena.guessers(users=users)) == most


@rounds
def test_of_right_codes_at_once_none_is_refused_and_none_counts(arena: Arena, round_: int) -> None:
    user, ip = arena.new_user(), str(uuid4())
    code = arena.display_code(pending=arena.new_pending(client=arena.new_client()["client"]))
    assert not refusals(arena.all_at_once("guess", user=user, code=code, ip=ip))
    assert sum(arena.failures(key=key) for key in (f"code/address:{ip}", *arena.guessers(users=[user]))) == 0


@rounds
def test_of_a_burst_of_wrong_one_time_passwords_as_many_are_judged_as_the_limit_says(arena: Arena, round_: int) -> None:
    page, most = arena.new_pending(client=arena.new_client()["client"]), limits.OTP_BY_PENDING.most
    outcomes = arena.all_at_once("present", pending=page, browser="browser", typed="AAAA-AAAA")
    assert refusals(outcomes) == {"NotFound": most, "TooManyRequests": RACERS - most}


@rounds
def test_of_a_burst_of_passwords_as_many_are_judged_as_the_limit_says_and_one_tells(arena: Arena, round_: int) -> None:
    locked, most = arena.audited(event="login.locked"), limits.SIGN_IN_BY_NAME_AND_ADDRESS.most
    assert refusals(arena.all_at_once("guess_a_password", ip=str(uuid4()))) == {"TooManyRequests": RACERS - most}
    assert arena.audited(event="login.locked", since=locked) == 1


@rounds
def test_a_client_that_is_deleted_meanwhile_is_gone_with_everything(arena: Arena, round_: int) -> None:
    made, user = arena.new_client(), arena.new_user()
    client = made["client"]
    code = arena.new_code(client=client, user=user, by="key")
    tokens = [arena.new_connection(client=client, user=user, by="key")["refresh_token"] for _ in range(2)]
    waiting = arena.new_pending(client=client)
    collecting = arena.new_pending(client=client)
    arena.approve(user=user, by="key", pending=collecting)
    others = [
        ("redeem", {"client": client, "code": code}),
        *[("refresh", {"client": client, "token": token}) for token in tokens * 2],
        ("approve", {"user": user, "by": "key", "pending": waiting}),
        ("collect", {"pending": collecting}),
        ("update_client", made),
    ]
    outcomes = arena.race(*others, ("delete_client", made), *others)
    assert set(refusals(outcomes)) <= {"InvalidGrant", "InvalidClient", "InvalidToken", "NotFound", "Conflict"}
    assert not outcomes[len(others)].refused
    assert not arena.is_known(client=client)
    assert not any(arena.opens(secret=held["access_token"]) for held in pairs(outcomes))


@rounds
def test_a_client_that_is_blocked_while_it_updates_itself_stays_blocked(arena: Arena, round_: int) -> None:
    made = arena.new_client()
    update, block = ("update_client", made), ("block_client", {"client": made["client"]})
    arena.race(*[update] * 6, block, *[update] * 6)
    assert arena.is_blocked(client=made["client"])


@rounds
def test_garbage_is_collected_by_several_while_others_refresh(arena: Arena, round_: int) -> None:
    client, user = arena.new_client()["client"], arena.new_user()
    tokens = [arena.new_connection(client=client, user=user, by="key")["refresh_token"] for _ in range(4)]
    arena.age(client=client)
    refreshes = [("refresh", {"client": client, "token": token}) for token in tokens]
    outcomes = arena.race(*refreshes, *[("collect_garbage", {})] * 4, *refreshes)
    assert not refusals(outcomes)
    assert all(arena.opens(secret=held["access_token"]) for held in pairs(outcomes))
