"""Introspection over HTTP (RFC 7662): for clients with a secret, and for administrators."""

import base64
from typing import Any

import pytest
from django.utils import timezone

from ovauth.flows import clients, refresh_token, revocation
from ovauth.models import Client, Tally
from tests.conftest import CALLBACK, ISSUER, RESOURCE, Person, connected
from tests.web.asking import Answer, Site
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


# ------------------------------------------------------------------ the short way, in the event loop (SQLite)


class Ways:
    """The same question on the short way and on the long one."""

    def __init__(self, site: Site, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.site, self.headers, self.monkeypatch = site, headers, monkeypatch

    def ask(self, fields: dict[str, str], headers: dict[str, str] | None = None) -> Answer:
        return self.site.post_form("/introspect", fields, headers=self.headers if headers is None else headers)

    def short(self, *question: Any) -> Answer:
        """Asked while no thread is there: so it was the short way."""
        with self.monkeypatch.context() as without:
            without.setattr("ovauth.threads.protocol", None)
            return self.ask(*question)

    def long(self, *question: Any) -> Answer:
        with self.monkeypatch.context() as without:
            without.setattr("ovauth.web.introspecting.AtAGlance.told", lambda *_: None)
            return self.ask(*question)


@pytest.fixture
def ways(
    transactional_db: None, site: Site, confidential: tuple[Client, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> Ways:
    return Ways(site, confidential[1], monkeypatch)


def without_id(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    return answer.status, {name: value for name, value in answer.headers.items() if name != "x-request-id"}, answer.body


def test_both_ways_say_the_same(
    ways: Ways, confidential: tuple[Client, dict[str, str]], client_app: Client, bob: Person
) -> None:
    pair, other = connected(confidential[0], bob.by_key), connected(client_app, bob.by_key)
    revoked = connected(confidential[0], bob.by_key).access_token
    revocation.revoke(client=confidential[0], token=revoked)
    narrow = refresh_token.rotate(
        client=confidential[0], refresh_token=pair.refresh_token or "", scope="mcp", issuer=ISSUER
    )
    tokens = (pair.access_token, narrow.access_token, narrow.refresh_token, pair.refresh_token, other.access_token)
    answers = []
    for token in (*tokens, revoked, "ovat_unknown", "nothing like a token"):
        answers.append(ways.short({"token": str(token)}))
        assert without_id(answers[-1]) == without_id(ways.long({"token": str(token)}))
        assert answers[-1].headers["x-request-id"]
    assert [answer.json()["active"] for answer in answers] == [True, True, True, False, False, False, False, False]


def test_what_is_not_plain_or_not_right_goes_the_long_way_and_is_judged_there(
    ways: Ways, confidential: tuple[Client, dict[str, str]], bob: Person
) -> None:
    client, _ = confidential
    asked = {"token": connected(client, bob.by_key).access_token}
    wrong = {"Authorization": "Basic " + base64.b64encode(f"{client.client_id}:ovcs_guess".encode()).decode()}
    unreadable = {"Authorization": "Basic ////"}
    for fields, headers, status in (
        (asked, wrong, 401),
        (asked, unreadable, 401),
        (asked, {}, 401),
        (asked | {"client_id": "another"}, None, 400),
        ({}, None, 400),
    ):
        assert ways.ask(fields, headers).status == status
    assert Tally.objects.filter(key__startswith="client secret").count() == 1
    clients.block(client, timezone.now(), blocked=True)
    assert ways.ask(asked).status == 401
