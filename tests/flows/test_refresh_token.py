"""grant_type=refresh_token: rotated at every use, and nobody is logged out by accident."""

from collections.abc import Callable
from typing import Any

import pytest

from ovauth import bearer, credentials
from ovauth.errors import InvalidGrant, InvalidScope, InvalidTarget
from ovauth.flows import refresh_token
from ovauth.flows.issuance import TokenPair
from ovauth.models import AuditEvent, Client, RefreshToken
from tests.conftest import ISSUER, RESOURCE, Person, connected, registered, works

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock")]
Clock = Callable[[float], None]
GRACE = 60
TTL = 2_592_000


def rotate(client: Client, token: str | None, **asked: Any) -> TokenPair:
    return refresh_token.rotate(client=client, refresh_token=str(token), issuer=ISSUER, **asked)


def refused(client: Client, token: str | None, **asked: Any) -> bool:
    with pytest.raises(InvalidGrant):
        rotate(client, token, **asked)
    return True


def test_a_refresh_gives_a_new_pair_and_the_old_access_token_lives_on(bob: Person, client_app: Client) -> None:
    first = connected(client_app, bob.by_key)
    second = rotate(client_app, first.refresh_token)
    assert second.refresh_token != first.refresh_token
    assert works(first.access_token)
    assert works(second.access_token)
    assert second.expires_in == 3600


def test_a_lost_answer_is_given_again_with_the_same_successor_however_late(
    bob: Person, client_app: Client, clock: Clock
) -> None:
    first = connected(client_app, bob.by_key)
    lost = rotate(client_app, first.refresh_token)
    clock(TTL - 1)
    again = rotate(client_app, first.refresh_token)
    assert again.refresh_token == lost.refresh_token
    assert again.access_token != lost.access_token
    assert works(again.access_token)


def test_within_the_grace_even_after_the_successor_was_used(bob: Person, client_app: Client, clock: Clock) -> None:
    first = connected(client_app, bob.by_key)
    second = rotate(client_app, first.refresh_token)
    rotate(client_app, second.refresh_token)
    clock(GRACE - 1)
    slow_twin = rotate(client_app, first.refresh_token)
    assert slow_twin.refresh_token == second.refresh_token
    assert works(rotate(client_app, slow_twin.refresh_token).access_token)


def test_a_chain_of_lost_answers_is_one_chain(bob: Person, client_app: Client, clock: Clock) -> None:
    token = connected(client_app, bob.by_key).refresh_token
    for _ in range(5):
        answers = {rotate(client_app, token).refresh_token for _ in range(3)}
        clock(GRACE + 1)
        assert len(answers) == 1
        (token,) = answers
    assert RefreshToken.objects.filter(consumed_at=None).count() == 1


@pytest.mark.parametrize(("reaches", "other_connection_lives"), [("user", False), ("grant", True)])
def test_a_replay_after_the_grace_ends_what_it_is_configured_to_end(
    alice: Person,
    bob: Person,
    client_app: Client,
    clock: Clock,
    configure: Callable[..., Any],
    reaches: str,
    other_connection_lives: bool,
) -> None:
    configure(replay_revokes=reaches)
    other = connected(registered(), bob.by_session)
    of_alice = connected(client_app, alice.by_key)
    first = connected(client_app, bob.by_key)
    second = rotate(client_app, first.refresh_token)
    third = rotate(client_app, second.refresh_token)
    clock(GRACE)
    assert refused(client_app, first.refresh_token)
    assert not any(works(pair.access_token) for pair in (first, second, third))
    assert refused(client_app, third.refresh_token)
    assert works(other.access_token) is other_connection_lives
    assert works(of_alice.access_token)
    assert works(bob.api_key)
    assert AuditEvent.objects.filter(event="token.reuse_detected", actor="acme/bob").count() == 1


def test_without_grace_a_used_successor_makes_it_a_replay_at_once(
    bob: Person, client_app: Client, clock: Clock, configure: Callable[..., Any]
) -> None:
    configure(refresh_grace=0)
    first = connected(client_app, bob.by_key)
    second = rotate(client_app, first.refresh_token)
    assert rotate(client_app, first.refresh_token).refresh_token == second.refresh_token
    rotate(client_app, second.refresh_token)
    assert refused(client_app, first.refresh_token)
    assert not works(second.access_token)


def test_the_database_alone_does_not_reveal_the_successor(bob: Person, client_app: Client) -> None:
    first = connected(client_app, bob.by_key)
    second = rotate(client_app, first.refresh_token)
    row = RefreshToken.objects.by_secret(str(first.refresh_token))
    sealed = bytes(row.sealed_successor)
    assert credentials.unseal(sealed, under=str(first.refresh_token)) == second.refresh_token
    assert str(second.refresh_token).encode() not in sealed
    for stored in (bytes(row.digest).hex(), bytes(row.digest).decode("latin-1"), str(second.refresh_token)):
        assert credentials.unseal(sealed, under=stored) is None


def test_scopes_shrink_for_one_answer_and_never_grow(bob: Person, client_app: Client) -> None:
    pair = connected(client_app, bob.by_key, scope="mcp fs")
    narrowed = rotate(client_app, pair.refresh_token, scope="mcp")
    assert narrowed.scope == "mcp"
    assert bearer.identify(narrowed.access_token, resource=RESOURCE).scopes == ("mcp",)
    whole = rotate(client_app, narrowed.refresh_token)
    assert whole.scope == "mcp fs"
    with pytest.raises(InvalidScope):
        rotate(client_app, whole.refresh_token, scope="mcp admin")
    assert works(rotate(client_app, whole.refresh_token).access_token)


def test_the_resource_may_be_repeated_and_may_not_differ(bob: Person, client_app: Client) -> None:
    pair = connected(client_app, bob.by_key)
    with pytest.raises(InvalidTarget):
        rotate(client_app, pair.refresh_token, resource=("https://other.example/mcp",))
    assert RefreshToken.objects.filter(consumed_at=None).count() == 1
    assert works(rotate(client_app, pair.refresh_token, resource=(RESOURCE,)).access_token)


def test_another_clients_attempt_spends_nothing_and_ends_nothing(bob: Person, client_app: Client, clock: Clock) -> None:
    stranger = registered()
    first = connected(client_app, bob.by_key)
    assert refused(stranger, first.refresh_token)
    second = rotate(client_app, first.refresh_token)
    rotate(client_app, second.refresh_token)
    clock(GRACE + 1)
    assert refused(stranger, first.refresh_token)
    assert works(second.access_token)


def test_an_expired_one_is_refused_and_ends_nothing(bob: Person, client_app: Client, clock: Clock) -> None:
    first = connected(client_app, bob.by_key)
    clock(TTL - 1)
    second = rotate(client_app, first.refresh_token)
    clock(1)
    assert refused(client_app, first.refresh_token)
    assert works(second.access_token)


@pytest.mark.parametrize("nonsense", ["", "ovrt_", "ovat_x", "ovrt_\ud800", "x" * 10_000])
def test_an_unknown_one_is_refused(bob: Person, client_app: Client, nonsense: str) -> None:
    assert refused(client_app, nonsense)
