"""RFC 7662: what a token stands for, told to those who may know."""

from collections.abc import Callable

import pytest

from ovauth.flows import clients, introspection, revocation
from ovauth.flows.introspection import Asker
from ovauth.models import Client
from tests.conftest import CALLBACK, ISSUER, RESOURCE, Person, connected, registered

pytestmark = pytest.mark.django_db
INACTIVE = {"active": False}


def ask(asker: Asker, token: str | None) -> dict[str, object]:
    return introspection.introspect(asker=asker, token=str(token), issuer=ISSUER)


def test_a_client_learns_what_its_own_token_stands_for(bob: Person, client_app: Client) -> None:
    pair = connected(client_app, bob.by_key)
    told = ask(Asker(client=client_app), pair.access_token)
    assert told["active"] is True
    assert told["scope"] == "mcp"
    assert told["aud"] == RESOURCE
    assert told["iss"] == ISSUER
    assert told["sub"] == "acme/bob"
    assert told["client_id"] == client_app.client_id
    assert ask(Asker(client=client_app), pair.refresh_token)["active"] is True


def test_another_clients_token_looks_unknown(bob: Person, client_app: Client) -> None:
    pair = connected(client_app, bob.by_key)
    assert ask(Asker(client=registered()), pair.access_token) == INACTIVE
    assert ask(Asker(client=registered()), "ovat_unknown") == INACTIVE


def test_a_client_that_an_operator_made_may_ask_about_any_token(bob: Person, client_app: Client) -> None:
    made = clients.make(name="Resource server", redirect_uris=[CALLBACK], token_endpoint_auth_method="client_secret_basic")
    server = Client.objects.get(client_id=made.client_id)
    assert ask(Asker(client=server), connected(client_app, bob.by_key).access_token)["active"] is True


def test_an_administrator_sees_the_own_account_and_no_other(bob: Person, charlie: Person, client_app: Client) -> None:
    ours, theirs = connected(client_app, bob.by_key), connected(client_app, charlie.by_key)
    assert ask(Asker(account="acme"), ours.access_token)["active"] is True
    assert ask(Asker(account="acme"), theirs.access_token) == INACTIVE
    assert ask(Asker(), theirs.access_token)["active"] is True


def test_what_ended_is_inactive(bob: Person, client_app: Client, clock: Callable[[float], None]) -> None:
    pair = connected(client_app, bob.by_key)
    revocation.revoke(client=client_app, token=pair.access_token)
    assert ask(Asker(), pair.access_token) == INACTIVE
    assert ask(Asker(), pair.refresh_token)["active"] is True
    second = connected(client_app, bob.by_key)
    clock(3601)
    assert ask(Asker(), second.access_token) == INACTIVE
    revocation.revoke_user_tokens(account="acme", name="bob")
    assert ask(Asker(), second.refresh_token) == INACTIVE


def test_api_keys_and_nonsense_are_inactive(bob: Person) -> None:
    for token in (bob.api_key, "", "ovac_x", "\u2603"):
        assert ask(Asker(), token) == INACTIVE
