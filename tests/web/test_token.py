"""The token endpoint (OAuth 2.1 §3.2, RFC 6749 §5) over HTTP: forms, client authentication, answers and refusals."""

import base64
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_plus

import pytest

from ovauth.conf import Config
from ovauth.flows import clients
from ovauth.models import Client
from tests.conftest import CALLBACK, ISSUER, RESOURCE, VERIFIER, Person, approved, connected, registered, works
from tests.web.asking import Answer, Site
from tests.web.conftest import Rows, assert_refused


@pytest.fixture
def code(client_app: Client, alice: Person) -> str:
    return approved(client_app, alice.by_key)


def redeem(site: Site, client: Client, granted: str, /, *, headers: dict[str, str] | None = None, **changes: Any) -> Answer:
    fields = {
        "grant_type": "authorization_code",
        "client_id": client.client_id,
        "code": granted,
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
    } | changes
    return site.post_form("/token", {k: v for k, v in fields.items() if v is not None}, headers=headers or {})


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def confidential(method: str = "client_secret_basic") -> tuple[Client, str]:
    made = clients.register(document={"redirect_uris": [CALLBACK], "token_endpoint_auth_method": method})
    assert made.client_secret is not None
    return Client.objects.get(client_id=made.client_id), made.client_secret


# ------------------------------------------------------------------ answers


def test_a_code_becomes_tokens(site: Site, client_app: Client, code: str) -> None:
    answer = redeem(site, client_app, code)
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    body = answer.json()
    assert set(body) == {"access_token", "token_type", "expires_in", "scope", "refresh_token"}
    assert body["token_type"] == "Bearer"
    assert type(body["expires_in"]) is int
    assert body["expires_in"] > 0
    assert body["scope"] == "mcp"
    assert works(body["access_token"])


def test_a_refresh_token_becomes_tokens(site: Site, client_app: Client, alice: Person) -> None:
    first = connected(client_app, alice.by_key)
    fields = {"grant_type": "refresh_token", "client_id": client_app.client_id, "refresh_token": first.refresh_token}
    answer = site.post_form("/token", fields)
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["refresh_token"] != first.refresh_token
    assert works(body["access_token"])


def test_a_client_without_the_refresh_grant_gets_no_null_for_it(site: Site, alice: Person) -> None:
    client = registered(grant_types=["authorization_code"])
    body = redeem(site, client, approved(client, alice.by_key)).json()
    assert "refresh_token" not in body
    assert None not in body.values()
    fields = {"grant_type": "refresh_token", "client_id": client.client_id, "refresh_token": "ovrt_x"}
    assert_refused(site.post_form("/token", fields), "oauth", status=400, error="unauthorized_client")


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"grant_type": None}, "invalid_request"),
        ({"grant_type": ""}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "AUTHORIZATION_CODE"}, "unsupported_grant_type"),
        ({"code": None}, "invalid_request"),
        ({"code": "ovac_unknown"}, "invalid_grant"),
        ({"code": "ä😀"}, "invalid_grant"),
        ({"code_verifier": None}, "invalid_grant"),
        ({"code_verifier": VERIFIER[:-1] + "x"}, "invalid_grant"),
        ({"code_verifier": "short"}, "invalid_grant"),
        ({"redirect_uri": "http://127.0.0.1:33419/callback"}, "invalid_grant"),
        ({"resource": "https://elsewhere.example/mcp"}, "invalid_target"),
        ({"resource": [RESOURCE, "https://elsewhere.example/mcp"]}, "invalid_target"),
        ({"code": ["a", "b"]}, "invalid_request"),
        ({"client_id": ["a", "b"]}, "invalid_request"),
        ({"anything": ["a", "b"]}, "invalid_request"),
    ],
)
def test_a_faulty_request_is_refused_and_spends_nothing(
    site: Site, client_app: Client, code: str, rows: Callable[[], Rows], changes: dict[str, Any], error: str
) -> None:
    before = rows()
    assert_refused(redeem(site, client_app, code, **changes), "oauth", status=400, error=error)
    assert rows() == before
    assert redeem(site, client_app, code).status == 200


def test_the_resource_may_be_repeated_but_not_differ(site: Site, client_app: Client, code: str) -> None:
    assert redeem(site, client_app, code, resource=[RESOURCE, f"{RESOURCE}/", ISSUER]).status == 200


def test_another_clients_code_is_no_code(site: Site, client_app: Client, code: str, rows: Callable[[], Rows]) -> None:
    thief = registered()
    before = rows()
    answer = redeem(site, thief, code)
    assert_refused(answer, "oauth", status=400, error="invalid_grant")
    assert answer.body == redeem(site, thief, "ovac_unknown").body
    assert rows() == before
    assert redeem(site, client_app, code).status == 200


def test_a_code_works_once_and_its_replay_ends_the_first_tokens(site: Site, client_app: Client, code: str) -> None:
    body = redeem(site, client_app, code).json()
    assert_refused(redeem(site, client_app, code), "oauth", status=400, error="invalid_grant")
    assert not works(body["access_token"])


# ------------------------------------------------------------------ client authentication


@pytest.mark.parametrize("registered_method", ["client_secret_basic", "client_secret_post"])
@pytest.mark.parametrize("used", ["header", "body"])
def test_a_secret_may_come_either_way_whatever_was_registered(
    site: Site, alice: Person, registered_method: str, used: str
) -> None:
    client, secret = confidential(registered_method)
    code = approved(client, alice.by_key)
    if used == "header":
        answer = redeem(site, client, code, headers=basic(client.client_id, secret), client_id=None)
    else:
        answer = redeem(site, client, code, client_secret=secret)
    assert answer.status == 200


