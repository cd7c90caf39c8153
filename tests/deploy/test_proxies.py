"""The shipped proxies pass on what clients need, and nothing of what outsiders claim."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from tests.deploy import proxies
from tests.deploy.proxies import NotHere, Proxy, free_port
from tests.journeys.people import OfficialClient, Person
from tests.serving import Server, running

pytestmark = pytest.mark.slow

OUTSIDER = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "ftp",
    "Forwarded": "for=203.0.113.9;host=evil.example;proto=ftp",
}
STREAMING = {"OVAUTH_MCP_SERVER": "tests.deploy.streaming:server"}
KINDS = ("caddy", "caddy with a domain", "nginx")


@pytest.fixture(scope="module", params=KINDS)
def behind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Proxy]]:
    """A server that anybody can reach through the proxy, configured as docs/deploying.md says."""
    folder: Path = tmp_path_factory.mktemp("proxy")
    port = free_port()
    kind = request.param
    try:
        proxies.program(kind.split()[0])
    except NotHere as why:
        pytest.skip(str(why))
    # Without a domain the origin is what the trusted proxy says; with one it is configured, as compose.yaml does.
    env = STREAMING if kind == "caddy" else {**STREAMING, "OVAUTH_PUBLIC_BASE_URL": f"https://localhost:{port}"}
    with running(data_dir=folder / "data", env=env) as server:
        match kind:
            case "nginx":
                started = proxies.nginx(upstream=server.url, folder=folder, port=port)
            case "caddy":
                started = proxies.caddy(upstream=server.url, folder=folder, port=port)
            case _:
                started = proxies.caddy(upstream=server.url, folder=folder, port=port, domain="localhost")
        with started as proxy:
            yield server, proxy


@pytest.fixture(autouse=True)
def _trusted(behind: tuple[Server, Proxy], monkeypatch: pytest.MonkeyPatch) -> None:
    if behind[1].authority is not None:
        monkeypatch.setenv("SSL_CERT_FILE", str(behind[1].authority))


def test_discovery_tells_the_public_origin_at_every_well_known(behind: tuple[Server, Proxy]) -> None:
    _, proxy = behind
    server_metadata = httpx2.get(f"{proxy.origin}/.well-known/oauth-authorization-server").json()
    assert server_metadata["issuer"] == proxy.origin
    assert server_metadata["token_endpoint"] == f"{proxy.origin}/token"
    assert httpx2.get(f"{proxy.origin}/.well-known/openid-configuration").json() == server_metadata
    for path in ("", "/mcp"):
        resource = httpx2.get(f"{proxy.origin}/.well-known/oauth-protected-resource{path}").json()
        assert resource["resource"] == f"{proxy.origin}/mcp"
        assert resource["authorization_servers"] == [proxy.origin]
    unknown = httpx2.get(f"{proxy.origin}/.well-known/something")
    assert (unknown.status_code, unknown.json()) == (404, {"error": "not_found"})


def test_a_stranger_is_invited_to_the_public_origin_and_a_post_is_never_redirected(behind: tuple[Server, Proxy]) -> None:
    _, proxy = behind
    for path in ("/mcp", "/mcp/"):
        answer = httpx2.post(f"{proxy.origin}{path}", json={})
        assert answer.status_code == 401
        assert (
            f'resource_metadata="{proxy.origin}/.well-known/oauth-protected-resource/mcp"'
            in answer.headers["www-authenticate"]
        )


def test_what_an_outsider_claims_about_addresses_is_not_believed(behind: tuple[Server, Proxy]) -> None:
    server, proxy = behind
    metadata = httpx2.get(f"{proxy.origin}/.well-known/oauth-authorization-server", headers=OUTSIDER).json()
    assert metadata["issuer"] == proxy.origin
    document = {"client_name": "Outsider", "redirect_uris": ["http://127.0.0.1/callback"]}
    answer = httpx2.post(f"{proxy.origin}/register", json=document, headers=OUTSIDER)
    assert answer.status_code == 201
    events = [json.loads(line) for line in server.manage("export_audit").splitlines()]
    (registered,) = [event for event in events if event["client_id"] == answer.json()["client_id"]]
    assert registered["ip"] == "127.0.0.1"


def test_a_body_larger_than_the_server_takes_is_refused_by_the_server_as_json(behind: tuple[Server, Proxy]) -> None:
    _, proxy = behind
    answer = httpx2.post(f"{proxy.origin}/register", content=b'{"client_name": "' + b"x" * 2_000_000 + b'"}')
    assert answer.status_code in (400, 413)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"]


def test_the_whole_journey_passes_and_a_stream_arrives_while_it_flows(behind: tuple[Server, Proxy]) -> None:
    """401 → discovery → registration → page → approve → token → tools/list → a call whose first event releases the rest."""
    server, proxy = behind
    official = OfficialClient(proxy.origin, Person(proxy.origin, server.operator_api_key).approve)
    heard: list[float] = []

    async def journey() -> None:
        async with official.connected() as client:
            assert {tool.name for tool in (await client.list_tools()).tools} == {"begins", "hears"}

            answered = anyio.Event()

            async def on_progress(progress: float, *_: Any) -> None:
                heard.append(progress)
                await client.call_tool("hears", {})
                answered.set()

            with anyio.fail_after(30):  # behind a proxy that buffers, the two would wait for each other
                result = await client.call_tool("begins", {}, progress_callback=on_progress)
                await answered.wait()
            assert "heard" in str(result.content)

    anyio.run(journey)
    assert heard == [1]
    assert official.recorder.lines[0] == "401 POST /mcp"
    assert "201 POST /register" in official.recorder.lines


def test_pages_keep_their_cookies_and_their_headers(behind: tuple[Server, Proxy]) -> None:
    _, proxy = behind
    with httpx2.Client(base_url=proxy.origin) as browser:
        page = browser.get("/console/login")
        assert page.status_code == 200
        assert "default-src 'none'" in page.headers["content-security-policy"]
        secure = proxy.origin.startswith("https:")
        assert all(("Secure" in cookie) == secure for cookie in page.headers.get_list("set-cookie"))
        assert page.headers.get_list("set-cookie")


def test_nobody_needs_the_server_itself_to_be_reached(behind: tuple[Server, Proxy]) -> None:
    """It listens on loopback alone, and says so itself."""
    server, _ = behind
    assert server.url.startswith("http://127.0.0.1:")
