"""A real Prometheus, configured as docs/operating.md says, with the rules that are shipped, and asked as Grafana asks."""

import json
import math
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from tests.databases import NotHere
from tests.deploy.proxies import DEPLOY, free_port
from tests.outages.load import Load
from tests.outages.postgresql import own_postgresql
from tests.serving import Server, running

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("outages")]

PAGE = DEPLOY.parent / "docs" / "operating.md"
EXPRESSIONS = re.findall(r'^ +"expr": (".*"),?$', (DEPLOY / "grafana.json").read_text(), re.MULTILINE)
AFTER_A_FAULT = "5.."
"""In an expression: it tells nothing while all is well."""


@dataclass
class Prometheus:
    url: str

    def asked(self, expression: str) -> list[float]:
        """The values that it comes to, as Grafana puts the question."""
        query = expression.replace("$__rate_interval", "1m")
        answer = httpx2.get(f"{self.url}/api/v1/query", params={"query": query}).json()
        assert answer["status"] == "success", (expression, answer)
        return [float(sample["value"][1]) for sample in answer["data"]["result"]]

    def rules(self) -> dict[str, dict[str, Any]]:
        groups = httpx2.get(f"{self.url}/api/v1/rules").json()["data"]["groups"]
        return {rule["name"]: rule for group in groups for rule in group["rules"]}

    def comes_to(self, expression: str, values: list[float]) -> None:
        deadline = time.monotonic() + 60
        while self.asked(expression) != values:
            assert time.monotonic() < deadline, f"{expression}: {self.asked(expression)}"
            time.sleep(0.5)

    def waits_for(self, *alerts: str) -> None:
        """Until each has been raised: it fires, or will when it has been so for as long as the rule says."""
        deadline = time.monotonic() + 60
        while not {alert for alert in alerts if self.rules()[alert]["state"] != "inactive"}.issuperset(alerts):
            assert time.monotonic() < deadline, {name: rule["state"] for name, rule in self.rules().items()}
            time.sleep(0.5)


@contextmanager
def prometheus(folder: Path, server: Server) -> Iterator[Prometheus]:
    """As the page has it, but for where things are and how often it looks."""
    binary, tool = shutil.which("prometheus"), shutil.which("promtool")
    if binary is None or tool is None:
        pytest.skip("prometheus is not installed (apt-get install --no-install-recommends prometheus)")
    found = re.search(r"```yaml\n(scrape_configs:\n.*?)```", PAGE.read_text(), re.DOTALL)
    assert found
    config = yaml.safe_load(found[1])
    (job,) = config["scrape_configs"]
    assert Path(job["authorization"]["credentials_file"]).is_absolute()
    key = folder / "ovauth-api-key"
    key.write_text(server.operator_api_key)
    job["authorization"]["credentials_file"] = str(key)
    job["static_configs"][0]["targets"] = [server.url.removeprefix("http://")]
    config["rule_files"] = [str(DEPLOY / "alerts.yaml")]
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    written = folder / "prometheus.yml"
    written.write_text(yaml.safe_dump(config))
    checked = subprocess.run([tool, "check", "config", str(written)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    port = free_port()
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                binary,
                f"--config.file={written}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        running_one = Prometheus(f"http://127.0.0.1:{port}")
        deadline = time.monotonic() + 30
        while not _is_up(running_one):
            assert process.poll() is None, (folder / "prometheus.log").read_text()
            assert time.monotonic() < deadline, (folder / "prometheus.log").read_text()
            time.sleep(0.2)
        yield running_one
    finally:
        process.terminate()
        process.wait(20)


def _is_up(one: Prometheus) -> bool:
    try:
        return one.asked('up{job="ovauth"}') == [1]
    except httpx2.TransportError:
        return False


def replayed(load: Load) -> None:
    """Somebody has a copy of a refresh token that was used long ago."""
    held = next(one for one in load.connections if one.spent and not one.revoked)
    stolen = {"grant_type": "refresh_token", "refresh_token": held.spent[0], "client_id": held.client_id}
    assert httpx2.post(f"{load.url}/token", data=stolen).status_code == 400
    held.revoked = True


def guessed(server: Server) -> None:
    """More wrong codes than one person or address may try."""
    for number in range(7):
        headers = {"X-Api-Key": server.create_user(f"guesser{number}"), "X-Forwarded-For": f"203.0.113.{number}"}
        for letter in "BCDEF":
            guess = {"code": f"AAA-AA{letter}", "decision": "approve"}
            answer = httpx2.post(f"{server.url}/api/v1/auth/oauth-verify", headers=headers, json=guess)
            assert answer.status_code == 404
        assert httpx2.post(f"{server.url}/api/v1/auth/oauth-verify", headers=headers, json=guess).status_code == 429


def test_each_question_of_the_dashboard_has_an_answer_and_each_rule_is_raised_by_what_it_is_for(tmp_path: Path) -> None:
    try:
        with own_postgresql() as postgresql:
            env = {"DATABASE_URL": postgresql.url(), "OVAUTH_REFRESH_GRACE": "0", "OVAUTH_REPLAY_REVOKES": "grant"}
            with (
                running(data_dir=tmp_path / "data", env=env, args=("--workers", "2")) as server,
                prometheus(tmp_path, server) as watching,
            ):
                rules = watching.rules()
                assert len(rules) == 5
                with Load(server.url, server.operator_api_key, people=2) as load:
                    load.waits_for(6)
                replayed(load)
                load.verify()
                with httpx2.Client(base_url=server.url) as person:
                    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', person.get("/console/login").text)
                    assert token
                    wrong = {"username": "operator", "password": "wrong", "csrfmiddlewaretoken": token[1]}
                    person.post("/console/login", data=wrong, headers={"Origin": server.url})
                guessed(server)
                watching.waits_for("OvauthRefreshTokenReplayed", "OvauthWrongCodes")
                watching.comes_to("count(ovauth_garbage_last_success_timestamp_seconds)", [1])  # when the house was kept
                for expression in map(json.loads, EXPRESSIONS):
                    if AFTER_A_FAULT not in expression:
                        values = watching.asked(expression)
                        assert values, f"no answer: {expression}"
                        assert any(math.isfinite(value) for value in values), f"{expression}: {values}"
                assert {name for name, rule in watching.rules().items() if rule["state"] != "inactive"} == {
                    "OvauthRefreshTokenReplayed",
                    "OvauthWrongCodes",
                }
                assert sum(watching.asked("sum(increase(ovauth_code_failures_total[1h]))")) > 30
                once = 'sum(increase(ovauth_logins_total{outcome="failed"}[1h])) > bool 0'
                assert watching.asked(once) == [1], "what happened once for the first time rose too"

                for _ in range(2):  # a label is new when it is first counted, and rises when it is counted again
                    postgresql.kill()
                    for _ in range(2):
                        assert httpx2.post(f"{server.url}/par", data={"client_id": "x"}, timeout=30).status_code == 503
                    watching.waits_for("OvauthNotReady")
                    postgresql.start()
                    watching.comes_to('up{job="ovauth"}', [1])
                    watching.comes_to('sum(ovauth_http_requests_total{status="503",route="/par"}) > bool 0', [1])
                watching.waits_for("OvauthServerErrors")
                for expression in map(json.loads, EXPRESSIONS):
                    if AFTER_A_FAULT in expression:
                        assert max(watching.asked(expression)) > 0
                assert {rule["health"] for rule in watching.rules().values()} == {"ok"}
    except NotHere as why:
        pytest.skip(str(why))
