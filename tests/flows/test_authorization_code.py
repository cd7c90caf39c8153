"""grant_type=authorization_code, from approval to token."""

from collections.abc import Callable
from typing import Any

import pytest

from ovauth.errors import InvalidGrant, InvalidTarget
from ovauth.flows import refresh_token
from ovauth.models import AccessToken, AuthorizationCode, Client
from tests.conftest import ISSUER, RESOURCE, VERIFIER, Person, approved, connected, redeemed, registered, works

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock")]
Clock = Callable[[float], None]


def test_an_approved_code_gives_tokens_that_work(alice: Person, client_app: Client) -> None:
    pair = connected(client_app, alice.by_key)
    assert works(pair.access_token)
    assert pair.refresh_token is not None
    assert pair.refresh_token.startswith("ovrt_")
    assert (pair.expires_in, pair.scope) == (3600, "mcp")


def test_a_replayed_code_is_refused_and_kills_everything_that_the_first_use_led_to(
    alice: Person, client_app: Client
) -> None:
    code, other = approved(client_app, alice.by_key), connected(client_app, alice.by_key)
    pair = redeemed(client_app, code)
    later = refresh_token.rotate(client=client_app, refresh_token=str(pair.refresh_token), issuer=ISSUER)
    with pytest.raises(InvalidGrant):
        redeemed(client_app, code)
    assert not works(pair.access_token)
    assert not works(later.access_token)
    with pytest.raises(InvalidGrant):
        refresh_token.rotate(client=client_app, refresh_token=str(later.refresh_token), issuer=ISSUER)
    assert works(other.access_token)


def test_another_clients_attempt_spends_nothing_and_ends_nothing(alice: Person, client_app: Client) -> None:
    code = approved(client_app, alice.by_key)
    stranger = registered()
    with pytest.raises(InvalidGrant):
        redeemed(stranger, code)
    pair = redeemed(client_app, code)
    with pytest.raises(InvalidGrant):
        redeemed(stranger, code)
    assert works(pair.access_token)


@pytest.mark.parametrize(
    "wrong",
    [
        {"code_verifier": VERIFIER.swapcase()},
        {"code_verifier": None},
        {"code_verifier": ""},
        {"redirect_uri": "http://127.0.0.1:33418/callback/"},
        {"redirect_uri": "http://127.0.0.1:33419/callback"},
        {"redirect_uri": ""},
    ],
)
def test_a_failed_attempt_does_not_spend_the_code(alice: Person, client_app: Client, wrong: dict[str, Any]) -> None:
    code = approved(client_app, alice.by_key)
    with pytest.raises(InvalidGrant):
        redeemed(client_app, code, **wrong)
    assert works(redeemed(client_app, code).access_token)


def test_a_failed_second_attempt_ends_nothing(alice: Person, client_app: Client) -> None:
    # Whoever has the code but not the verifier could otherwise end the connection of its owner.
    code = approved(client_app, alice.by_key)
    pair = redeemed(client_app, code)
    with pytest.raises(InvalidGrant):
        redeemed(client_app, code, code_verifier="x" * 43)
    assert works(pair.access_token)


def test_the_redirect_uri_may_be_left_out_as_oauth_2_1_does(alice: Person, client_app: Client) -> None:
    assert works(redeemed(client_app, approved(client_app, alice.by_key), redirect_uri=None).access_token)


def test_another_resource_is_refused_and_spends_nothing(alice: Person, client_app: Client) -> None:
    code = approved(client_app, alice.by_key)
    for resource in (("https://other.example/mcp",), (RESOURCE, "https://other.example/mcp")):
        with pytest.raises(InvalidTarget):
            redeemed(client_app, code, resource=resource)
    pair = redeemed(client_app, code, resource=(RESOURCE + "/",))
    assert works(pair.access_token)
    assert not works(pair.access_token, resource="https://other.example/mcp")


def test_a_code_expires(alice: Person, client_app: Client, clock: Clock) -> None:
    in_time, late = approved(client_app, alice.by_key), approved(client_app, alice.by_key)
    clock(299)
    assert works(redeemed(client_app, in_time).access_token)
    clock(1)
    with pytest.raises(InvalidGrant):
        redeemed(client_app, late)


def test_a_client_may_have_a_life_of_its_own_for_access_tokens(alice: Person, client_app: Client, clock: Clock) -> None:
    Client.objects.filter(pk=client_app.pk).update(access_token_ttl=60)
    pair = connected(client_app, alice.by_key)
    assert pair.expires_in == 60
    clock(59)
    assert works(pair.access_token)
    clock(1)
    assert not works(pair.access_token)


def test_a_client_without_the_refresh_grant_gets_no_refresh_token(alice: Person) -> None:
    pair = connected(registered(grant_types=["authorization_code"]), alice.by_key)
    assert works(pair.access_token)
    assert pair.refresh_token is None


def test_what_is_stored_is_a_digest(alice: Person, client_app: Client) -> None:
    code = approved(client_app, alice.by_key)
    pair = redeemed(client_app, code)
    assert AuthorizationCode.objects.by_secret(code).consumed_at is not None
    assert len(bytes(AccessToken.objects.by_secret(pair.access_token).digest)) == 32


@pytest.mark.parametrize("nonsense", ["", "ovac_", "ovac_\ud800", "x" * 10_000])
def test_an_unknown_code_is_refused(alice: Person, client_app: Client, nonsense: str) -> None:
    with pytest.raises(InvalidGrant):
        redeemed(client_app, nonsense)
