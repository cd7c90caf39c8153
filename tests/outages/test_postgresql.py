"""A PostgreSQL that is slow, silent, full of others or read-only: a clear 503 in time, and all recovers by itself."""

import math
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import psycopg
import pytest

from tests.databases import NotHere
from tests.outages.endpoints import PATIENCE, Asker, asker, longest_of_many
from tests.outages.load import CALLBACK, PING, Load
from tests.outages.postgresql import PostgreSQL, own_postgresql
from tests.outages.slow import slow_way
from tests.serving import running

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("outages")]

MOST = 20
"""`max_connections`, of which three are for superusers."""


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQL]:
    try:
        with own_postgresql(settings=(f"max_connections={MOST}",)) as server:
            with psycopg.connect(server.url(), autocommit=True) as connection:
                connection.execute("CREATE ROLE app LOGIN CREATEDB")
            yield server
    except NotHere as why:
        pytest.skip(str(why))


@pytest.fixture
def url(postgresql: PostgreSQL, request: pytest.FixtureRequest) -> str:
    """An empty database that belongs to a user without privileges."""
    name = f"db{abs(hash(request.node.name))}"
    with psycopg.connect(postgresql.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} OWNER app")  # type: ignore[arg-type]
    return postgresql.url(name=name).replace("//ovauth@", "//app@")


def test_a_frozen_database_costs_nobody_more_than_the_bound(tmp_path: Path, postgresql: PostgreSQL, url: str) -> None:
    with running(data_dir=tmp_path / "data", env={"DATABASE_URL": url}) as server:
        someone = asker(server)
        before = samples(someone.ask("GET", "/metrics").text)
        assert before["ovauth_ready"] == before["ovauth_grants"] == 1
        postgresql.freeze()
        try:
            assert_scrapes_are_answered(someone, before)
            assert longest_of_many(server.url, 24) < PATIENCE
            assert_scrapes_are_answered(someone, before)
            someone.assert_nobody_can_write()
            someone.assert_alive()
        finally:
            postgresql.thaw()
        someone.assert_all_is_well()


def samples(text: str) -> dict[str, float]:
    """Of Prometheus' text, by name and labels as they are written."""
    found = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in found}


def assert_scrapes_are_answered(someone: Asker, before: dict[str, float]) -> None:
    """In time, Prometheus gives up after ten seconds: what was counted, and that it is not ready."""
    counted = {name: value for name, value in before.items() if "_total" in name and "/health" not in name}
    for _ in range(3):
        began = time.monotonic()
        told = samples(someone.ask("GET", "/metrics").text)
        assert time.monotonic() - began < 3
        assert told["ovauth_ready"] == 0
        assert all(told[name] >= value for name, value in counted.items())
        began = time.monotonic()
        assert someone.ask("GET", "/metrics", headers={"X-Api-Key": someone.api_key}).status_code == 503
        assert time.monotonic() - began < 3


def test_a_slow_way_makes_everything_slow_and_nothing_wrong(tmp_path: Path, postgresql: PostgreSQL, url: str) -> None:
    with slow_way(postgresql.port) as way:
        behind = url.replace(f":{postgresql.port}/", f":{way.port}/")
        with running(data_dir=tmp_path / "data", env={"DATABASE_URL": behind}) as server:
            with Load(server.url, server.operator_api_key) as load:
                load.waits_for(2)
                way.delay = 0.05
                load.waits_for(2)
                way.delay = 0
            assert {status for _, status in load.statuses} <= {200, 201, 302}, load.statuses
            someone = asker(server)
            way.delay = math.inf
            someone.assert_nobody_can_write()
            someone.assert_alive()
            way.delay = 0
            someone.assert_all_is_well()


