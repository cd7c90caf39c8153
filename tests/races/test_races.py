"""Twenty at once, on SQLite and on PostgreSQL, as threads and as processes: what must happen once happens once.

A racer that meets anything but a value or a refusal (an IntegrityError, a deadlock, a locked database) fails the test in
`Arena.race`.
"""

from collections import Counter

import pytest

from tests.races.conftest import RACERS, Arena, Outcome

pytestmark = pytest.mark.xdist_group("races")

ROUNDS = 5
rounds = pytest.mark.parametrize("round_", range(1, ROUNDS + 1))


def refusals(outcomes: list[Outcome]) -> Counter[str]:
    return Counter(outcome.refused for outcome in outcomes if outcome.refused)


def values(outcomes: list[Outcome]) -> list[object]:
    return [outcome.value for outcome in outcomes if not outcome.refused]


def test_the_races_run_where_they_say(arena: Arena, request: pytest.FixtureRequest) -> None:
    assert arena.engine() in request.node.name


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
    for held in [pair, *[value for value in values(outcomes) if isinstance(value, dict)]]:
        assert not arena.opens(secret=held["access_token"])
        again = arena.race(("refresh", {"client": client, "token": held["refresh_token"]}))
        assert refusals(again) == {"InvalidGrant": 1}


@rounds
def test_after_a_rotation_of_the_key_nothing_that_the_old_one_authorized_works(arena: Arena, round_: int) -> None:
    client, user = arena.new_client()["client"], arena.new_user()
    codes = [arena.new_code(client=client, user=user, by="key") for _ in range(4)]
    token = arena.new_connection(client=client, user=user, by="key")["refresh_token"]
    waiting = [arena.new_pending(client=client) for _ in range(4)]
    spared = arena.new_connection(client=client, user=user, by="session")
    outcomes = arena.race(
        *[("redeem", {"client": client, "code": code}) for code in codes[:2]],
        ("refresh", {"client": client, "token": token}),
        ("rotate_key", {"user": user}),
        *[("redeem", {"client": client, "code": code}) for code in codes[2:]],
        ("refresh", {"client": client, "token": token}),
    )
    assert set(refusals(outcomes)) <= {"InvalidGrant"}
    for held in [value for value in values(outcomes) if isinstance(value, dict)]:
        assert not arena.opens(secret=held["access_token"])
        again = arena.race(("refresh", {"client": client, "token": held["refresh_token"]}))
        assert refusals(again) == {"InvalidGrant": 1}
    assert len(waiting) == 4
    assert arena.opens(secret=spared["access_token"])
