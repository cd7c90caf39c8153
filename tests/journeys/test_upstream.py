"""An MCP server that runs elsewhere, behind a real `serve`: official clients through it, and all that can go wrong."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from ovauth.resource import upstream
from ovauth.tools import Oddity
from tests.journeys import lost_answers
from tests.journeys.people import OfficialClient, Person
from tests.journeys.test_step_up import signed_in
from tests.journeys.upstreams import KEY, elsewhere, free_port
from tests.serving import Server, running

pytestmark = pytest.mark.xdist_group("upstream")  # its servers are started once

HEADERS = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-11-25"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("upstream")


@pytest.fixture(scope="module")
def stateless(folder: Path) -> Iterator[Server]:
    env = {"OVAUTH_UPSTREAM_API_KEY": KEY, "OVAUTH_UPSTREAM_HEADER": "X-Api-Key"}
    with (
        elsewhere("stateless", folder) as url,
        running(data_dir=folder / "stateless", env=env | {"OVAUTH_UPSTREAM_MCP_URL": url}) as server,
    ):
        yield server


@pytest.fixture(scope="module")
def stateful(folder: Path) -> Iterator[Server]:
    with (
        elsewhere("stateful", folder) as url,
        running(data_dir=folder / "stateful", env={"OVAUTH_UPSTREAM_MCP_URL": url}, args=("--workers", "2")) as server,
    ):
        yield server


@pytest.fixture(scope="module")
def odd(folder: Path) -> Iterator[Server]:
    scopes = "mcp = use its tools as you; admin (admin) = use its administrative tools"
    env = {"OVAUTH_UPSTREAM_API_KEY": KEY, "OVAUTH_SCOPES": scopes}
    with (
        elsewhere("odd", folder) as url,
        running(data_dir=folder / "odd", env=env | {"OVAUTH_UPSTREAM_MCP_URL": f"{url}?tenant=1"}) as server,
    ):
        yield server


def text_of(result: Any) -> str:
    return "".join(part.text for part in result.content)


def call(server: Server, method: str = "POST", *, key: str | None = None, **options: Any) -> httpx2.Response:
    """A request with an API key, the operator's unless told otherwise."""
    headers = {**HEADERS, "authorization": f"Bearer {key or server.operator_api_key}", **options.pop("headers", {})}
    body = {"json": {"jsonrpc": "2.0", "id": 7, "method": "ping"}} if method == "POST" else {}
    return httpx2.request(method, f"{server.url}/mcp", **{**body, **options}, headers=headers, timeout=20)


# ------------------------------------------------------------------ official clients


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_official_client_comes_through_and_the_upstream_learns_who_calls(stateless: Server, mode: str) -> None:
    operator = Person(stateless.url, stateless.operator_api_key)
    official = OfficialClient(stateless.url, operator.approve, mode=mode)

    async def journey() -> dict[str, str]:
        async with official.connected() as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == ["seen", "waits", "tells_of_tools"]
            seen: dict[str, str] = json.loads(text_of(await client.call_tool("seen", {})))
            return seen

    headers = anyio.run(journey)
    info = official.storage.client_info
    assert info is not None
    assert {name: value for name, value in headers.items() if name.startswith("x-ovauth-")} == {
        "x-ovauth-account": "default",
        "x-ovauth-user": "operator",
        "x-ovauth-role": "root",
        "x-ovauth-scopes": "mcp",
        "x-ovauth-client": info.client_id,
    }
    assert headers["x-api-key"] == KEY
    assert "authorization" not in headers
    assert "ovat_" not in json.dumps(headers)


@pytest.mark.slow
def test_sessions_streams_and_progress_come_through(stateful: Server, folder: Path) -> None:
    """Two workers: whichever answers, the session is the upstream's."""
    operator = Person(stateful.url, stateful.operator_api_key)
    official = OfficialClient(stateful.url, operator.approve, mode="legacy")
    heard: list[str] = []

    async def journey() -> None:
        async with official.connected() as client:

            async def progress(done: float, total: float | None, message: str | None) -> None:
                heard.append(f"{done}/{total} {message}")
                (folder / "go").touch()  # the tool ends only now: what it said before came at once

            assert text_of(await client.call_tool("waits", {"name": "go"}, progress_callback=progress)) == "done"
            for _ in range(5):
                assert json.loads(text_of(await client.call_tool("seen", {})))["x-ovauth-user"] == "operator"

    anyio.run(journey)
    assert heard == ["1.0/2.0 half done"]
    lines = official.recorder.lines
    assert "200 DELETE /mcp" in lines
    assert "200 GET /mcp" in lines


