"""`doctor`, as a person starts it; what it finds is in tests/doctor."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest

from ovauth.doctor import CLIENTS, FAULTS, Client
from ovauth.doctor.clients import DOCUMENT, DOCUMENT_CALLBACK
from ovauth.doctor.passing import STREAM_APART, STREAM_CHECK
from ovauth.resource.stream_check import APART, PATH
from tests.clients.recorded.recordings import RECORDINGS
from tests.deploy.proxies import free_port
from tests.doctor.conftest import NO_DOCUMENTS
from tests.doctor.faulty import Answer, Request, between, page
from tests.serving import SECRET, Server, manage, running

pytestmark = pytest.mark.xdist_group("doctor's command")

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "troubleshooting.md"
RECORDED = {
    "Claude (web)": "claude-web",
    "Claude Code": "claude-code",
    "ChatGPT": "chatgpt",
    "Cursor": "cursor",
    "VS Code": "vscode",
    "Codex": "codex",
    "MCP Inspector": "inspector-web",
    "mcp-remote": "mcp-remote",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(data_dir=tmp_path_factory.mktemp("examined") / "data", env=NO_DOCUMENTS) as server:
        yield server


def test_when_all_is_well_it_says_so_step_by_step(server: Server, tmp_path: Path) -> None:
    """From a folder of its own: it needs nothing of the server but its address and a key."""
    env = {"OVAUTH_API_KEY": server.operator_api_key}
    done = manage("doctor", "--url", f"{server.url}/mcp", data_dir=tmp_path / "laptop", env=env)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    lines = done.stdout.splitlines()
    assert lines[0] == f"{server.url}/mcp, as clients see it"
    steps = [line.split(maxsplit=1) for line in lines[2:-2]]
    assert {mark for mark, _ in steps} == {"ok", "skip"}
    assert [rest.split()[0] for mark, rest in steps if mark == "skip"] == ["Claude", "ChatGPT"]
    assert "revoked and refused" in steps[-1][1]
    assert lines[-1] == "These connect: Claude Code, Cursor, VS Code, Codex, MCP Inspector, mcp-remote."
    assert not SECRET.search(done.stdout)
    assert not (tmp_path / "laptop" / "ovauth.sqlite3").exists()


def test_a_fault_has_its_sentence_those_who_fail_and_a_remedy(server: Server, tmp_path: Path) -> None:
    with between(server.url, on_request=lambda request: request.having(x_forwarded_host="ov.example.com")) as origin:
        done = manage("doctor", "--url", origin, data_dir=tmp_path / "laptop")
        told = manage("doctor", "--url", origin, "--json", data_dir=tmp_path / "laptop")
    assert done.returncode == told.returncode == 1
    assert "fault  Claude Code     issuer-differs" in done.stdout
    assert "\nissuer-differs\n  The challenge of /mcp says http://ov.example.com" in done.stdout
    assert "\n  Fails    every client\n  Remedy   Settings: OVAUTH_PUBLIC_BASE_URL=" in done.stdout
    parsed = json.loads(told.stdout)
    assert (parsed["ok"], parsed["clients"]["Codex"]) == (False, False)
    assert [fault["id"] for fault in parsed["faults"]] == ["issuer-differs"]


def test_claude_whose_document_is_not_admitted_is_found_out(tmp_path: Path) -> None:
    """Refused before anything is fetched, as by a machine that does not reach claude.ai."""
    with running(data_dir=tmp_path / "data", env={"OVAUTH_CIMD": "vscode.dev"}) as server:
        done = manage("doctor", "--url", server.url, data_dir=tmp_path / "laptop")
    assert done.returncode == 1
    assert "fault  Claude Code     documents-not-read · challenge, discovery  " in done.stdout
    assert done.stdout.count("Claude Code  ") == 1, "one verdict"
    assert "\n  Fails    Claude Code\n" in done.stdout
    assert done.stdout.endswith(
        "These fail: Claude Code. These connect: Cursor, VS Code, Codex, MCP Inspector, mcp-remote.\n"
        "Not looked at: the MCP server behind the login. With an API key in OVAUTH_API_KEY it is called too.\n"
    )


def offering(request: Request, answer: Answer) -> Answer:
    """The metadata of a server that reads documents."""
    said = answer.saying(
        '"code_challenge_methods_supported"',
        '"client_id_metadata_document_supported": true, "code_challenge_methods_supported"',
    )
    return said if request.path.startswith("/.well-known/") else answer


def test_a_document_that_was_asked_for_a_moment_ago_is_no_fault(server: Server, tmp_path: Path) -> None:
    def asked(request: Request) -> Request | Answer:
        return page(429) if "claude.ai" in request.url else request

    with between(server.url, on_request=asked, on_answer=offering) as origin:
        done = manage("doctor", "--url", origin, data_dir=tmp_path / "laptop")
        told = json.loads(manage("doctor", "--url", origin, "--json", data_dir=tmp_path / "laptop").stdout)
    assert done.returncode == 0, done.stdout
    step = "challenge, discovery; its document was asked for a moment ago: not known now"
    assert f"skip   Claude Code     {step}" in done.stdout
    assert "mcp-remote. Not known now: Claude Code. Try again in half a minute.\n" in done.stdout
    assert (told["ok"], told["unknown"], "Claude Code" in told["clients"]) == (True, ["Claude Code"], False)


def test_a_client_whose_document_is_read_does_not_register(server: Server, tmp_path: Path) -> None:
    """What the server would know by the document it knows here by an earlier registration."""
    about = {"client_name": "Claude Code", "redirect_uris": [DOCUMENT_CALLBACK], "token_endpoint_auth_method": "none"}
    known = httpx2.post(f"{server.url}/register", json=about).json()["client_id"]
    registered: list[str] = []

    def known_by_document(request: Request) -> Request | Answer:
        if request.path == "/register" and request.method == "POST":
            registered.append(json.loads(request.body)["client_name"])
        return replace(request, url=request.url.replace(quote(DOCUMENT, safe=""), known))

    with between(server.url, on_request=known_by_document, on_answer=offering) as origin:
        done = manage("doctor", "--url", origin, data_dir=tmp_path / "laptop")
    assert done.returncode == 0, done.stdout
    assert "ok     Claude Code     challenge, discovery, its document, code page" in done.stdout
    assert "Claude Code (ovauth)" not in registered
    assert "Codex" in registered


def test_what_the_mcp_server_behind_the_login_says_is_told_as_one_sentence(tmp_path: Path) -> None:
    with running(
        data_dir=tmp_path / "data",
        env=NO_DOCUMENTS | {"OVAUTH_UPSTREAM_MCP_URL": f"http://127.0.0.1:{free_port()}/mcp"},
    ) as server:
        env = {"OVAUTH_API_KEY": server.operator_api_key}
        done = manage("doctor", "--url", server.url, data_dir=tmp_path / "laptop", env=env)
    assert done.returncode == 1
    assert "The login stops at initialize: 502 The MCP server cannot be reached.\n" in done.stdout
    assert "Not looked at" not in done.stdout


def test_nobody_there_is_status_one_and_no_address_is_status_two(tmp_path: Path) -> None:
    absent = manage("doctor", "--url", f"http://127.0.0.1:{free_port()}", data_dir=tmp_path / "data")
    assert (absent.returncode, absent.stderr) == (1, "")
    assert absent.stdout.endswith("No client can connect.\n")
    wrong = manage("doctor", "--url", "ov.example.com", data_dir=tmp_path / "data")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == (
        "--url ov.example.com cannot be used: it must begin with https:// or http://. "
        "Write it like https://ov.example.com\n"
    )


def test_without_an_address_it_takes_the_configured_one(tmp_path: Path) -> None:
    env = {"OVAUTH_PUBLIC_BASE_URL": "https://ovauth-doctor.invalid"}
    done = manage("doctor", data_dir=tmp_path / "data", env=env)
    assert "The name ovauth-doctor.invalid leads nowhere" in done.stdout


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_its_clients_are_those_that_were_recorded(client: Client) -> None:
    """The recordings have the sources of each fact; what the doctor does is the same."""
    recorded = RECORDINGS[RECORDED[client.name]]
    scopes = {"challenge": "mcp", "supported": "mcp fs admin"}
    assert (client.hosted, client.origin, client.user_agent) == (recorded.hosted, recorded.origin, recorded.user_agent)
    assert (f"{{issuer}}/mcp{client.ending}", client.first) == (recorded.url, recorded.first)
    assert client.protocol == recorded.protocol
    tried = [(path.format(at=""), 404) for path in client.tried]
    assert [*tried, *((path.format(at=""), 200) for path in client.discovery)] == list(recorded.discovery)
    assert client.document(scopes) == dict(recorded.registration)
    assert client.redirect_uri == recorded.redirect_uri
    assert client.scope.format_map(scopes) == recorded.authorize.get("scope", "")
    assert client.names_resource == ("resource" in recorded.authorize)


def test_the_stream_check_sends_its_two_events_apart_and_does_nothing_else(server: Server) -> None:
    came = []
    with httpx2.stream("GET", f"{server.url}{PATH}") as answer:
        assert answer.headers["cache-control"] == "no-store"
        came = [(line, time.perf_counter()) for line in answer.iter_lines() if line]
    (first, began), (last, ended) = came
    assert (first, last) == ("data: first", "data: last")
    assert ended - began > APART / 2
    assert (PATH, APART) == (STREAM_CHECK, STREAM_APART), "the doctor does not import the server"
    refused = httpx2.post(f"{server.url}{PATH}")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET")


def test_the_guide_has_every_fault_and_no_other() -> None:
    named = {part for part in GUIDE.read_text().split("`") if part in FAULTS}
    assert named == set(FAULTS)
