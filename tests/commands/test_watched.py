"""What a real server tells of itself: metrics over HTTP, whichever worker answers, and a log of JSON lines."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
import yaml

from ovauth import metrics
from ovauth.management.commands import serve
from tests.journeys.people import OfficialClient, Person
from tests.outages.test_kill import workers_of
from tests.serving import SECRET, Server, running

DOCS = Path(__file__).resolve().parents[2] / "docs"
DEPLOY = DOCS.parent / "deploy"
HTTP = {"ts", "level", "event", "method", "route", "status", "ms", "request_id", "account_id", "user_id", "client_id", "ip"}


@dataclass
class Watched:
    server: Server
    key: str

    def scraped(self, **headers: str) -> dict[str, float]:
        """All samples, by name and labels as they are written."""
        # A connection of its own: any of the workers may answer.
        text = httpx2.get(f"{self.server.url}/metrics", headers={"Connection": "close", **headers}).text
        samples = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}

    def lines(self) -> list[dict[str, Any]]:
        """The log: each line that is JSON. Everything else is the story of the start."""
        return [json.loads(line) for line in self.server.output().splitlines() if line.startswith("{")]

    def requests(self, route: str) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line["event"] == "http" and line["route"] == route]


@pytest.fixture(scope="module", params=["1", "2"])
def watched(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A server that a client has connected to, and somebody with a wrong token."""
    data_dir = tmp_path_factory.mktemp("watched") / "data"
    with running(data_dir=data_dir, args=("--workers", request.param)) as server:
        key = server.operator_api_key
        official = OfficialClient(server.url, Person(server.url, key).approve)

        async def journey() -> None:
            async with official.connected() as client:
                await client.list_tools()

        anyio.run(journey)
        wrong = {"Authorization": "Bearer ovat_wrong", "Connection": "close"}
        for _ in range(5):
            assert httpx2.post(f"{server.url}/mcp", headers=wrong, json={}).status_code == 401
            httpx2.post(f"{server.url}/token", data={"grant_type": "nonsense", "client_id": "nobody"})
        httpx2.post(f"{server.url}/register", json={"redirect_uris": ["javascript:alert(1)"]})
        yield Watched(server, key)


@pytest.mark.slow
def test_the_counts_are_those_of_all_workers_whichever_is_asked(watched: Watched) -> None:
    for _ in range(4):
        told = watched.scraped()
        assert told['ovauth_registrations_total{method="dynamic",outcome="registered"}'] == 1
        assert told['ovauth_registrations_total{method="dynamic",outcome="refused"}'] == 1
        assert told['ovauth_tokens_issued_total{grant="authorization_code"}'] == 1
        assert told['ovauth_authorizations_total{outcome="approved",via="api"}'] == 1
        assert told["ovauth_authorization_wait_seconds_count"] == 1
        assert told['ovauth_token_errors_total{error="invalid_client"}'] == 5
        assert told['ovauth_token_checks_total{result="invalid_token"}'] == 5
        assert told['ovauth_token_checks_total{result="ok"}'] == told["ovauth_upstream_duration_seconds_count"]
        assert told['ovauth_http_requests_total{method="POST",route="/token",status="401"}'] == 5
        assert told["ovauth_grants"] == told["ovauth_clients"] == told["ovauth_ready"] == 1
        assert told["ovauth_refresh_reuse_total"] == 0
        assert any(name.startswith("ovauth_build_info{") for name in told)


@pytest.mark.slow
def test_what_a_killed_worker_counted_stays_and_gauges_are_told_once(tmp_path: Path) -> None:
    """Not for each worker that there ever was, nor as the dead one knew them."""
    with running(data_dir=tmp_path / "data", args=("--workers", "2")) as server:
        watched = Watched(server, server.operator_api_key)
        register = {"redirect_uris": ["http://127.0.0.1/callback"]}
        for _ in range(12):  # connections of their own, so that both take part
            assert httpx2.post(f"{server.url}/register", json=register).status_code == 201
        name = 'ovauth_http_requests_total{method="POST",route="/register",status="201"}'
        assert watched.scraped()[name] == 12
        for dead in workers_of(server):  # one after the other: in the end none is left that counted
            os.kill(dead, signal.SIGKILL)
            deadline = time.monotonic() + 30
            while len(alive := workers_of(server)) < 2 or dead in alive:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        assert httpx2.post(f"{server.url}/register", json=register).status_code == 201
        for _ in range(6):
            told = watched.scraped()
            assert told[name] == 13
            assert told['ovauth_registrations_total{method="dynamic",outcome="registered"}'] == 13
            assert told["ovauth_clients"] in (12, 13), "read by the one that is asked, at most every 30 s"
            assert told["ovauth_ready"] == 1
            assert sum(1 for sample in told if sample.startswith("ovauth_build_info{")) == 1


@pytest.mark.slow
def test_metrics_are_for_a_root_and_without_a_key_only_for_this_computer(watched: Watched) -> None:
    url = f"{watched.server.url}/metrics"
    user = watched.server.create_user(f"u{id(watched)}")
    assert httpx2.get(url, headers={"X-Api-Key": watched.key}).status_code == 200
    assert httpx2.get(url, headers={"X-Api-Key": user}).status_code == 403
    assert httpx2.get(url, headers={"X-Api-Key": "ovk_wrong"}).status_code == 401
    for header in ("X-Forwarded-For", "Forwarded", "Via", "X-Forwarded-Proto"):
        assert httpx2.get(url, headers={header: "http"}).status_code == 401, header