def test_when_others_took_every_connection_those_who_have_one_go_on(
    tmp_path: Path, postgresql: PostgreSQL, url: str
) -> None:
    with running(data_dir=tmp_path / "data", env={"DATABASE_URL": url}) as server:
        someone = asker(server)
        with ExitStack() as taken:
            for _ in range(MOST):
                try:
                    taken.enter_context(psycopg.connect(url))
                except psycopg.OperationalError:
                    break
            statuses = {httpx2.get(f"{server.url}/health/ready", timeout=30).status_code for _ in range(12)}
            assert statuses <= {200, 503}
            someone.assert_alive()
        someone.assert_all_is_well()


def test_a_database_that_takes_no_writes(tmp_path: Path, postgresql: PostgreSQL, url: str) -> None:
    """As after a switch to a standby."""
    with running(data_dir=tmp_path / "data", env={"DATABASE_URL": url}) as server:
        someone = asker(server)

        def switch(state: str) -> None:
            with psycopg.connect(postgresql.url(), autocommit=True) as connection:
                connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {state}")  # type: ignore[arg-type]
                connection.execute("SELECT pg_reload_conf()")
            time.sleep(0.5)

        switch("on")
        try:
            someone.assert_nobody_can_write()
            someone.assert_reading_goes_on()
        finally:
            with psycopg.connect(postgresql.url(), autocommit=True) as connection:
                connection.execute("SET default_transaction_read_only = off")
            switch("off")
        someone.assert_all_is_well()


def test_a_restart_is_noticed_by_nobody_who_comes_afterwards(tmp_path: Path, postgresql: PostgreSQL, url: str) -> None:
    """However many connections lie in the pool: found dead one by one, they would cost the first ones their time."""
    with running(data_dir=tmp_path / "data", env={"DATABASE_URL": url}) as server:
        someone = asker(server)
        with Load(server.url, server.operator_api_key, people=12) as load:
            load.waits_for(20)
        assert connections_of("app", postgresql) > 4
        bearer = {"Authorization": f"Bearer {someone.held.access}", "Accept": "application/json, text/event-stream"}
        for ask in (
            lambda: someone.ask("POST", "/register", json={"redirect_uris": [CALLBACK]}),
            lambda: someone.ask("POST", "/mcp", headers=bearer, json=PING),
            lambda: someone.ask("GET", "/api/v1/whoami", headers={"X-Api-Key": someone.api_key}),
            lambda: someone.ask("GET", "/health/ready"),
        ):
            postgresql.kill()
            postgresql.start()
            for _ in range(6):
                began = time.monotonic()
                assert ask().status_code in (200, 201)
                assert time.monotonic() - began < 2


def test_a_server_gives_back_what_it_needs_no_more(tmp_path: Path, postgresql: PostgreSQL, url: str) -> None:
    """To the pool; and one thread's connection serves the next."""
    with running(data_dir=tmp_path / "data", env={"DATABASE_URL": url}) as server:
        for _ in range(20):  # one after the other, by pages' threads, programs' and the probe's
            assert httpx2.get(f"{server.url}/console/login").status_code == 200
            assert httpx2.post(f"{server.url}/register", json={"redirect_uris": [CALLBACK]}).status_code == 201
            assert httpx2.get(f"{server.url}/health/ready").status_code == 200
        assert connections_of("app", postgresql) <= 3
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 4
    assert connections_of("app", postgresql) == 0


def connections_of(user: str, postgresql: PostgreSQL) -> int:
    with psycopg.connect(postgresql.url()) as connection:
        asked = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s"
        found = connection.execute(asked, [user]).fetchone()
    assert found is not None
    return int(found[0])


def test_a_server_keeps_as_many_connections_for_each_worker_as_operators_are_told(
    tmp_path: Path, postgresql: PostgreSQL, url: str
) -> None:
    """docs/operating.md: 14 × workers."""
    with running(data_dir=tmp_path / "data", env={"DATABASE_URL": url}) as server:
        with Load(server.url, server.operator_api_key, people=12) as load:
            load.waits_for(20)
            found = connections_of("app", postgresql)
        assert found <= 14
        assert not load.surprises, load.surprises
