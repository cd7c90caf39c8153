"""RFC 7009 over HTTP: whoever holds a token may end it; nobody learns whether a token exists."""

from collections.abc import Callable
from typing import Any

import pytest

from ovauth.conf import Config
from ovauth.flows.issuance import TokenPair
from ovauth.models import Client
from tests.conftest import Person, connected, registered, works
from tests.web.asking import Answer, Site
from tests.web.conftest import Rows, assert_refused


@pytest.fixture
def pair(client_app: Client, alice: Person) -> TokenPair:
    return connected(client_app, alice.by_key)


def revoke(site: Site, client: Client, token: str | None, **more: Any) -> Answer:
    return site.post_form("/revoke", {"client_id": client.client_id, "token": token} | more)


def assert_done(answer: Answer) -> None:
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["cache-control"] == "no-store"


def test_a_refresh_token_ends_the_whole_grant(site: Site, client_app: Client, pair: TokenPair) -> None:
    assert_done(revoke(site, client_app, pair.refresh_token))
    assert not works(pair.access_token)
    fields = {"grant_type": "refresh_token", "client_id": client_app.client_id, "refresh_token": pair.refresh_token}
    assert_refused(site.post_form("/token", fields), "oauth", status=400, error="invalid_grant")


def test_an_access_token_ends_itself_alone(site: Site, client_app: Client, pair: TokenPair) -> None:
    assert_done(revoke(site, client_app, pair.access_token))
    assert not works(pair.access_token)
    fields = {"grant_type": "refresh_token", "client_id": client_app.client_id, "refresh_token": pair.refresh_token}
    assert site.post_form("/token", fields).status == 200


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "something_else"])
def test_a_wrong_hint_does_no_harm(site: Site, client_app: Client, pair: TokenPair, hint: str) -> None:
    assert_done(revoke(site, client_app, pair.access_token, token_type_hint=hint))
    assert not works(pair.access_token)


@pytest.mark.parametrize("token", ["ovat_unknown", "ovrt_unknown", "nothing like a token", "ä", "x" * 5000])
def test_an_unknown_token_is_no_error_and_nothing_happens(
    site: Site, client_app: Client, pair: TokenPair, rows: Callable[[], Rows], token: str
) -> None:
    before = rows()
    assert_done(revoke(site, client_app, token))
    assert rows() == before


def test_another_clients_token_is_no_error_and_nothing_happens(
    site: Site, pair: TokenPair, rows: Callable[[], Rows]
) -> None:
    stranger = registered()
    before = rows()
    assert_done(revoke(site, stranger, pair.access_token))
    assert_done(revoke(site, stranger, pair.refresh_token))
    assert rows() == before
    assert works(pair.access_token)


def test_twice_is_as_good_as_once(site: Site, client_app: Client, pair: TokenPair) -> None:
    assert_done(revoke(site, client_app, pair.refresh_token))
    assert_done(revoke(site, client_app, pair.refresh_token))


def test_an_api_key_is_no_token_to_revoke(site: Site, client_app: Client, alice: Person) -> None:
    assert_done(revoke(site, client_app, alice.api_key))
    assert works(alice.api_key)


def test_the_token_must_be_named_and_the_client_known(site: Site, client_app: Client, pair: TokenPair) -> None:
    nothing = site.post_form("/revoke", {"client_id": client_app.client_id})
    assert_refused(nothing, "oauth", status=400, error="invalid_request")
    unknown = site.post_form("/revoke", {"client_id": "unknown", "token": pair.access_token})
    assert_refused(unknown, "oauth", status=401, error="invalid_client")
    assert works(pair.access_token)


def test_switched_off_nothing_is_revoked(
    site: Site, client_app: Client, pair: TokenPair, configure: Callable[..., Config], rows: Callable[[], Rows]
) -> None:
    configure(enabled=False)
    before = rows()
    assert_refused(revoke(site, client_app, pair.refresh_token), "oauth", status=404)
    assert rows() == before
