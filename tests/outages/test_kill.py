"""kill -9 in the middle of work: nothing acknowledged is lost, nothing consumed comes back, service returns by itself."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.databases import NotHere
from tests.deploy.proxies import free_port
from tests.outages.load import Load, seconds
from tests.outages.postgresql import PostgreSQL, own_postgresql
from tests.serving import Server, running

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("outages")]

# An older refresh token is a replay at once, and a replay ends that connection alone: so each is judged by itself.
STRICT = {"OVAUTH_REFRESH_GRACE": "0", "OVAUTH_REPLAY_REVOKES": "grant"}


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """What a server's environment says of its database."""
    if request.param == "sqlite":
        yield {}
        return
    try:
        with own_postgresql() as server:
            yield {"DATABASE_URL": server.url()}
    except NotHere as why:
        pytest.skip(str(why))


@contextmanager
def serving(data_dir: Path, port: int, database: dict[str, str], workers: int = 2) -> Iterator[Server]:
    env = {**STRICT, **database, "OVAUTH_PUBLIC_BASE_URL": f"http://127.0.0.1:{port}"}
    with running(data_dir=data_dir, env=env, args=("--port", str(port), "--workers", str(workers))) as server:
        yield server


def workers_of(server: Server) -> list[int]:
    """The processes that answer: children of the first one, without Python's own helper."""
    found = subprocess.run(
        ["pgrep", "-P", str(server.process.pid), "-f", "spawn_main"], capture_output=True, text=True, check=False
    )
    return [int(pid) for pid in found.stdout.split()]


def gone(pids: list[int]) -> bool:
    return not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_workers_are_killed_one_after_the_other(tmp_path: Path, database: dict[str, str]) -> None:
    with serving(tmp_path / "data", free_port(), database) as server:
        with Load(server.url, server.operator_api_key) as load:
            for _ in range(4):
                load.waits_for(3)
                os.kill(workers_of(server)[0], signal.SIGKILL)
            load.waits_for(5)
            for pid in workers_of(server):  # and all at once
                os.kill(pid, signal.SIGKILL)
            load.waits_for(5)
        assert len(workers_of(server)) == 2
        load.verify()


def test_the_whole_server_is_killed_and_started_again(tmp_path: Path, database: dict[str, str]) -> None:
    port = free_port()
    with serving(tmp_path / "data", port, database) as server:
        load = Load(server.url, server.operator_api_key)
        with load:
            load.waits_for(5)
            pids = workers_of(server)
            assert len(pids) == 2
            server.process.kill()  # the first process alone: those that it started see it, and end
            server.process.wait(10)
            deadline = time.monotonic() + 15
            while not gone(pids):
                assert time.monotonic() < deadline, "workers without a parent hold the port"
                time.sleep(0.05)
            with serving(tmp_path / "data", port, database) as again:
                load.waits_for(5)
                os.killpg(again.process.pid, signal.SIGKILL)  # every process at the same moment
                again.process.wait(10)
            with serving(tmp_path / "data", port, database):
                load.waits_for(5)
                load.__exit__()
                load.verify()


def test_postgresql_is_killed_and_comes_back(tmp_path: Path) -> None:
    try:
        with own_postgresql() as postgresql:
            _through_the_death_of(postgresql, tmp_path / "data")
    except NotHere as why:
        pytest.skip(str(why))


def _through_the_death_of(postgresql: PostgreSQL, data_dir: Path) -> None:
    with serving(data_dir, free_port(), {"DATABASE_URL": postgresql.url()}) as server:
        pids = workers_of(server)
        with Load(server.url, server.operator_api_key) as load:
            for _ in range(2):
                load.waits_for(5)
                postgresql.kill()
                answer = httpx2.get(f"{server.url}/health/ready", timeout=10)
                assert answer.status_code == 503
                assert httpx2.get(f"{server.url}/health/live", timeout=10).status_code == 200
                postgresql.start()
                assert seconds(lambda: load.waits_for(2, seconds=15)) < 15
            load.waits_for(5)
        assert load.statuses["/token", 503], "the outage was not noticed"
        assert workers_of(server) == pids, "an outage of the database is no reason to die"
        load.verify()
