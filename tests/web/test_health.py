"""Alive, and ready: told within a second, also when the database hangs; in detail only to whoever may know."""

import asyncio
import time

import httpx2
import pytest

from ovauth.flows import readiness
from ovauth.web import health
from tests.conftest import Person
from tests.outages.postgresql import own_postgresql
from tests.serving import running
from tests.web.asking import Site

pytestmark = pytest.mark.django_db
HERE = "127.0.0.1"


def test_live_asks_no_database(site: Site, django_assert_num_queries: object) -> None:
    with django_assert_num_queries(0):  # type: ignore[operator]
        answer = site.get("/health/live")
    assert (answer.status, answer.json()) == (200, {"status": "ok"})


def test_details_are_for_this_computer_and_for_the_key_of_a_root(
    site: Site, root: Person, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "thread", site.threads)
    everything = {"database": "ok", "migrations": "ok", "folder": "ok"}
    assert everything.items() <= site.get("/health/ready", peer=HERE).json()["checks"].items()
    assert site.get("/health/ready", key=root.api_key).json()["checks"]["mcp_server"] == "ok, 3 tools"
    assert site.get("/health/ready").json() == {"status": "ok"}
    assert site.get("/health/ready", key=alice.api_key).json() == {"status": "ok"}
    assert site.get("/health/ready", key="ovk_unknown").json() == {"status": "ok"}
    through_a_proxy = site.get("/health/ready", peer=HERE, headers={"X-Forwarded-For": "203.0.113.9"})
    assert through_a_proxy.json() == {"status": "ok"}


def test_what_is_wrong_is_named_and_the_status_is_503(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "thread", site.threads)
    monkeypatch.setattr(readiness, "_migrated", False)
    monkeypatch.setattr(readiness, "pending_migrations", lambda: True)
    answer = site.get("/health/ready", peer=HERE)
    assert (answer.status, answer.json()["status"]) == (503, "unavailable")
    assert "run migrate" in answer.json()["checks"]["migrations"]
    assert site.get("/health/ready").json() == {"status": "unavailable"}


def test_a_hundred_probes_ask_a_hanging_database_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def hangs() -> dict[str, str]:
        asked.append(1)
        time.sleep(1.5)
        return {"database": "ok"}

    monkeypatch.setattr(readiness, "checks", hangs)

    async def probe() -> list[dict[str, str]]:
        asking = health.Health()
        return await asyncio.gather(*(asking.checks() for _ in range(100)))

    started = time.monotonic()
    assert {said["database"] for said in asyncio.run(probe())} == {"does not answer within 1 s"}
    assert len(asked) == 1
    assert time.monotonic() - started < 4


@pytest.mark.slow
def test_a_frozen_postgresql_hangs_no_probe(tmp_path_factory: pytest.TempPathFactory) -> None:
    with own_postgresql() as postgresql:
        data_dir = tmp_path_factory.mktemp("frozen") / "data"
        with running(data_dir=data_dir, env={"DATABASE_URL": postgresql.url()}) as server:
            assert httpx2.get(f"{server.url}/health/ready").status_code == 200
            postgresql.freeze()
            for _ in range(3):
                started = time.monotonic()
                answer = httpx2.get(f"{server.url}/health/ready", timeout=10)
                assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
                assert time.monotonic() - started < 2
            assert httpx2.get(f"{server.url}/health/live", timeout=2).status_code == 200
            postgresql.thaw()
            until = time.monotonic() + 30
            while httpx2.get(f"{server.url}/health/ready", timeout=10).status_code != 200:
                assert time.monotonic() < until
                time.sleep(0.2)
