"""Every fault that the doctor knows, made for real between it and a real server, and found."""

import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from ovauth.doctor import CLIENTS, FAULTS, asking, reaching
from tests.commands import test_doctor
from tests.deploy.proxies import free_port
from tests.doctor import certificates
from tests.doctor.certificates import Certificate
from tests.doctor.conftest import NO_DOCUMENTS, Examination
from tests.doctor.faulty import Answer, Request, as_it_came, as_it_is, between, page
from tests.serving import SECRET, Server, running

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("doctor")]

EVERYBODY = {client.name for client in CLIENTS}
HOSTED = {"Claude (web)", "ChatGPT"}
WELL_KNOWN = "/.well-known/"


@dataclass(frozen=True)
class Case:
    """What the proxy does, and who fails because of it."""

    id: str
    on_request: Callable[[Request], Request | Answer] = as_it_is
    on_answer: Callable[[Request, Answer], Answer] = as_it_came
    fails: set[str] = field(default_factory=lambda: EVERYBODY)
    buffers: bool = False
    with_key: bool = False
    beside: set[str] = field(default_factory=set)
    """What is found as well, as it must be."""
    remedy: str = ""
    """What the remedy names."""


def answering(answer: Answer, *, at: str = "", method: str = "", agent: str = "") -> Callable[[Request], Request | Answer]:
    """This answer where path, method and User-Agent begin so, in place of the server's."""

    def judge(request: Request) -> Request | Answer:
        fits = request.path.startswith(at) and request.method.startswith(method)
        return answer if fits and request.headers.get("user-agent", "").startswith(agent) else request

    return judge


def without(name: str, *, at: str = "") -> Callable[[Request, Answer], Answer]:
    return lambda request, answer: answer.without(name) if request.path.startswith(at) else answer


def having(name: str, value: str, *, at: str = "") -> Callable[[Request, Answer], Answer]:
    return lambda request, answer: answer.having(name, value) if request.path.startswith(at) else answer


def to(location: str, status: int = 301) -> Answer:
    return Answer(status, (("location", location),))


def only_mcp(request: Request) -> Request | Answer:
    return request if request.path.startswith("/mcp") else page(404)


def stale(request: Request, answer: Answer) -> Answer:
    """A cache that has the documents of an older configuration, by their address with the query."""
    old = request.path.startswith(WELL_KNOWN) and "?" not in request.url
    return answer.saying(request.headers["x-forwarded-host"], "old.example.com") if old else answer


def slash(request: Request, answer: Answer) -> Answer:
    origin = f"https://{request.headers['x-forwarded-host']}"
    return answer.saying(f'"issuer": "{origin}"', f'"issuer": "{origin}/"')


def twice(request: Request, answer: Answer) -> Answer:
    return replace(answer, headers=(*answer.headers, ("Access-Control-Allow-Origin", "*")))


def nulls(request: Request, answer: Answer) -> Answer:
    if (request.method, request.path) != ("POST", "/register"):
        return answer
    return replace(answer, body=json.dumps({**json.loads(answer.body), "client_uri": None}).encode())


def late(request: Request, answer: Answer) -> Answer:
    return answer.having("Date", format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True))


class Cache:
    """Keeps the first answer at that path, by method and path alone, and gives it to everybody who asks later."""

    def __init__(self, at: str, status: int) -> None:
        self.at, self.status = at, status
        self.kept: dict[tuple[str, str], Answer] = {}

    def on_request(self, request: Request) -> Request | Answer:
        return self.kept.get((request.method, request.url), request)

    def on_answer(self, request: Request, answer: Answer) -> Answer:
        if request.path == self.at and answer.status == self.status:
            self.kept.setdefault((request.method, request.url), answer)
        return answer


def cached(fault: str, at: str, status: int, **more: Any) -> Case:
    cache = Cache(at, status)
    return Case(fault, cache.on_request, cache.on_answer, **more)


