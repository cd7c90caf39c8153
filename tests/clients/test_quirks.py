"""One test for each row of the table of quirks in docs/clients.md: it fails without the behaviour that the row promises."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.clients.recorded.recordings import RECORDINGS
from tests.clients.recorded.replay import STATE, Replay
from tests.serving import Server

pytestmark = pytest.mark.xdist_group("recorded")

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "clients.md"


@pytest.fixture
def sdk(served: Server) -> Replay:
    return Replay(RECORDINGS["typescript-sdk"], served)


def test_the_table_has_a_row_for_every_test_and_a_test_for_every_row() -> None:
    rows = re.findall(r"\| `(test_\w+)` \|$", GUIDE.read_text("utf-8"), re.MULTILINE)
    tests = [name for name in globals() if name.startswith("test_") and not name.startswith("test_the_table")]
    assert len(rows) >= 20
    assert rows == tests


# ------------------------------------------------------------------ discovery


def test_the_issuer_is_the_same_bytes_everywhere(served: Server) -> None:
    client = Replay(RECORDINGS["claude-web"], served)
    documents = [client.http.get(path).json() for path, _ in client.recording.discovery]
    challenge = client.knock().headers["www-authenticate"]
    client.register()
    refused = client.authorize(response_type="token")
    denied = dict(re.findall(r"[?&](iss|error)=([^&]+)", refused.headers["location"]))
    assert documents[0]["authorization_servers"] == [client.origin]
    assert documents[1]["issuer"] == client.origin
    assert f'resource_metadata="{client.origin}/.well-known/' in challenge
    assert denied == {"error": "unsupported_response_type", "iss": "https%3A%2F%2Fov.example.com"}


@pytest.mark.parametrize(
    "path",
    [
        "/.well-known/oauth-authorization-server/mcp",
        "/.well-known/openid-configuration/mcp",
        "/.well-known/oauth-authorization-server/mcp/",
        "/.well-known/oauth-protected-resource/sse",
        "/.well-known/jwks.json",
    ],
)
def test_a_document_that_is_not_there_is_a_json_404(sdk: Replay, path: str) -> None:
    answer = sdk.http.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"error": "not_found"}


def test_the_metadata_are_at_both_well_known_names(sdk: Replay) -> None:
    names = ("oauth-authorization-server", "openid-configuration")
    oauth, openid = (sdk.http.get(f"/.well-known/{name}") for name in names)
    assert oauth.status_code == openid.status_code == 200
    assert oauth.json() == openid.json()


def test_the_endpoints_have_the_names_that_clients_guess(served: Server) -> None:
    client = Replay(RECORDINGS["claude-web"], served)
    client.discover()
    guessed = {f"{name}_endpoint": f"{client.origin}/{name}" for name in ("token",)}
    guessed |= {
        "authorization_endpoint": f"{client.origin}/authorize",
        "registration_endpoint": f"{client.origin}/register",
    }
    assert {name: client.metadata[name] for name in guessed} == guessed


def test_both_spellings_of_the_server_answer_without_a_redirect(sdk: Replay) -> None:
    token = sdk.connected()["access_token"]
    assert [sdk.knock(path=path).status_code for path in ("/mcp", "/mcp/")] == [401, 401]
    assert [sdk.knock(path=path, token=token).status_code for path in ("/mcp", "/mcp/")] == [200, 200]


@pytest.mark.parametrize("path", ["/.well-known/oauth-protected-resource/mcp", "/register", "/token", "/mcp"])
def test_a_web_page_may_ask_and_reads_the_challenge(served: Server, path: str) -> None:
    inspector = Replay(RECORDINGS["inspector-web"], served)
    preflight = inspector.http.options(
        path,
        headers={
            "access-control-request-method": "GET" if "well-known" in path else "POST",
            "access-control-request-headers": "authorization,content-type,mcp-protocol-version",
        },
    )
    assert preflight.status_code == 200, preflight.text
    assert preflight.headers["access-control-allow-origin"] == "*"
    allowed = preflight.headers["access-control-allow-headers"].lower()
    assert {"authorization", "content-type", "mcp-protocol-version"} <= set(re.split(", *", allowed))
    refused = inspector.knock()
    assert refused.headers["access-control-allow-origin"] == "*"
    assert "www-authenticate" in refused.headers["access-control-expose-headers"].lower()


def test_a_stream_that_is_not_offered_is_405(sdk: Replay) -> None:
    answer = sdk.knock("GET", token=sdk.connected()["access_token"])
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


# ------------------------------------------------------------------ registration


def test_an_answer_has_no_null_and_no_empty_member(sdk: Replay) -> None:
    answer = sdk.register(client_uri="", logo_uri=None, contacts=[], tos_uri="", jwks_uri=None, scope=None)
    assert answer.status_code == 201, answer.text
    assert not re.search(r'null|""|\[\]', answer.text), answer.text


def test_a_client_that_registered_no_scope_may_ask_for_any(served: Server) -> None:
    client = Replay(RECORDINGS["claude-code"], served)
    assert "scope" not in client.recording.registration
    assert client.connected()["scope"] == "mcp fs admin"


def test_cursor_is_a_native_app_whatever_it_calls_itself(served: Server) -> None:
    cursor = Replay(RECORDINGS["cursor"], served)
    answer = cursor.register()
    assert answer.status_code == 201, answer.text
    assert answer.json()["application_type"] == "native"
    returned = cursor.approved(cursor.authorize())
    assert returned["redirect_to"] == "cursor://anysphere.cursor-mcp/oauth/callback"


@pytest.mark.parametrize("method", ["none", "client_secret_basic", "client_secret_post"])
def test_the_answer_names_the_method_that_was_asked_for(sdk: Replay, method: str) -> None:
    answer = sdk.register(token_endpoint_auth_method=method).json()
    assert answer["token_endpoint_auth_method"] == method
    assert ("client_secret" in answer) == (method != "none")


def test_registering_again_ends_no_connection(served: Server) -> None:
    client = Replay(RECORDINGS["claude-code"], served)
    first, first_id = client.connected(), client.client["client_id"]
    client.connected()
    assert client.client["client_id"] != first_id
    assert client.knock(token=first["access_token"]).status_code == 200
    client.client["client_id"] = first_id
    assert client.refresh(first["refresh_token"]).status_code == 200


# ------------------------------------------------------------------ authorization


def test_the_port_on_loopback_may_change(served: Server) -> None:
    copilot = Replay(RECORDINGS["copilot-cli"], served)
    copilot.register()
    assert copilot.approved(copilot.authorize())["redirect_to"] == "http://127.0.0.1:41007/"
    assert copilot.authorize(redirect_uri="http://127.0.0.1:41007/elsewhere").status_code == 400


def test_a_state_comes_back_byte_for_byte(served: Server) -> None:
    vscode = Replay(RECORDINGS["vscode"], served)
    vscode.register()
    assert vscode.approved(vscode.authorize())["state"] == STATE
    spaced = "a b+c%2F/?&=é"
    assert vscode.approved(vscode.authorize(state=spaced))["state"] == spaced


def test_no_scope_means_the_defaults_and_the_answer_says_so(served: Server) -> None:
    cursor = Replay(RECORDINGS["cursor"], served)
    assert "scope" not in cursor.recording.authorize
    assert cursor.connected()["scope"] == "mcp"


@pytest.mark.parametrize("scope", ["mcp offline_access", "openid profile email offline_access", "mcp read:everything"])
def test_scopes_of_other_servers_are_dropped_and_a_refresh_token_comes_anyway(sdk: Replay, scope: str) -> None:
    sdk.register()
    answer = sdk.redeem(sdk.approved(sdk.authorize(scope=scope))["code"]).json()
    assert answer["scope"] == "mcp"
    assert answer["refresh_token"]


def test_who_may_have_less_than_was_asked_gets_that(served: Server) -> None:
    n8n = Replay(RECORDINGS["n8n"], served)
    key = served.create_user("less", role="user")
    granted = n8n.connected(api_key=key)["scope"].split()
    assert "mcp" in granted
    assert "admin" not in granted


def test_parameters_that_it_does_not_know_are_ignored(sdk: Replay) -> None:
    sdk.register()
    begun = sdk.authorize(
        prompt="consent", access_type="offline", ui_locales="de en", nonce="n", audience="x", display="popup"
    )
    assert sdk.approved(begun)["code"]


@pytest.mark.parametrize("resource", ["{issuer}/mcp/", "{issuer}", "{issuer}/", "{shouted}/mcp", None])
def test_the_resource_may_be_spelled_in_several_ways(sdk: Replay, resource: str | None) -> None:
    spelled = resource and sdk.filled(resource.replace("{shouted}", sdk.origin.replace("http", "HTTP")))
    sdk.register()
    answer = sdk.redeem(sdk.approved(sdk.authorize(resource=spelled))["code"], resource=None)
    assert sdk.knock(token=answer.json()["access_token"]).status_code == 200
    assert "error=invalid_target" in sdk.authorize(resource="https://other.example/mcp").headers["location"]


# ------------------------------------------------------------------ tokens


@pytest.mark.parametrize("registered", ["client_secret_basic", "client_secret_post"])
@pytest.mark.parametrize("used", ["basic", "post"])
def test_a_secret_may_come_either_way(sdk: Replay, registered: str, used: str) -> None:
    sdk.register(token_endpoint_auth_method=registered)
    answer = sdk.redeem(sdk.approved(sdk.authorize())["code"], authenticates=used)
    assert answer.status_code == 200, answer.text
    assert sdk.refresh(answer.json()["refresh_token"], authenticates=used).status_code == 200


def test_a_public_client_may_send_an_empty_secret(sdk: Replay) -> None:
    sdk.register()
    code = sdk.approved(sdk.authorize())["code"]
    answer = sdk.redeem(code, authenticates="basic-without-secret")
    assert answer.status_code == 200, answer.text
    assert sdk.refresh(answer.json()["refresh_token"], client_secret="").status_code == 200


def test_the_redirect_uri_may_be_left_out_at_the_token_endpoint(sdk: Replay) -> None:
    sdk.register()
    code = sdk.approved(sdk.authorize())["code"]
    assert sdk.redeem(code, redirect_uri="http://127.0.0.1:1/callback").json()["error"] == "invalid_grant"
    assert sdk.redeem(code, redirect_uri=None).status_code == 200


def test_numbers_are_numbers_and_the_scope_is_always_there(sdk: Replay) -> None:
    first = sdk.connected()
    for tokens in (first, sdk.refresh(first["refresh_token"]).json()):
        assert type(tokens["expires_in"]) is int
        assert tokens["expires_in"] > 0
        assert tokens["scope"] == "mcp"
        assert tokens["token_type"] == "Bearer"


def test_processes_that_share_a_refresh_token_stay_signed_in(served: Server) -> None:
    client = Replay(RECORDINGS["claude-code"], served)
    shared = client.connected()["refresh_token"]
    with ThreadPoolExecutor(4) as processes:
        answers = list(processes.map(lambda _: client.refresh(shared), range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    assert all(client.knock(token=answer.json()["access_token"]).status_code == 200 for answer in answers)


def test_a_client_that_is_gone_is_told_to_register_again(sdk: Replay) -> None:
    tokens = sdk.connected()
    gone = sdk.http.delete(
        f"/register/{sdk.client['client_id']}",
        headers={"authorization": f"Bearer {sdk.client['registration_access_token']}"},
    )
    assert gone.status_code == 204
    answer = sdk.refresh(tokens["refresh_token"])
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert sdk.connected()["access_token"]


def test_a_dead_token_is_told_apart_from_a_missing_one(sdk: Replay) -> None:
    tokens = sdk.connected()
    sdk.http.post("/revoke", data={"client_id": sdk.client["client_id"], "token": tokens["access_token"]})
    answer = sdk.knock(token=tokens["access_token"])
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert "error=" not in sdk.knock().headers["www-authenticate"]
    renewed = sdk.refresh(tokens["refresh_token"]).json()
    assert sdk.knock(token=renewed["access_token"]).status_code == 200