def opened(server: Server, key: str) -> str:
    """The id of a new session of the owner of that key."""
    about = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "tests", "version": "1"}}
    hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": about}
    answer = call(server, json=hello, key=key)
    assert answer.status_code == 200, answer.text
    session = answer.headers["mcp-session-id"]
    told = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert call(server, json=told, key=key, headers={"mcp-session-id": session}).status_code == 202
    return session


@pytest.mark.slow
def test_a_session_is_its_openers_alone(stateful: Server) -> None:
    mine, theirs = stateful.operator_api_key, stateful.create_user("mallory")
    session = opened(stateful, mine)
    listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
    assert call(stateful, json=listing, headers={"mcp-session-id": session}).status_code == 200
    for key, stolen in ((theirs, session), (theirs, session.rpartition(".")[0]), (mine, f"{session}0")):
        for method in ("POST", "GET", "DELETE"):
            body = {"json": listing} if method == "POST" else {}
            refused = call(stateful, method, key=key, headers={"mcp-session-id": stolen}, **body)
            assert refused.status_code == 404, (method, refused.text)
    assert call(stateful, json=listing, headers={"mcp-session-id": session}).status_code == 200
    assert call(stateful, "DELETE", headers={"mcp-session-id": session}).status_code == 200
    assert call(stateful, json=listing, headers={"mcp-session-id": session}).status_code == 404