@pytest.mark.parametrize("way", ["none", "wrong in body", "wrong in header", "empty in header", "another client's"])
def test_a_confidential_client_proves_itself(site: Site, alice: Person, rows: Callable[[], Rows], way: str) -> None:
    client, _ = confidential()
    _, foreign = confidential()
    code = approved(client, alice.by_key)
    before = rows()
    headers, fields = {
        "none": ({}, {}),
        "wrong in body": ({}, {"client_secret": "ovcs_wrong"}),
        "wrong in header": (basic(client.client_id, "ovcs_wrong"), {}),
        "empty in header": (basic(client.client_id, ""), {}),
        "another client's": ({}, {"client_secret": foreign}),
    }[way]
    answer = redeem(site, client, code, headers=headers, **fields)
    assert_refused(answer, "oauth", status=401, error="invalid_client")
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert rows() == before


def test_a_public_client_may_name_itself_by_basic_with_an_empty_password(site: Site, client_app: Client, code: str) -> None:
    answer = redeem(site, client_app, code, headers=basic(client_app.client_id, ""), client_id=None)
    assert answer.status == 200


def test_a_public_client_has_no_secret_to_send(site: Site, client_app: Client, code: str) -> None:
    assert_refused(redeem(site, client_app, code, client_secret="x"), "oauth", status=401, error="invalid_client")


def test_basic_credentials_are_form_encoded_before_they_are_joined(site: Site, alice: Person) -> None:
    client, secret = confidential()
    code = approved(client, alice.by_key)
    encoded = "".join(f"%{ord(character):02X}" for character in secret)
    answer = redeem(site, client, code, headers=basic(quote_plus(client.client_id), encoded), client_id=None)
    assert answer.status == 200


def test_two_ways_at_once_are_refused_not_chosen_from(site: Site, alice: Person, rows: Callable[[], Rows]) -> None:
    client, secret = confidential()
    code = approved(client, alice.by_key)
    before = rows()
    both = redeem(site, client, code, headers=basic(client.client_id, secret), client_secret=secret)
    assert_refused(both, "oauth", status=400, error="invalid_request")
    mixed = redeem(site, client, code, headers=basic(client.client_id, secret), client_id="another")
    assert_refused(mixed, "oauth", status=400, error="invalid_request")
    twice = site.post_form(
        "/token",
        {"grant_type": "authorization_code", "code": code},
        headers=[*basic(client.client_id, secret).items()] * 2,
    )
    assert_refused(twice, "oauth", status=401, error="invalid_client")
    assert rows() == before


@pytest.mark.parametrize("client_id", ["unknown", "https://client.example/metadata", "ä", "'; DROP TABLE", "x" * 5000])
def test_an_unknown_client_is_told_to_register_again(site: Site, db: None, client_id: str) -> None:
    fields = {"grant_type": "authorization_code", "code": "ovac_x", "client_id": client_id}
    assert_refused(site.post_form("/token", fields), "oauth", status=401, error="invalid_client")


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b":only secret").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:x").decode(),
        "Basic " + base64.b64encode(b"a%00b:x").decode(),
        "Basic " + base64.b64encode(b"a\x00b:x").decode(),
        "Bearer ovat_x",
        "Digest x",
        "\xe4",
        "",
    ],
)
def test_an_unreadable_authorization_header_is_no_client(
    site: Site, client_app: Client, code: str, rows: Callable[[], Rows], header: str
) -> None:
    before = rows()
    answer = redeem(site, client_app, code, headers={"Authorization": header})
    assert_refused(answer, "oauth", status=401, error="invalid_client")
    assert rows() == before


def test_no_client_at_all_is_no_client(site: Site, db: None) -> None:
    answer = site.post_form("/token", {"grant_type": "authorization_code", "code": "ovac_x"})
    assert_refused(answer, "oauth", status=401, error="invalid_client")


def test_a_guesser_of_secrets_is_slowed_down_and_not_the_client(site: Site, alice: Person) -> None:
    client, secret = confidential()
    code = approved(client, alice.by_key)
    answers = [redeem(site, client, code, client_secret=f"ovcs_{guess}").status for guess in range(31)]
    assert answers == [401] * 30 + [429]
    stopped = redeem(site, client, code, client_secret="ovcs_again")
    assert_refused(stopped, "oauth", status=429, error="too_many_requests")
    assert int(stopped.headers["retry-after"]) > 0
    site.peer = "203.0.113.99"
    assert redeem(site, client, code, client_secret=secret).status == 200


def test_a_parameter_in_the_query_is_not_read(site: Site, client_app: Client, code: str) -> None:
    answer = site.ask(
        "POST",
        "/token",
        query={"grant_type": "authorization_code", "client_id": client_app.client_id, "code": code},
        content_type="application/x-www-form-urlencoded",
    )
    assert_refused(answer, "oauth", status=401, error="invalid_client")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_tokens_are_had_by_post_alone(site: Site, db: None, method: str) -> None:
    answer = site.ask(method, "/token")
    assert answer.status == 405
    assert answer.headers["allow"] == "POST"
    if method != "HEAD":
        assert_refused(answer, "oauth", status=405, error="method_not_allowed")


def test_a_slash_too_many_is_a_json_404_and_no_redirect(site: Site, client_app: Client, code: str) -> None:
    answer = site.post_form("/token/", {"grant_type": "authorization_code", "code": code})
    assert_refused(answer, "oauth", status=404, error="not_found")


def test_switched_off_there_are_no_tokens(
    site: Site, client_app: Client, code: str, configure: Callable[..., Config], rows: Callable[[], Rows]
) -> None:
    configure(enabled=False)
    before = rows()
    assert_refused(redeem(site, client_app, code), "oauth", status=404, error="not_found")
    assert rows() == before
