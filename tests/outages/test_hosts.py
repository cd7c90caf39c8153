"""Two hosts that share one PostgreSQL and the secret key, and nothing else: whatever began at one goes on at the other.

Each is a network namespace with a data folder of its own; in between is a wire (veth), at whose middle PostgreSQL listens.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from tests.databases import NotHere
from tests.deploy.proxies import free_port
from tests.outages.load import CALLBACK, CHALLENGE, PING, VERIFIER
from tests.outages.postgresql import own_postgresql
from tests.serving import Server, running

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("outages")]

PUBLIC = "http://127.0.0.1:1933"
"""What both are called by the outside; a balancer would stand there."""
KEY = "the-key-of-both-hosts-" + "k" * 40
NETWORK = "10.213.77"


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotHere(f"{' '.join(command)}: {done.stderr.strip()}")


@dataclass(frozen=True)
class Host:
    """A namespace, and its address on the wire."""

    name: str
    address: str

    @property
    def inside(self) -> list[str]:
        return ["nsenter", f"--net=/run/netns/{self.name}"]


@contextmanager
def hosts(stack: ExitStack, many: int) -> Iterator[list[Host]]:
    """So many hosts on one bridge; the test itself is at `.1`. Raises NotHere."""
    if os.geteuid() != 0:
        raise NotHere("only root makes network namespaces")
    tag = token_hex(2)
    bridge = f"ovb{tag}"
    made: list[Host] = []
    try:
        _run("ip", "link", "add", bridge, "type", "bridge")
        _run("ip", "addr", "add", f"{NETWORK}.1/24", "dev", bridge)
        _run("ip", "link", "set", bridge, "up")
        for number in range(many):
            host = Host(f"ov{tag}{number}", f"{NETWORK}.{number + 2}")
            _run("ip", "netns", "add", host.name)
            made.append(host)
            outer, inner = f"ovo{tag}{number}", f"ovi{tag}{number}"
            _run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", host.name)
            _run("ip", "link", "set", outer, "master", bridge, "up")
            _run("ip", "-n", host.name, "addr", "add", f"{host.address}/24", "dev", inner)
            _run("ip", "-n", host.name, "link", "set", inner, "up")
            _run("ip", "-n", host.name, "link", "set", "lo", "up")
        yield made
    finally:
        for host in made:
            subprocess.run(["ip", "netns", "del", host.name], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", bridge], capture_output=True, check=False)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    with ExitStack() as stack:
        try:
            first, second = stack.enter_context(hosts(stack, 2))
            database = stack.enter_context(own_postgresql(addresses=(f"{NETWORK}.1", "127.0.0.1")))
        except NotHere as why:
            pytest.skip(str(why))
        env = {
            "DATABASE_URL": database.url(f"{NETWORK}.1"),
            "OVAUTH_PUBLIC_BASE_URL": PUBLIC,
            "OVAUTH_SECRET_KEY": KEY,
            # what a balancer on the wire would say is believed
            "OVAUTH_TRUSTED_PROXIES": f"{NETWORK}.1",
        }
        servers = []
        for host in (first, second):
            port = str(free_port())
            folder: Path = tmp_path_factory.mktemp(host.name)
            args = ("--host", host.address, "--port", port)
            servers.append(stack.enter_context(running(data_dir=folder / "data", env=env, args=args, before=host.inside)))
        assert not list((servers[1].data_dir).glob("secret_key")), "the key came by the environment"
        yield servers[0], servers[1]


class Balanced(httpx2.BaseTransport):
    """Sends what is asked of the public address to whichever host is `to`."""

    def __init__(self, to: Server) -> None:
        self.to = to
        self._http = httpx2.HTTPTransport()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        host = urlsplit(self.to.url)
        url = request.url.copy_with(host=host.hostname, port=host.port)
        headers = [
            *request.headers.raw,
            (b"X-Forwarded-For", request.headers.get("X-Test-Address", "203.0.113.7").encode()),
        ]
        passed = httpx2.Request(request.method, url, headers=headers, stream=request.stream, extensions=request.extensions)
        return self._http.handle_request(passed)


def browser(to: Server) -> tuple[httpx2.Client, Balanced]:
    way = Balanced(to)
    return httpx2.Client(base_url=PUBLIC, transport=way, follow_redirects=False, timeout=30), way


def token_of(page: httpx2.Response) -> str:
    return page.text.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]


def opens(http: httpx2.Client, token: str) -> bool:
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"}
    return http.post("/mcp", json=PING, headers=headers).status_code != 401


def begun(http: httpx2.Client, client_id: str) -> str:
    query = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": CALLBACK,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    page = http.get("/authorize", params=query)
    return parse_qs(urlsplit(page.headers["location"]).query)["pending"][0]


def test_every_step_of_one_connection_may_happen_at_another_host(pair: tuple[Server, Server]) -> None:
    """Registered here, begun there, shown here, approved there, collected here, redeemed there, and so on."""
    first, second = pair
    key = {"X-Api-Key": first.operator_api_key}
    http, way = browser(first)
    client = http.post("/register", json={"redirect_uris": [CALLBACK]}).json()["client_id"]
    way.to = second
    pending = begun(http, client)
    way.to = first
    shown = http.get("/oauth/authorize/page", params={"pending": pending}).text
    way.to = second
    assert http.get("/oauth/authorize/page", params={"pending": pending}).status_code == 200
    code = shown.partition('data-code="')[2].partition('"')[0]
    assert code
    assert code in http.get("/oauth/authorize/page", params={"pending": pending}).text, "another code at the other host"
    approved = http.post("/api/v1/auth/oauth-verify", headers=key, json={"code": code, "decision": "approve"})
    assert approved.status_code == 200, approved.text
    way.to = first
    status = http.get("/oauth/authorize/page/status", params={"pending": pending}).json()
    result = parse_qs(urlsplit(status["redirect_url"]).query)
    assert result["iss"] == [PUBLIC]
    way.to = second
    again = http.get("/oauth/authorize/page/status", params={"pending": pending}).json()
    assert again == status, "collected twice, at two hosts"
    redeem = {
        "grant_type": "authorization_code",
        "client_id": client,
        "code": result["code"][0],
        "code_verifier": VERIFIER,
        "redirect_uri": CALLBACK,
    }
    tokens = http.post("/token", data=redeem).json()
    way.to = first
    assert opens(http, tokens["access_token"])
    refreshed = http.post(
        "/token", data={"grant_type": "refresh_token", "client_id": client, "refresh_token": tokens["refresh_token"]}
    ).json()
    way.to = second
    assert opens(http, refreshed["access_token"])
    assert http.post("/revoke", data={"client_id": client, "token": refreshed["refresh_token"]}).status_code == 200
    way.to = first
    assert not opens(http, refreshed["access_token"])
    assert not opens(http, tokens["access_token"])


def test_a_session_its_forms_and_its_end_hold_at_both(pair: tuple[Server, Server]) -> None:
    first, second = pair
    http, way = browser(first)
    page = http.get("/console/login")
    way.to = second  # the form came from one host and goes to the other
    signed_in = http.post(
        "/console/login",
        data={"username": "operator", "password": first.operator_password, "csrfmiddlewaretoken": token_of(page)},
        headers={"Origin": PUBLIC},
    )
    assert signed_in.is_redirect, signed_in.text[:500]
    way.to = first
    home = http.get("/console/")
    assert home.status_code == 200
    assert http.get("/admin/").status_code == 200
    way.to = second
    out = http.post("/console/logout", data={"csrfmiddlewaretoken": token_of(home)}, headers={"Origin": PUBLIC})
    assert out.is_redirect, out.text[:500]
    way.to = first
    assert http.get("/console/").is_redirect


def test_a_guesser_is_counted_at_both_together(pair: tuple[Server, Server]) -> None:
    first, second = pair
    http, way = browser(first)
    key = {"X-Api-Key": first.create_user("guesser"), "X-Test-Address": "203.0.113.99"}
    statuses = []
    for number in range(6):
        way.to = pair[number % 2]
        guess = {"code": f"AAA-AA{'BCDEFG'[number]}", "decision": "approve"}
        statuses.append(http.post("/api/v1/auth/oauth-verify", headers=key, json=guess).status_code)
    assert statuses == [404] * 5 + [429]
    way.to = second
    assert (
        http.post("/api/v1/auth/oauth-verify", headers=key, json={"code": "AAA-AAA", "decision": "approve"}).status_code
        == 429
    )


def test_what_one_host_ended_is_refused_at_the_other_with_the_next_request(pair: tuple[Server, Server]) -> None:
    first, second = pair
    key = first.create_user("leaver")
    http, way = browser(second)
    whoami = {"headers": {"X-Api-Key": key}}
    assert http.get("/api/v1/whoami", **whoami).status_code == 200  # type: ignore[arg-type]
    first.manage("rotate_api_key", "leaver", "--account", "default")
    assert http.get("/api/v1/whoami", **whoami).status_code == 401  # type: ignore[arg-type]
    way.to = first
    assert http.get("/api/v1/whoami", **whoami).status_code == 401  # type: ignore[arg-type]


def test_both_are_ready_and_serve_the_same_metadata(pair: tuple[Server, Server]) -> None:
    told = [httpx2.get(f"{server.url}/.well-known/oauth-authorization-server").json() for server in pair]
    assert told[0] == told[1]
    assert told[0]["issuer"] == PUBLIC
    assert [httpx2.get(f"{server.url}/health/ready").status_code for server in pair] == [200, 200]
    assert "First operator" in pair[0].output()
    assert "First operator" not in pair[1].output()
