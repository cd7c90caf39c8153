"""The main job, end to end: the official client, over real HTTP, against a real `serve` process."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from tests.journeys.people import Browser, OfficialClient, Person
from tests.serving import Server, running

ACCESS_TOKEN_TTL = 2


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data_dir: Path = tmp_path_factory.mktemp("data")
    env = {"OVAUTH_ACCESS_TOKEN_TTL": str(ACCESS_TOKEN_TTL), "OVAUTH_PENDING_TTL": "3"}
    with running(data_dir=data_dir, env=env) as server:
        yield server


@pytest.fixture
def operator(server: Server) -> Person:
    return Person(server.url, server.operator_api_key)


def text_of(result: Any) -> str:
    return "".join(part.text for part in result.content)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize(
    "method", ["none", "client_secret_basic", pytest.param("client_secret_post", marks=pytest.mark.slow)]
)
def test_from_nothing_to_a_tool_call_and_back_to_nothing(server: Server, operator: Person, mode: str, method: str) -> None:
    """401 → discovery → registration → authorize → page → approve → code → token → list → call → expiry → refresh →
    call → revoke → 401."""
    official = OfficialClient(server.url, operator.approve, mode=mode, token_endpoint_auth_method=method)

    async def journey() -> None:
        async with official.connected() as client:
            tools = await client.list_tools()
            assert "whoami" in [tool.name for tool in tools.tools]
            assert "operator" in text_of(await client.call_tool("whoami", {}))
            first = official.storage.tokens
            await anyio.sleep(ACCESS_TOKEN_TTL + 0.2)
            assert "operator" in text_of(await client.call_tool("whoami", {}))
            second = official.storage.tokens
            assert first is not None
            assert second is not None
            assert first.access_token != second.access_token
            assert first.refresh_token != second.refresh_token
            assert first.scope == second.scope == "mcp"

    anyio.run(journey)
    lines = official.recorder.lines
    assert lines[0] == "401 POST /mcp"
    assert "201 POST /register" in lines
    assert lines.count("200 POST /token") == 2  # the code, and one refresh
    assert [line for line in lines if line.startswith(("4", "5"))] == ["401 POST /mcp"]

    tokens = official.storage.tokens
    assert tokens is not None
    assert mcp_status(server, tokens.access_token) != 401
    info = official.storage.client_info
    assert info is not None
    revoke = {"token": str(tokens.refresh_token), "client_id": info.client_id}
    if info.client_secret:
        revoke["client_secret"] = info.client_secret
    assert httpx2.post(f"{server.url}/revoke", data=revoke).status_code == 200
    assert mcp_status(server, tokens.access_token) == 401


def mcp_status(server: Server, token: str) -> int:
    return httpx2.post(
        f"{server.url}/mcp",
        json={"jsonrpc": "2.0", "id": 1, "method": "ping"},
        headers={"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"},
    ).status_code


def test_a_denial_reaches_the_client_and_gives_it_nothing(server: Server, operator: Person) -> None:
    official = OfficialClient(server.url, operator.deny)

    async def journey() -> None:
        async with official.connected():
            pass

    with pytest.raises(BaseException):  # noqa: B017, PT011 the client wraps it in groups of its own
        anyio.run(journey)
    assert official.browser.result()["error"] == "access_denied"
    assert official.browser.result()["iss"] == server.url
    assert official.storage.tokens is None


def begin(server: Server) -> Browser:
    """A browser that shows the code page of a newly registered client."""
    registration = httpx2.post(
        f"{server.url}/register", json={"client_name": "Test", "redirect_uris": ["http://127.0.0.1:33418/callback"]}
    ).json()
    browser = Browser(server.url)
    parameters = {
        "response_type": "code",
        "client_id": registration["client_id"],
        "redirect_uri": "http://127.0.0.1:33418/callback",
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256",
        "state": "s",
    }
    page = browser.open(f"/authorize?{httpx2.QueryParams(parameters)}")
    assert page.status_code == 200, page.text
    return browser


def test_a_request_that_nobody_decides_expires(server: Server, operator: Person) -> None:
    browser = begin(server)
    code = browser.code
    deadline = time.monotonic() + 20
    while browser.status().status_code == 200 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert browser.status().status_code == 410
    assert browser.status().json() == {"status": "expired"}
    assert browser.open(f"/oauth/authorize/page?pending={browser.pending_id}").status_code == 410
    assert operator.decide(code).status_code == 404


def test_a_wrong_code_changes_nothing_and_guessing_is_stopped(server: Server) -> None:
    made = server.manage("create_user", "guesser", "--account", "guess", "--role", "user", "--json")
    guesser = Person(server.url, json.loads(made)["api_key"])
    browser = begin(server)
    answers = [guesser.decide("222222").status_code for _ in range(6)]
    assert answers == [404] * 5 + [429]
    assert guesser.decide(browser.code).status_code == 429
    assert browser.status().json() == {"status": "pending"}


def test_another_browser_sees_neither_code_nor_result(server: Server, operator: Person) -> None:
    browser = begin(server)
    stranger = Browser(server.url)
    page = stranger.open(f"/oauth/authorize/page?pending={browser.pending_id}")
    assert page.status_code == 403
    assert browser.code.replace("-", "") not in page.text.replace("-", "")
    operator.approve(browser)
    assert stranger.status().status_code == 403
    assert "code=" not in stranger.status().text
    assert browser.status().json()["redirect_url"].startswith("http://127.0.0.1:33418/callback?code=ovac_")
