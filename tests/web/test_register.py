"""RFC 7591 registration and RFC 7592 management, over HTTP."""

import base64
from collections.abc import Callable
from typing import Any

import pytest

from ovauth.conf import Config
from ovauth.models import Client
from tests.conftest import CALLBACK, ISSUER, Person, connected, works
from tests.web.asking import JSON, Site
from tests.web.conftest import Rows, assert_refused

DOCUMENT = {"client_name": "Claude Code", "redirect_uris": [CALLBACK]}


def test_an_app_on_a_computer_becomes_a_public_client(site: Site) -> None:
    answer = site.post_json("/register", DOCUMENT)
    assert answer.status == 201
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    assert made["client_name"] == "Claude Code"
    assert made["redirect_uris"] == [CALLBACK]
    assert made["token_endpoint_auth_method"] == "none"
    assert made["grant_types"] == ["authorization_code", "refresh_token"]
    assert made["response_types"] == ["code"]
    assert made["scope"] == "mcp"
    assert made["application_type"] == "native"
    assert made["registration_client_uri"] == f"{ISSUER}/register/{made['client_id']}"
    assert made["registration_access_token"].startswith("ovreg_")
    assert isinstance(made["client_id_issued_at"], int)
    assert "client_secret" not in made
    assert "client_secret_expires_at" not in made


def test_a_hosted_app_gets_a_secret_that_does_not_expire(site: Site) -> None:
    made = site.post_json("/register", {"redirect_uris": ["https://app.example/callback"]}).json()
    assert made["token_endpoint_auth_method"] == "client_secret_basic"
    assert made["client_secret"].startswith("ovcs_")
    assert made["client_secret_expires_at"] == 0


@pytest.mark.parametrize(
    "document",
    [
        DOCUMENT,
        {"redirect_uris": [CALLBACK]},
        {"redirect_uris": [CALLBACK], "client_name": "", "logo_uri": None, "contacts": [], "scope": "", "jwks": None},
        {"redirect_uris": ["https://a.example/cb"], "client_uri": "https://a.example", "software_id": "x"},
    ],
)
def test_an_answer_has_no_null_and_nothing_empty(site: Site, document: dict[str, Any]) -> None:
    made = site.post_json("/register", document).json()
    assert all(value not in (None, "", []) for value in made.values()), made


def test_registration_data_chooses_no_identifier_and_no_secret(site: Site) -> None:
    chosen = {
        "client_id": "mine",
        "client_secret": "mine",
        "registration_access_token": "mine",
        "client_id_issued_at": 1,
        "access_token_ttl": 10**9,
        "origin": "manual",
        "blocked_at": None,
        "unknown": {"a": 1},
    }
    made = site.post_json("/register", DOCUMENT | chosen).json()
    assert "mine" not in made.values()
    assert "unknown" not in made
    assert Client.objects.get(client_id=made["client_id"]).access_token_ttl is None


