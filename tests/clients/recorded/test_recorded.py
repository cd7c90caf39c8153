"""Every recorded client connects at the first try, refreshes, and reads answers that it can live with.

What the clients are, and where each fact comes from, stands in `recordings`.
"""

import json
from typing import Any

import httpx2
import pytest

from tests.clients.recorded.recordings import RECORDINGS
from tests.clients.recorded.replay import STATE, Replay
from tests.serving import Server

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("recorded")]

MCP_SCOPES = ["mcp", "fs", "admin"]


@pytest.mark.parametrize("name", sorted(RECORDINGS))
def test_the_recorded_client_connects_and_stays_connected(served: Server, name: str) -> None:
    recording = RECORDINGS[name]
    client = Replay(recording, served)
    issuer = client.origin

    for method in recording.first:
        assert_challenged(client.knock(method), issuer)

    answers = client.discover()
    assert [(path, answer.status_code) for path, answer in answers.items()] == list(recording.discovery)
    for path, answer in answers.items():
        assert_json(answer)
        if answer.status_code == 200 and "protected-resource" in path:
            assert answer.json()["resource"] == f"{issuer}/mcp"
            assert answer.json()["authorization_servers"] == [issuer]
        elif answer.status_code == 200:
            assert_metadata(answer.json(), issuer)

    registered = client.register()
    assert registered.status_code == 201, registered.text
    assert_json(registered)
    assert client.client["redirect_uris"] == client.recording.registration["redirect_uris"]
    assert client.client["token_endpoint_auth_method"] == recording.answered_method
    assert ("client_secret" in client.client) == (recording.answered_method != "none")
    assert set(recording.registration.get("grant_types", [])) <= set(client.client["grant_types"])

    returned = client.approved(client.authorize())
    assert returned["redirect_to"] == client.filled(recording.redirect_uri)
    assert returned["state"] == STATE
    assert returned["iss"] == issuer

    first = client.redeem(returned["code"])
    assert_tokens(first, recording.granted)
    opened = client.knock(token=first.json()["access_token"])
    assert opened.status_code == 200, opened.text
    assert client.knock("GET", token=first.json()["access_token"]).status_code == 405  # no stream to wait for: it goes on

    second = client.refresh(first.json()["refresh_token"])
    assert_tokens(second, recording.granted)
    assert client.knock(token=second.json()["access_token"]).status_code == 200


def assert_challenged(answer: httpx2.Response, issuer: str) -> None:
    """RFC 9728 §5.1 and RFC 6750 §3: where to go, and no fault, since nothing was sent."""
    assert answer.status_code == 401
    said = answer.headers["www-authenticate"]
    assert said.startswith("Bearer ")
    assert f'resource_metadata="{issuer}/.well-known/oauth-protected-resource/mcp"' in said
    assert 'scope="mcp"' in said
    assert "error=" not in said


def assert_json(answer: httpx2.Response) -> None:
    assert answer.headers["content-type"] == "application/json", answer.text
    assert nothing_empty(answer.json()), answer.text


def assert_metadata(document: dict[str, Any], issuer: str) -> None:
    assert document["issuer"] == issuer
    assert document["authorization_endpoint"] == f"{issuer}/authorize"
    assert document["token_endpoint"] == f"{issuer}/token"
    assert document["registration_endpoint"] == f"{issuer}/register"
    assert document["scopes_supported"] == MCP_SCOPES
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert {"authorization_code", "refresh_token"} <= set(document["grant_types_supported"])
    assert {"none", "client_secret_basic", "client_secret_post"} <= set(document["token_endpoint_auth_methods_supported"])
    assert document["authorization_response_iss_parameter_supported"] is True


def assert_tokens(answer: httpx2.Response, scope: str) -> None:
    assert answer.status_code == 200, answer.text
    assert_json(answer)
    assert answer.headers["cache-control"] == "no-store"
    tokens = answer.json()
    assert set(tokens) == {"access_token", "token_type", "expires_in", "scope", "refresh_token"}
    assert tokens["token_type"] == "Bearer"
    assert type(tokens["expires_in"]) is int
    assert tokens["expires_in"] > 0
    assert tokens["scope"] == scope


def nothing_empty(document: Any) -> bool:
    """No `null`, no `""` and no `[]` anywhere: clients that check what they read stop at one."""
    return not any(mark in json.dumps(document) for mark in ("null", '""', "[]"))