@pytest.mark.slow
def test_a_message_of_the_servers_own_arrives_on_the_open_stream(stateful: Server) -> None:
    session = opened(stateful, stateful.operator_api_key)
    headers = {**HEADERS, "authorization": f"Bearer {stateful.operator_api_key}", "mcp-session-id": session}
    with httpx2.stream("GET", f"{stateful.url}/mcp", headers=headers, timeout=20) as stream:
        assert stream.status_code == 200
        params = {"name": "tells_of_tools", "arguments": {}}
        told = {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": params}
        assert call(stateful, json=told, headers={"mcp-session-id": session}).status_code == 200
        assert any("notifications/tools/list_changed" in line for line in stream.iter_lines())


def test_a_client_that_goes_away_ends_the_request_to_the_upstream(stateless: Server, odd: Server, folder: Path) -> None:
    headers = {**HEADERS, "authorization": f"Bearer {odd.operator_api_key}", "x-want": "hang"}
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.post(f"{odd.url}/mcp", json={}, headers=headers, timeout=1)
    appears(folder / "gone")


def appears(path: Path) -> None:
    deadline = time.monotonic() + 10
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert path.exists()


@pytest.mark.slow
def test_an_open_stream_does_not_outlive_its_token(stateful: Server) -> None:
    key = stateful.create_user("leaving")
    session = opened(stateful, key)
    headers = {**HEADERS, "authorization": f"Bearer {key}", "mcp-session-id": session}
    with httpx2.stream("GET", f"{stateful.url}/mcp", headers=headers, timeout=60) as stream:
        began = time.monotonic()
        stateful.manage("rotate_api_key", "leaving", "--account", "default", "--json")
        assert [line for line in stream.iter_lines() if line.startswith("data: {")] == []  # and it ends, whole
    assert time.monotonic() - began < 25


# ------------------------------------------------------------------ what goes on, and what comes back


def test_nothing_that_the_caller_says_passes_for_our_word(odd: Server, folder: Path) -> None:
    raw = {
        "X-Ovauth-User": "root",
        "X_Ovauth_Role": "root",
        "X-Forwarded-For": "192.0.2.1",
        "Cookie": "a=b",
        "Connection": "close, X-Private",
        "X-Private": "1",
        "Mcp-Method": "ping",
        "X-Own": "kept",
        "Accept-Encoding": "identity",
    }
    answer = call(odd, headers=raw, params={"api_key": "ours"})
    assert answer.status_code == 200
    seen = json.loads((folder / "seen.json").read_text())
    names = [name for name, _ in seen["headers"]]
    headers = dict(seen["headers"])
    assert len(names) == len(set(names))
    assert headers["authorization"] == f"Bearer {KEY}"
    assert {name: value for name, value in headers.items() if "ovauth" in name} == {
        "x-ovauth-account": "default",
        "x-ovauth-user": "operator",
        "x-ovauth-role": "root",
        "x-ovauth-scopes": "mcp admin",
    }
    assert not {"cookie", "x-private", "x-forwarded-for"} & set(names)
    assert (headers["mcp-method"], headers["x-own"], headers["mcp-protocol-version"]) == ("ping", "kept", "2025-11-25")
    assert headers["host"].startswith("127.0.0.1:")
    assert seen["path"] == "/mcp"
    assert json.loads(seen["body"])["method"] == "ping"


def test_cookies_challenges_and_cors_of_the_upstream_stay_there(odd: Server) -> None:
    answer = call(odd, headers={"x-want": "cookie", "origin": odd.url})
    assert answer.status_code == 200
    assert not {"set-cookie", "x-hop"} & set(answer.headers)
    assert answer.headers.get_list("access-control-allow-origin") == ["*"]


@pytest.mark.parametrize(
    ("want", "status", "said"),
    [
        ("key", 502, "The MCP server does not let ovauth in."),
        ("redirect", 502, "The MCP server is somewhere else."),
    ],
)
def test_an_answer_that_is_about_ovauth_is_told_to_the_operator(odd: Server, want: str, status: int, said: str) -> None:
    answer = call(odd, headers={"x-want": want})
    assert answer.status_code == status
    assert answer.json() == {"jsonrpc": "2.0", "id": 7, "error": {"code": -32603, "message": said}}
    assert "www-authenticate" not in answer.headers
    assert "location" not in answer.headers
    odd.waits_for(
        "OVAUTH_UPSTREAM_API_KEY and OVAUTH_UPSTREAM_HEADER" if want == "key" else "redirects to http://127.0.0.1:9"
    )
    assert "secret=1" not in odd.output()
    assert call(odd).status_code == 200
    odd.waits_for("answers again")


def test_an_upstream_may_ask_for_more_scopes(odd: Server) -> None:
    _, tokens = lost_answers.connect(odd)
    answer = call(odd, key=tokens["access_token"], headers={"x-want": "scope"})
    assert answer.status_code == 403
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
    assert 'scope="mcp admin"' in answer.headers["www-authenticate"]
    refused = call(odd, key=tokens["access_token"], headers={"x-want": "refuse"})
    assert refused.status_code == 403
    assert "www-authenticate" not in refused.headers


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_other_methods_and_paths_do_not_reach_it(odd: Server, folder: Path, method: str) -> None:
    (folder / "seen.json").unlink(missing_ok=True)
    assert call(odd, method).status_code == 405
    headers = {"authorization": f"Bearer {odd.operator_api_key}"}
    assert httpx2.post(f"{odd.url}/mcp/admin", headers=headers).status_code == 404
    assert not (folder / "seen.json").exists()


# ------------------------------------------------------------------ when it is away


@pytest.mark.slow
def test_an_upstream_that_is_away_is_said_once_and_comes_back(tmp_path: Path) -> None:
    port = free_port()
    env = {"OVAUTH_UPSTREAM_MCP_URL": f"http://127.0.0.1:{port}/mcp"}
    with running(data_dir=tmp_path / "data", env=env) as server:
        away = f"http://127.0.0.1:{port}/mcp; it cannot be reached now (All connection attempts failed)"
        assert f"MCP server   {server.url}/mcp   ({away})" in server.output()
        server.waits_for(r"the MCP server at \S+: it cannot be reached now")  # before anybody calls
        for _ in range(3):
            answer = call(server)
            assert answer.status_code == 502
            assert answer.json()["error"]["message"] == "The MCP server cannot be reached."
            assert answer.json()["id"] == 7
        assert server.output().count("the MCP server at") == 1
        assert httpx2.get(f"{server.url}/health/ready").status_code == 200
        assert call(server, key="ovk_wrong").status_code == 401  # who may not enter learns nothing of it
        with elsewhere("stateless", tmp_path, port=port):
            assert call(server).status_code == 200
            server.waits_for("answers again")


@pytest.mark.slow
def test_an_answer_that_breaks_off_does_not_look_whole(tmp_path: Path) -> None:
    with (
        elsewhere("odd", tmp_path) as url,
        running(data_dir=tmp_path / "data", env={"OVAUTH_UPSTREAM_MCP_URL": url}) as server,
    ):
        with pytest.raises(httpx2.RemoteProtocolError):
            call(server, headers={"x-want": "break"})
        server.waits_for("broke off")


@pytest.mark.slow
def test_a_port_that_takes_connections_and_says_nothing_delays_nobody_else(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        env = {"OVAUTH_UPSTREAM_MCP_URL": f"http://127.0.0.1:{silent.getsockname()[1]}/mcp"}
        with running(data_dir=tmp_path / "data", env=env) as server:
            with pytest.raises(httpx2.ReadTimeout):
                httpx2.post(
                    f"{server.url}/mcp", json={}, headers={"authorization": f"Bearer {server.operator_api_key}"}, timeout=1
                )
            assert httpx2.get(f"{server.url}/health/ready").status_code == 200


# ------------------------------------------------------------------ what people see of it


def test_the_terminal_and_the_review_name_its_tools(stateless: Server) -> None:
    assert "/mcp, 3 tools)" in stateless.output()
    browser = signed_in(stateless)
    made = httpx2.post(f"{stateless.url}/register", json={"redirect_uris": ["http://127.0.0.1:9/"], "client_name": "Tools"})
    asked = {
        "response_type": "code",
        "client_id": made.json()["client_id"],
        "redirect_uri": "http://127.0.0.1:9/",
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256",
    }
    deadline = time.monotonic() + 30  # the process that answers asks for them once more, by itself
    while "waits" not in (page := browser.open(f"/authorize?{httpx2.QueryParams(asked)}").text):
        assert time.monotonic() < deadline, page
        time.sleep(0.5)
    assert '<span class="mono">seen</span>' in page
    assert '<strong class="mono">waits</strong>' in page


@pytest.mark.parametrize(
    ("kind", "count", "odd"),
    [("stateless", 3, set()), ("unnamed", 0, {Oddity.NO_NAME}), ("locked", None, {Oddity.WANTS_A_KEY})],
)
def test_what_is_odd_about_an_upstream_is_seen(
    tmp_path: Path, configure: Any, kind: str, count: int | None, odd: set[Oddity]
) -> None:
    with elsewhere(kind, tmp_path) as url:
        found = anyio.run(upstream.look, configure(upstream_mcp_url=url))
    assert (None if found.tools is None else len(found.tools), found.odd) == (count, odd)


def test_an_upstream_that_does_not_answer_is_seen(configure: Any) -> None:
    found = anyio.run(upstream.look, configure(upstream_mcp_url=f"http://127.0.0.1:{free_port()}/mcp"))
    assert (found.tools, found.odd) == (None, {Oddity.SILENT})


# ------------------------------------------------------------------ metrics


def test_what_an_upstream_answered_is_counted_with_how_long_it_took(folder: Path) -> None:
    port = free_port()
    env = {"OVAUTH_UPSTREAM_MCP_URL": f"http://127.0.0.1:{port}/mcp"}
    with running(data_dir=folder / "counted", env=env) as server:

        def told() -> dict[str, float]:
            text = httpx2.get(f"{server.url}/metrics").text
            samples = (line.rpartition(" ") for line in text.splitlines() if line.startswith("ovauth_upstream_"))
            return {name: float(value) for name, _, value in samples}

        assert call(server).status_code == 502, "nobody is there yet"
        with elsewhere("stateless", folder, port=port):
            for _ in range(3):
                assert call(server).status_code == 200
            waits = {"name": "waits", "arguments": {"name": "counted-long-enough"}}
            asked = {"jsonrpc": "2.0", "id": 8, "method": "tools/call", "params": waits}
            threading.Timer(0.8, (folder / "counted-long-enough").touch).start()
            assert call(server, json=asked).status_code == 200
        assert call(server, headers={"authorization": "Bearer ovat_wrong"}).status_code == 401, "never reached it"
        found = told()
        assert found['ovauth_upstream_requests_total{status="502"}'] == 1
        assert found['ovauth_upstream_requests_total{status="200"}'] == 4
        assert 'ovauth_upstream_requests_total{status="401"}' not in found
        assert found["ovauth_upstream_duration_seconds_count"] == 5
        slow = found["ovauth_upstream_duration_seconds_count"] - found['ovauth_upstream_duration_seconds_bucket{le="0.5"}']
        assert slow == 1, "one of them took its time"
        assert 0.5 < found["ovauth_upstream_duration_seconds_sum"] < 10
