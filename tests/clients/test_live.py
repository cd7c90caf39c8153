"""Real clients from the npm registry, driven against a real `serve`: from nothing to a tool call, and through a refresh.

Skipped, with the reason, where Node, npm or the registry is missing. Alone: `pytest -m node`, without: `-m "not node"`.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients import installed, programs
from tests.clients.installed import Installed
from tests.clients.programs import AUTHORIZE_URL, Program, approve, approve_and_return, free_port
from tests.journeys.people import CALLBACK, Person
from tests.serving import Server, running

pytestmark = [pytest.mark.node, pytest.mark.xdist_group("node")]

ACCESS_TOKEN_TTL = 2


@pytest.fixture(scope="module")
def node20() -> Installed:
    return installed.node20()


@pytest.fixture(scope="module")
def node22() -> Installed:
    return installed.node22()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data_dir: Path = tmp_path_factory.mktemp("data")
    with running(data_dir=data_dir, env={"OVAUTH_ACCESS_TOKEN_TTL": str(ACCESS_TOKEN_TTL)}) as server:
        yield server


@pytest.fixture
def operator(server: Server) -> Person:
    return Person(server.url, server.operator_api_key)


def result_of(program: Program, nth: int = 1) -> Any:
    return json.loads(program.waits_for(r"^RESULT (.*)$", nth=nth)[1])


def wait_until_the_access_token_has_expired() -> None:
    """Its lifetime is seconds, decided by the server's clock: there is nothing to listen to."""
    time.sleep(ACCESS_TOKEN_TTL + 0.3)


@pytest.mark.parametrize(
    ("line", "method"), [("1", None), ("1", "client_secret_basic"), ("2", "none"), ("2", "client_secret_post")]
)
def test_the_official_typescript_client_connects_and_refreshes(
    server: Server, operator: Person, node20: Installed, tmp_path: Path, line: str, method: str | None
) -> None:
    metadata = {"client_name": "TypeScript SDK", "redirect_uris": [CALLBACK]}
    if method is not None:
        metadata["token_endpoint_auth_method"] = method
    command = [*node20.own("sdk.mjs"), line, f"{server.url}/mcp", CALLBACK, json.dumps(metadata)]
    with programs.running(command, home=tmp_path) as sdk:
        sdk.tell(approve(operator, sdk.waits_for(f"^AUTHORIZE {AUTHORIZE_URL}")[1]))
        first = result_of(sdk)
        assert "whoami" in first["tools"]
        assert "operator" in first["whoami"]
        assert ("client_secret" in first["client"]) == (method not in (None, "none"))
        wait_until_the_access_token_has_expired()
        sdk.tell("again")
        second = result_of(sdk, nth=2)
        assert "operator" in second["whoami"]
        assert second["tokens"]["access_token"] != first["tokens"]["access_token"]
        assert second["tokens"]["refresh_token"] != first["tokens"]["refresh_token"]
        assert sdk.output.count("AUTHORIZE") == 1
        assert sdk.ends() == 0


def test_mcp_remote_connects_and_a_second_process_signs_nobody_in_again(
    server: Server, operator: Person, node20: Installed, tmp_path: Path
) -> None:
    command = [*node20.script("mcp-remote", "dist/proxy.js"), f"{server.url}/mcp"]
    with programs.running(command, home=tmp_path) as remote:
        approve_and_return(operator, remote.waits_for(AUTHORIZE_URL)[1])
        remote.waits_for("Proxy established successfully")
        assert "operator" in call_over_stdio(remote, "whoami")
        wait_until_the_access_token_has_expired()
        assert "operator" in call_over_stdio(remote, "whoami", nth=2)
    with programs.running(command, home=tmp_path) as later:
        later.waits_for("Proxy established successfully")
        assert "operator" in call_over_stdio(later, "whoami")
        assert "/authorize?" not in later.output


def call_over_stdio(remote: Program, tool: str, nth: int = 1) -> str:
    """The text that a tool answers, through the proxy's standard input and output."""
    if nth == 1:
        about = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        remote.tell(json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": about}))
        remote.waits_for(r'^\{.*"id":0.*\}$')
        remote.tell(json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}))
    call = {"jsonrpc": "2.0", "id": nth, "method": "tools/call", "params": {"name": tool, "arguments": {}}}
    remote.tell(json.dumps(call))
    return remote.waits_for(rf'^\{{.*"id":{nth}[,}}].*$')[0]


@pytest.mark.parametrize("era", ["legacy", "auto"])
def test_the_inspector_connects_stays_connected_and_signs_in_anew_when_told(
    server: Server, operator: Person, node22: Installed, tmp_path: Path, era: str
) -> None:
    inspector = node22.script("@modelcontextprotocol/inspector", "clients/launcher/build/index.js")
    target = ["--cli", "--server-url", f"{server.url}/mcp", "--transport", "http", "--protocol-era", era]
    target += ["--callback-url", f"http://127.0.0.1:{free_port()}/oauth/callback"]
    # Without a terminal it asks nobody unless told to, and without a keychain it forgets.
    env = {"MCP_AUTO_OPEN_ENABLED": "true", "MCP_INSPECTOR_SECRET_STORE": "file"}

    with programs.running([*inspector, *target, "--method", "tools/list"], home=tmp_path, env=env) as first:
        approve_and_return(operator, first.waits_for(AUTHORIZE_URL)[1])
        first.waits_for('"whoami"')
        assert first.ends() == 0
    call = [*inspector, *target, "--method", "tools/call", "--tool-name", "whoami"]
    with programs.running(call, home=tmp_path, env=env) as second:
        second.waits_for("operator")
        assert second.ends() == 0
        assert "/authorize?" not in second.output
    with programs.running([*call, "--relogin"], home=tmp_path, env=env) as third:
        approve_and_return(operator, third.waits_for(AUTHORIZE_URL)[1])
        third.waits_for("operator")
        assert third.ends() == 0