class LivesOn:
    """A cache that answers `tools/list` by the token that it has seen before."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def on_request(self, request: Request) -> Request | Answer:
        if b"tools/list" not in request.body:
            return request
        token = request.headers.get("authorization", "")
        if token in self.seen:
            return Answer(
                200, (("content-type", "application/json"),), b'{"jsonrpc": "2.0", "id": 1, "result": {"tools": []}}'
            )
        self.seen.add(token)
        return request


lives_on = LivesOn()

CASES = [
    Case("issuer-scheme", lambda request: request.having(x_forwarded_proto="http"), remedy="X-Forwarded-Proto $scheme"),
    Case("issuer-local", lambda request: request.without("x-forwarded-host", "host"), remedy="Host $http_host"),
    Case("issuer-port", lambda request: request.having(x_forwarded_host="localhost"), remedy="$host has no port"),
    Case("issuer-slash", on_answer=slash, fails=EVERYBODY - {"Codex"}, remedy="without a slash"),
    Case("issuer-differs", lambda request: request.having(x_forwarded_host="other.example.com")),
    Case("metadata-stale", on_answer=stale, beside={"issuer-differs", "authorize-refused"}, remedy="Purge"),
    Case("html-at-well-known", answering(page(), at=WELL_KNOWN), remedy="handle /.well-known/*"),
    Case("root-not-passed", only_mcp, remedy="in place of `location /mcp`"),
    Case("no-mcp", answering(page(404), at="/mcp")),
    Case("login-wall", answering(to("https://login.example.com/?next=x", 302), at="")),
    Case("client-blocked", answering(page(403), agent="python-httpx"), fails={"Claude (web)"}, remedy="bot protection"),
    Case("host-refused", answering(Answer(421), at="/mcp")),
    Case("too-many-requests", answering(Answer(429), at=WELL_KNOWN)),
    Case("server-error", answering(Answer(500, (), b'{"error": "server_error"}'), at="/register")),
    Case("post-redirected", answering(to("/mcp", 307), at="/mcp/", method="POST"), fails={"Claude (web)"}),
    Case("well-known-redirected", answering(to("/docs/"), at=WELL_KNOWN)),
    Case("query-stripped", lambda request: replace(request, url=request.path), remedy="$request_uri"),
    Case("authorization-stripped", lambda request: request.without("authorization"), remedy="CGIPassAuth"),
    Case("challenge-stripped", on_answer=without("www-authenticate"), fails=HOSTED),
    Case("cookies-stripped", on_answer=without("set-cookie")),
    Case("popup-cut", on_answer=having("Cross-Origin-Opener-Policy", "same-origin")),
    Case("no-metadata", answering(Answer(404, (), b'{"error": "not_found"}'), at=WELL_KNOWN)),
    Case("metadata-broken", answering(Answer(200, (), b'["no object"]'), at="/.well-known/oauth-authorization-server")),
    Case("cors-missing", on_answer=without("access-control-allow-origin"), fails={"MCP Inspector"}),
    Case("cors-twice", on_answer=twice, fails={"MCP Inspector"}, remedy="add_header Access-Control-Allow-Origin"),
    Case("preflight-refused", answering(page(405), method="OPTIONS"), fails={"MCP Inspector"}),
    Case("registration-refused", answering(page(400), at="/register")),
    Case("registration-broken", on_answer=nulls),
    Case("authorize-refused", answering(page(418), at="/authorize")),
    Case("login-refused", answering(page(404), at="/api/"), with_key=True),
    Case("token-lives-on", lives_on.on_request, with_key=True),
    cached("challenge-cached", "/mcp", 401, beside={"cors-missing"}, remedy="proxy_cache"),
    cached("token-cached", "/token", 401, remedy="purge"),
    Case("head-refused", answering(Answer(405), method="HEAD"), fails=set()),
    Case("streams-buffered", buffers=True, fails=set(), remedy="proxy_buffering off"),
    Case("clock-differs", on_answer=late, fails=set(), remedy="timedatectl"),
    Case(
        "body-limit",
        lambda request: page(413) if len(request.body) > 1_000_000 else request,
        fails=set(),
        remedy="client_max_body_size 4m",
    ),
]


@pytest.mark.usefixtures("public")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_faulty_proxy_is_found_out(server: Server, trusted: ssl.SSLContext, case: Case) -> None:
    key = server.operator_api_key if case.with_key else None
    faults = {"on_request": case.on_request, "on_answer": case.on_answer, "buffers": case.buffers}
    with between(server.url, context=trusted, **faults) as origin:  # type: ignore[arg-type]
        examined = Examination(origin, key)
    assert case.id in examined.found
    assert examined.failing(case.id) == case.fails
    assert case.remedy in examined.report.findings[case.id].remedy
    assert examined.report.is_well == (not case.fails)
    extra = examined.found - {case.id} - case.beside
    assert not extra or case.id in ("login-wall", "no-mcp", "root-not-passed", "authorization-stripped"), extra
    assert not SECRET.search(examined.text)


@pytest.mark.usefixtures("public")
def test_all_is_well_behind_a_good_proxy_and_nothing_stays(server: Server, trusted: ssl.SSLContext) -> None:
    before = registrations(server)
    with between(server.url, context=trusted) as origin:
        examined = Examination(origin, server.operator_api_key)
    assert examined.found == set()
    assert examined.report.walked == [client.name for client in CLIENTS]
    assert [line.name for line in examined.lines if line.skipped] == []
    assert examined.lines[-1].said == "approved, signed in, tools/list names 3, refreshed, revoked and refused"
    made, deleted = registrations(server)
    assert (made - before[0], deleted - before[1]) == (len(CLIENTS) + 1, len(CLIENTS) + 1)
    assert examined.report.left == 0
    assert not SECRET.search(examined.text)


@pytest.mark.parametrize("cuts", [False, True])
def test_an_issuer_with_a_path_is_walked_to_below_it(tmp_path: Path, cuts: bool) -> None:
    """Whether or not the proxy cuts the path off."""
    port = free_port()

    def cut(request: Request) -> Request:
        return replace(request, url=request.url.removeprefix("/auth")) if cuts else request

    env = NO_DOCUMENTS | {"OVAUTH_ISSUER": f"http://127.0.0.1:{port}/auth"}
    with (
        running(data_dir=tmp_path / "data", env=env) as server,
        between(server.url, on_request=cut, name="127.0.0.1", port=port) as origin,
    ):
        examined = Examination(f"{origin}/auth", server.operator_api_key)
    assert examined.found == set()
    assert examined.lines[-1].said.endswith("revoked and refused")


def registrations(server: Server) -> tuple[int, int]:
    events = [json.loads(line)["event"] for line in server.manage("export_audit").splitlines()]
    return events.count("client.registered"), events.count("client.deleted")


def test_every_fault_has_a_test() -> None:
    """By its name, in one of these files."""
    files = [*Path(__file__).parent.glob("test_*.py"), Path(test_doctor.__file__)]
    assert set(FAULTS) <= {word for file in files for word in re.split(r"[\" ]", file.read_text())}


# ------------------------------------------------------------------ nobody there, or something else


def test_a_name_that_leads_nowhere() -> None:
    examined = Examination("https://ovauth-doctor.invalid")
    assert examined.found == {"name-unknown"}
    assert examined.failing("name-unknown") == EVERYBODY


def test_nobody_listens() -> None:
    assert Examination(f"http://127.0.0.1:{free_port()}").found == {"refused"}


def test_an_address_without_a_way_there() -> None:
    """The kernel refuses it before anything is sent."""
    assert Examination("http://255.255.255.255").found == {"no-route"}


def test_one_of_two_addresses_that_is_dead(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaching, "_resolve", lambda target: ["127.0.0.1", "127.0.0.2"])
    examined = Examination(server.url)
    assert examined.found == {"one-address-dead"}
    assert "127.0.0.2 nobody answers (refused)" in examined.report.findings["one-address-dead"].sentence
    assert examined.report.is_well


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port of something that takes connections and does with them what `answer` does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, suppress(OSError):
                        answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def test_something_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "TIMEOUT", 0.3)
    with listening(lambda connection: time.sleep(1)) as port:
        assert Examination(f"http://127.0.0.1:{port}").found == {"timeout"}


def test_something_that_hangs_up() -> None:
    with listening(lambda connection: None) as port:
        examined = Examination(f"http://127.0.0.1:{port}")
    assert examined.found == {"cut-off"}


def test_http_where_https_is_expected(server: Server) -> None:
    assert Examination(server.url.replace("http://", "https://")).found == {"no-tls"}


def test_a_server_that_takes_http2_alone(trusted: ssl.SSLContext, public: None) -> None:
    trusted.set_alpn_protocols(["h2"])
    try:
        with listening(lambda connection: trusted.wrap_socket(connection, server_side=True).close()) as port:
            assert Examination(f"https://localhost:{port}").found == {"http1-refused"}
    finally:
        trusted.set_alpn_protocols(["http/1.1"])


def test_a_proxy_without_anybody_behind_it() -> None:
    with between(f"http://127.0.0.1:{free_port()}", name="127.0.0.1") as origin:
        examined = Examination(origin)
    assert examined.found == {"bad-gateway"}
    assert {line.name for line in examined.lines} == EVERYBODY | {"address"}  # and no check makes noise about it


def test_http_that_is_sent_on_to_https() -> None:
    def to_https(request: Request) -> Answer:
        return to(f"https://{request.headers['host'].partition(':')[0]}{request.url}")

    with between("http://127.0.0.1:1", on_request=to_https, name="127.0.0.1") as origin:
        examined = Examination(origin)
    assert "post-to-https" in examined.found
    assert "https://127.0.0.1/mcp" in examined.report.findings["post-to-https"].remedy


def test_addresses_that_the_internet_does_not_reach(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaching, "_resolve", lambda target: ["10.0.0.5"])
    examined = Examination(server.url, server.operator_api_key)
    assert examined.found == {"private-address", "not-encrypted"}
    assert examined.lines[-1].skipped, "the key is not sent in plain"
    assert examined.failing("private-address") == examined.failing("not-encrypted") == HOSTED


def test_registration_that_is_closed(tmp_path: Path) -> None:
    with running(data_dir=tmp_path / "data", env=NO_DOCUMENTS | {"OVAUTH_REGISTRATION": "token"}) as server:
        examined = Examination(server.url)
        with_key = Examination(server.url, server.operator_api_key)
    assert examined.found == {"registration-closed"}
    assert with_key.lines[-1].said.endswith("revoked and refused")  # the key opens the registration for the doctor


def test_oauth_that_is_switched_off(tmp_path: Path) -> None:
    with running(data_dir=tmp_path / "data", env={"OVAUTH_ENABLED": "false"}) as server:
        examined = Examination(server.url)
    assert "no-metadata" in examined.found
    assert "OVAUTH_ENABLED=false" in examined.report.findings["no-metadata"].remedy


@pytest.mark.usefixtures("public")
def test_a_key_of_another_server_ends_the_way_at_the_code_page(server: Server, trusted: ssl.SSLContext) -> None:
    with between(server.url, context=trusted) as origin:
        examined = Examination(origin, "ovk_" + "x" * 43)
    assert examined.found == {"key-unknown"}
    assert examined.report.is_well
    assert "ovk_x" not in examined.text


# ------------------------------------------------------------------ certificates


def with_certificate(server: Server, certificate: Certificate, name: str = "localhost") -> Examination:
    with between(server.url, context=certificate.context(), name=name) as origin:
        return Examination(origin, server.operator_api_key)


@pytest.mark.parametrize("days", [(-90, -1), (1, 90)])
def test_a_certificate_that_is_not_valid_today(
    server: Server, authority: Certificate, public: None, tmp_path: Path, days: tuple[float, float]
) -> None:
    examined = with_certificate(server, certificates.make(tmp_path, by=authority, days=days))
    assert examined.found == {"certificate-expired"}
    assert examined.failing("certificate-expired") == EVERYBODY
    assert examined.lines[-1].skipped, "no key is sent to whom one cannot trust"


def test_a_certificate_that_is_its_own_authority(server: Server, public: None, tmp_path: Path) -> None:
    assert with_certificate(server, certificates.make(tmp_path)).found == {"certificate-self-signed"}


def test_a_certificate_for_another_name(server: Server, authority: Certificate, public: None, tmp_path: Path) -> None:
    examined = with_certificate(server, certificates.make(tmp_path, "www.example.com", by=authority))
    assert examined.found == {"certificate-wrong-name"}
    assert "www.example.com" in examined.report.findings["certificate-wrong-name"].sentence


def test_a_chain_with_a_link_missing(server: Server, authority: Certificate, public: None, tmp_path: Path) -> None:
    between_them = certificates.make(tmp_path, "In between", by=authority, is_authority=True)
    alone = certificates.make(tmp_path, by=between_them, tells_issuer=True)
    assert with_certificate(server, alone).found == {"certificate-chain-incomplete"}
    whole = certificates.make(tmp_path, by=between_them, tells_issuer=True, shows=(between_them,))
    assert with_certificate(server, whole).found == set()


def test_a_certificate_of_an_authority_that_nobody_knows(server: Server, public: None, tmp_path: Path) -> None:
    stranger = certificates.make(tmp_path, "Stranger", is_authority=True)
    examined = with_certificate(server, certificates.make(tmp_path, by=stranger))
    assert examined.found == {"certificate-unknown-authority"}
    assert "Stranger" in examined.report.findings["certificate-unknown-authority"].sentence


def test_an_authority_that_this_computer_alone_knows(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = certificates.make(tmp_path, "Ours", is_authority=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(ours.file))
    monkeypatch.setattr(reaching, "_resolve", lambda target: ["203.0.113.7"])
    examined = with_certificate(server, certificates.make(tmp_path, by=ours))
    assert examined.found == {"certificate-private-authority"}
    assert "NODE_EXTRA_CA_CERTS" in examined.report.findings["certificate-private-authority"].remedy


def test_a_certificate_that_ends_soon(server: Server, authority: Certificate, public: None, tmp_path: Path) -> None:
    examined = with_certificate(server, certificates.make(tmp_path, by=authority, days=(-80, 5.5)))
    assert examined.found == {"certificate-ends-soon"}
    assert examined.report.is_well
