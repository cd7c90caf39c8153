"""Introspection over HTTP (RFC 7662): for clients with a secret, and for administrators."""

import base64

import pytest

from ovauth.flows import clients
from ovauth.models import Client
from tests.conftest import CALLBACK, RESOURCE, Person, connected
from tests.web.asking import Site
from tests.web.conftest import assert_refused


@pytest.fixture
def confidential(db: None) -> tuple[Client, dict[str, str]]:
    made = clients.register(document={"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "client_secret_basic"})
    secret = base64.b64encode(f"{made.client_id}:{made.client_secret}".encode()).decode()
    return Client.objects.get(client_id=made.client_id), {"Authorization": f"Basic {secret}"}


def test_a_client_asks_about_its_token(site: Site, confidential: tuple[Client, dict[str, str]], bob: Person) -> None:
    client, headers = confidential
    pair = connected(client, bob.by_key)
    answer = site.post_form("/introspect", {"token": pair.access_token}, headers=headers)
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["active"] is True
    assert answer.json()["aud"] == RESOURCE
    assert site.post_form("/introspect", {"token": "ovat_x"}, headers=headers).json() == {"active": False}


def test_a_public_client_and_nobody_are_refused(site: Site, client_app: Client) -> None:
    asked = {"token": "ovat_x", "client_id": client_app.client_id}
    assert_refused(site.post_form("/introspect", asked), "oauth", status=401, error="invalid_client")
    assert_refused(site.post_form("/introspect", {"token": "ovat_x"}), "oauth", status=401, error="invalid_client")


def test_an_administrator_asks_with_an_api_key_about_the_own_account(
    site: Site, alice: Person, bob: Person, charlie: Person, root: Person, client_app: Client
) -> None:
    ours, theirs = connected(client_app, bob.by_key), connected(client_app, charlie.by_key)

    def active(token: str, key: str) -> object:
        return site.post_form("/introspect", {"token": token}, key=key).json()["active"]

    assert active(ours.access_token, alice.api_key) is True
    assert active(theirs.access_token, alice.api_key) is False
    assert active(theirs.access_token, root.api_key) is True
    answer = site.post_form("/introspect", {"token": ours.access_token}, key=bob.api_key)
    assert_refused(answer, "oauth", status=403)
    with_a_token = site.post_form("/introspect", {"token": ours.access_token}, key=ours.access_token)
    assert_refused(with_a_token, "oauth", status=403)