def test_every_registration_is_a_client_of_its_own(site: Site) -> None:
    first, second = (site.post_json("/register", DOCUMENT).json() for _ in range(2))
    assert first["client_id"] != second["client_id"]
    assert first["registration_access_token"] != second["registration_access_token"]


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({}, "invalid_redirect_uri"),
        ({"redirect_uris": []}, "invalid_redirect_uri"),
        ({"redirect_uris": "http://127.0.0.1/cb"}, "invalid_redirect_uri"),
        ({"redirect_uris": [1]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["http://example.com/cb"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://example.com/cb#f"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://*.example.com/cb"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://u:p@example.com/cb"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://a.example/“quotes”"]}, "invalid_redirect_uri"),
        ({"redirect_uris": [CALLBACK], "client_name": ["x"]}, "invalid_client_metadata"),
        ({"redirect_uris": [CALLBACK], "client_name": "x" * 201}, "invalid_client_metadata"),
        ({"redirect_uris": [CALLBACK], "logo_uri": "javascript:alert(1)"}, "invalid_client_metadata"),
        ({"redirect_uris": [CALLBACK], "client_uri": "http://a.example"}, "invalid_client_metadata"),
        ({"redirect_uris": [CALLBACK], "grant_types": ["password"]}, "invalid_client_metadata"),
        ({"redirect_uris": [CALLBACK], "response_types": ["token"]}, "invalid_client_metadata"),
        ({"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "tls_client_auth"}, "invalid_client_metadata"),
        ({"redirect_uris": [CALLBACK], "scope": 'mcp"'}, "invalid_client_metadata"),
    ],
)
def test_what_cannot_be_registered_is_refused_in_the_words_of_the_rfc(
    site: Site, rows: Callable[[], Rows], document: dict[str, Any], error: str
) -> None:
    before = rows()
    assert_refused(site.post_json("/register", document), "oauth", status=400, error=error)
    assert rows() == before


def test_registration_may_be_switched_off(site: Site, configure: Callable[..., Config], rows: Callable[[], Rows]) -> None:
    configure(registration="off")
    before = rows()
    assert_refused(site.post_json("/register", DOCUMENT), "oauth", status=403, error="access_denied")
    assert rows() == before


def test_registration_may_need_the_key_of_an_administrator(
    site: Site, configure: Callable[..., Config], alice: Person, bob: Person, client_app: Client
) -> None:
    token = connected(client_app, alice.by_key).access_token
    configure(registration="token")
    nobody = site.post_json("/register", DOCUMENT)
    assert_refused(nobody, "oauth", status=401, error="invalid_token")
    assert nobody.headers["www-authenticate"].startswith("Bearer")
    assert_refused(site.post_json("/register", DOCUMENT, key="ovk_wrong"), "oauth", status=401, error="invalid_token")
    assert_refused(site.post_json("/register", DOCUMENT, key=bob.api_key), "oauth", status=403, error="access_denied")
    assert_refused(site.post_json("/register", DOCUMENT, key=token), "oauth", status=403, error="access_denied")
    assert site.post_json("/register", DOCUMENT, key=alice.api_key).status == 201


# ------------------------------------------------------------------ RFC 7592


@pytest.fixture
def made(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = site.post_json("/register", DOCUMENT).json()
    return found


def path(made: dict[str, Any]) -> str:
    return f"/register/{made['client_id']}"


def test_a_client_reads_what_is_stored_about_it(site: Site, made: dict[str, Any]) -> None:
    answer = site.get(path(made), key=made["registration_access_token"])
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == made


def test_a_client_replaces_what_is_stored_about_it(site: Site, made: dict[str, Any]) -> None:
    changed = {"client_id": made["client_id"], "client_name": "New", "redirect_uris": ["http://localhost/new"]}
    answer = site.ask("PUT", path(made), body=_json(changed), content_type=JSON, key=made["registration_access_token"])
    assert answer.status == 200
    assert answer.json()["client_name"] == "New"
    assert answer.json()["redirect_uris"] == ["http://localhost/new"]
    assert site.get(path(made), key=made["registration_access_token"]).json() == answer.json()


def test_a_secret_is_given_once_and_never_chosen(site: Site, made: dict[str, Any]) -> None:
    key = made["registration_access_token"]
    confidential = {"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "client_secret_post"}
    first = site.ask("PUT", path(made), body=_json(confidential), content_type=JSON, key=key).json()
    assert first["client_secret"].startswith("ovcs_")
    assert "client_secret" not in site.get(path(made), key=key).json()
    second = site.ask("PUT", path(made), body=_json(confidential), content_type=JSON, key=key).json()
    assert "client_secret" not in second


def test_a_client_cannot_rename_itself(site: Site, made: dict[str, Any], rows: Callable[[], Rows]) -> None:
    before = rows()
    answer = site.ask(
        "PUT",
        path(made),
        body=_json(DOCUMENT | {"client_id": "another"}),
        content_type=JSON,
        key=made["registration_access_token"],
    )
    assert_refused(answer, "oauth", status=400, error="invalid_client_metadata")
    assert rows() == before


def test_deleting_a_client_ends_everything_that_it_held(site: Site, made: dict[str, Any], alice: Person) -> None:
    token = connected(Client.objects.get(client_id=made["client_id"]), alice.by_key).access_token
    assert works(token)
    answer = site.ask("DELETE", path(made), key=made["registration_access_token"])
    assert (answer.status, answer.body) == (204, b"")
    assert "content-type" not in answer.headers
    assert not works(token)
    assert_refused(site.get(path(made), key=made["registration_access_token"]), "oauth", status=401)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_an_unknown_client_and_a_wrong_token_are_answered_alike(
    site: Site, made: dict[str, Any], method: str, rows: Callable[[], Rows]
) -> None:
    other = site.post_json("/register", DOCUMENT).json()
    before = rows()
    body = {"body": _json(DOCUMENT), "content_type": JSON} if method == "PUT" else {}
    answers = [
        site.ask(method, path(made), key="ovreg_wrong", **body),
        site.ask(method, path(made), key=other["registration_access_token"], **body),
        site.ask(method, "/register/unknown", key="ovreg_wrong", **body),
        site.ask(method, "/register/unknown", key=made["registration_access_token"], **body),
    ]
    for answer in answers:
        assert_refused(answer, "oauth", status=401, error="invalid_token")
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert len({answer.body for answer in answers}) == 1
    assert rows() == before


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic " + base64.b64encode(b"a:b").decode()},
    ],
)
def test_management_needs_its_own_token(site: Site, made: dict[str, Any], headers: dict[str, str]) -> None:
    assert_refused(site.get(path(made), headers=headers), "oauth", status=401, error="invalid_token")


def test_neither_an_api_key_nor_two_credentials_manage_a_client(site: Site, made: dict[str, Any], root: Person) -> None:
    assert_refused(site.get(path(made), key=root.api_key), "oauth", status=401)
    token = made["registration_access_token"]
    twice = [("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")]
    assert_refused(site.get(path(made), headers=twice), "oauth", status=401)
    both = [("Authorization", f"Bearer {token}"), ("X-Api-Key", token)]
    assert_refused(site.get(path(made), headers=both), "oauth", status=401)


def test_a_token_in_the_query_is_no_token(site: Site, made: dict[str, Any]) -> None:
    query = {"access_token": made["registration_access_token"]}
    assert_refused(site.get(path(made), query=query), "oauth", status=401)


def test_a_client_made_by_an_operator_has_no_management(site: Site, db: None) -> None:
    from ovauth.flows import clients

    by_hand = clients.make(name="x", redirect_uris=[CALLBACK], token_endpoint_auth_method="none")
    assert_refused(site.get(f"/register/{by_hand.client_id}", key="ovreg_x"), "oauth", status=401)


@pytest.mark.parametrize("registered_path", ["/register/", "/register/a/b", "/register/\0"])
def test_paths_beside_it_are_json_too(site: Site, registered_path: str) -> None:
    assert_refused(site.get(registered_path, key="ovreg_x"), "oauth", status=404, error="not_found")


@pytest.mark.parametrize(("method", "allowed"), [("GET", "POST"), ("PUT", "POST"), ("DELETE", "POST")])
def test_registering_is_a_post(site: Site, method: str, allowed: str) -> None:
    answer = site.ask(method, "/register")
    assert_refused(answer, "oauth", status=405, error="method_not_allowed")
    assert answer.headers["allow"] == allowed


def _json(document: Any) -> bytes:
    import json

    return json.dumps(document).encode()
