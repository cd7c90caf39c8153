"""client_credentials: a client acts as the member that an operator bound it to."""

from typing import Any

import pytest

from ovauth.errors import InvalidScope, UnauthorizedClient
from ovauth.flows import client_credentials
from ovauth.models import Client, Grant
from ovauth.roles import Role
from tests.conftest import ISSUER, Person, registered, works

pytestmark = pytest.mark.django_db


@pytest.fixture
def machine(alice: Person) -> Client:
    client = registered(token_endpoint_auth_method="client_secret_basic")
    Client.objects.filter(pk=client.pk).update(acts_as=alice.member, scope="mcp admin")
    client.refresh_from_db()
    return client


def issue(client: Client, **asked: Any) -> Any:
    return client_credentials.issue(client=client, issuer=ISSUER, **asked)


def test_it_gets_an_access_token_and_no_refresh_token(machine: Client) -> None:
    pair = issue(machine)
    assert works(pair.access_token)
    assert pair.scope == "mcp admin"
    assert pair.refresh_token is None


def test_scopes_shrink_and_never_grow(machine: Client) -> None:
    assert issue(machine, scope="mcp").scope == "mcp"
    with pytest.raises(InvalidScope):
        issue(machine, scope="mcp fs")


def test_scopes_beyond_the_role_are_left_out(machine: Client, alice: Person) -> None:
    alice.member.role = Role.USER
    alice.member.save()
    assert issue(machine).scope == "mcp"


def test_unbound_public_and_deactivated_get_nothing(machine: Client, alice: Person, client_app: Client) -> None:
    with pytest.raises(UnauthorizedClient):
        issue(client_app)
    Client.objects.filter(pk=client_app.pk).update(acts_as=alice.member)
    client_app.refresh_from_db()
    with pytest.raises(UnauthorizedClient):
        issue(client_app)
    alice.member.is_active = False
    alice.member.save()
    with pytest.raises(UnauthorizedClient):
        issue(machine)


def test_unbinding_ends_what_was_issued(machine: Client, bob: Person) -> None:
    pair = issue(machine)
    Client.objects.filter(pk=machine.pk).update(acts_as=bob.member)
    assert not works(pair.access_token)


def test_a_thousand_tokens_are_one_connection(machine: Client) -> None:
    for _ in range(3):
        issue(machine)
    assert Grant.objects.filter(client=machine).count() == 1