@pytest.mark.slow
def test_the_log_is_json_with_a_line_for_each_request_and_neither_query_nor_credential(watched: Watched) -> None:
    for route, status in (("/token", 200), ("/mcp", 200), ("/mcp", 401), ("/register", 201), ("/authorize", 302)):
        line = next(line for line in watched.requests(route) if line["status"] == status)
        assert line.keys() == HTTP
        assert (line["ip"], line["level"]) == ("127.0.0.1", "info")
    assert all(line["client_id"] for line in watched.requests("/token") if line["status"] == 200)
    called = next(line for line in watched.requests("/mcp") if line["status"] == 200)
    assert (called["account_id"], called["user_id"], bool(called["client_id"])) == ("default", "operator", True)
    said = watched.server.output().replace(watched.key, "")
    assert not SECRET.search(said)
    assert not re.search(r"code_challenge|state=|pending=|[?&]code=", said)
    audited = Counter(line["audit"] for line in watched.lines() if line["event"] == "audit")
    assert audited["token.issued"] == audited["authorization.approved"] == audited["settings.loaded"] == 1
    assert not watched.requests("/health/live"), "a probe that went well is not worth a line"


@pytest.mark.slow
def test_an_id_is_the_same_in_the_answer_on_the_page_and_in_the_log(watched: Watched) -> None:
    answer = httpx2.get(f"{watched.server.url}/authorize?client_id=nobody&state=very-secret")
    reference = answer.headers["x-request-id"]
    assert answer.status_code == 400
    assert reference in answer.text
    watched.server.waits_for(f'"event": "http".*"route": "/authorize", "status": 400.*"request_id": "{reference}"')
    proxy = httpx2.post(f"{watched.server.url}/mcp", headers={"X-Request-Id": "from-the-proxy"})
    assert proxy.headers["x-request-id"] == "from-the-proxy"
    for nonsense in ("a b", "x" * 65, '","evil":"'):
        made = httpx2.get(f"{watched.server.url}/health/live", headers={"X-Request-Id": nonsense})
        assert re.fullmatch("[0-9a-f]{32}", made.headers["x-request-id"])


@pytest.mark.slow
def test_behind_a_public_origin_nobody_scrapes_without_a_key(tmp_path: Path) -> None:
    with running(data_dir=tmp_path / "data", env={"OVAUTH_PUBLIC_BASE_URL": "https://ov.example.com"}) as server:
        assert httpx2.get(f"{server.url}/metrics").status_code == 401
        root = {"Authorization": f"Bearer {server.operator_api_key}"}
        assert httpx2.get(f"{server.url}/metrics", headers=root).status_code == 200


@pytest.mark.slow
def test_for_people_the_log_is_lines_and_the_trail_is_told(tmp_path: Path) -> None:
    with running(data_dir=tmp_path / "data", env={"OVAUTH_LOG": "console"}) as server:
        httpx2.get(f"{server.url}/console/login?next=/secret")
        server.waits_for(r"^\S+Z 200 GET     /console/login  \d+\.\d ms  127\.0\.0\.1  [0-9a-f]{32}$")
        server.waits_for(r"^\S+Z settings\.loaded  .*configuration=[0-9a-f]{16}")
        assert "/secret" not in server.output()


def test_what_a_killed_server_left_is_removed_at_the_next_start_and_what_lives_stays(tmp_path: Path) -> None:
    over = subprocess.Popen([sys.executable, "-c", ""])
    over.wait()
    dead, alive = tmp_path / f"{serve.COUNTED}{over.pid}-x", tmp_path / f"{serve.COUNTED}1-x"
    for folder in (dead, alive, tmp_path / f"{serve.COUNTED}nonsense"):
        folder.mkdir()
        serve._remove_if_dead(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([alive.name, f"{serve.COUNTED}nonsense"])


def test_a_process_that_does_not_serve_counts_nothing_and_brings_no_library() -> None:
    asked = (
        "import sys; from ovauth import metrics; metrics.answered('/', 'GET', 200, 1.0); "
        "metrics.happened('token.issued', {}); assert 'prometheus_client' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", asked], cwd=DOCS.parent, check=True)


# ------------------------------------------------------------------ what is written about it


def test_each_metric_is_told_of_and_no_other() -> None:
    told = re.findall(r"^\| `(ovauth_\w+)(?:\{([\w, ]*)\})?`", (DOCS / "operating.md").read_text(), re.MULTILINE)
    assert {(name, tuple(labels.split(", ")) if labels else ()) for name, labels in told} == {
        (metric.name, metric.labels) for metric in metrics.METRICS
    }


@pytest.mark.parametrize("file", ["grafana.json", "alerts.yaml"])
def test_each_metric_that_a_file_of_deployment_names_exists(file: str) -> None:
    text = (DEPLOY / file).read_text()
    named = set(re.findall(r"ovauth_\w+", text))
    exist: set[str] = set()
    for metric in metrics.METRICS:
        endings = ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",)
        exist |= {metric.name + ending for ending in endings}
    assert named
    assert named <= exist
    document = yaml.safe_load(text)  # of which JSON is a part
    told = document["panels"] if "panels" in document else document["groups"][0]["rules"]
    assert len(told) >= 5
