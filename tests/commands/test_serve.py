"""`serve`, as a person starts it: a real process, an empty folder, a terminal that is none."""

import os
import re
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from django.core.management.base import CommandError

from ovauth.conf import VERSION
from ovauth.flows import housekeeping
from ovauth.management.commands.serve import Command
from project.life import keep_house
from tests.serving import READY, Server, environment, manage, running

WAITS = "tests.commands.slow:waits"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data folder that does not exist yet."""
    return tmp_path / "data"


@dataclass(frozen=True)
class Prepared:
    """A data folder as the first start left it, and the operator's key."""

    data_dir: Path
    key: dict[str, str]


@pytest.fixture(scope="module")
def first_start(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("first") / "data"
    with running(data_dir=folder) as server:
        return Prepared(folder, {"X-Api-Key": server.operator_api_key})


@pytest.fixture
def prepared(first_start: Prepared, tmp_path: Path) -> Prepared:
    """One's own copy of it."""
    shutil.copytree(first_start.data_dir, tmp_path / "data", copy_function=shutil.copy2)
    return Prepared(tmp_path / "data", first_start.key)


# ------------------------------------------------------------------ starting


def test_the_first_start_makes_everything_and_shows_the_operator_and_the_second_is_quiet(data_dir: Path) -> None:
    with running(data_dir=data_dir) as first:
        said = "\n".join(first.told())
        assert mode(data_dir) == 0o700
        assert mode(data_dir / "secret_key") == 0o600
        assert mode(data_dir / "ovauth.sqlite3") == 0o600
        lines = said.splitlines()
        assert re.fullmatch(rf"ovauth {re.escape(VERSION)} · Django \S+ · mcp \S+ · SQLite data/ovauth.sqlite3", lines[0])
        assert lines[1] == "created   data/ (only you can read it), secret key, database"
        assert "  user name  operator" in lines
        assert f"Console      {first.url}/console/" in lines
        assert f"MCP server   {first.url}/mcp   (bundled example, 3 tools)" in lines
        assert f"Connect      claude mcp add --transport http ovauth {first.url}/mcp" in lines
        assert "uv run manage.py rotate_api_key operator --account default" in said  # it is no terminal: kept in a log
        assert READY.fullmatch(lines[-1])
        who = httpx2.get(f"{first.url}/api/v1/whoami", headers={"X-Api-Key": first.operator_api_key}).json()
        assert (who["account_id"], who["user_id"], who["role"]) == ("default", "operator", "root")
        assert first.stop() == 0
    with running(data_dir=data_dir) as second:
        said = [line.split(" ")[0] for line in second.told() if line]
        assert said == ["ovauth", "Console", "MCP", "Connect", "ovauth"]
        assert not second.operator_api_key
    assert all(first.operator_api_key.encode() not in file.read_bytes() for file in data_dir.iterdir() if file.is_file())


def test_pages_find_their_static_files_and_the_printed_addresses_are_public(prepared: Prepared) -> None:
    with running(data_dir=prepared.data_dir, env={"OVAUTH_PUBLIC_BASE_URL": "https://ov.example.com"}) as server:
        assert "MCP server   https://ov.example.com/mcp " in server.output()
        assert server.told()[-1].startswith("ovauth ready at http://127.0.0.1:")
        page = httpx2.get(f"{server.url}/console/login").text
        links = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
        assert links
        for link in links:
            assert re.search(r"\.[0-9a-f]{12}\.", link), link
            assert httpx2.get(server.url + link).status_code == 200


@pytest.mark.slow
def test_a_first_start_that_was_killed_half_way_shows_fresh_credentials(data_dir: Path) -> None:
    """Killed between the showing and the commit: what was shown is worth nothing, and nobody is locked out."""
    manage("collect_garbage", data_dir=data_dir)
    killed = subprocess.run(
        [
            sys.executable,
            "-c",
            "import django, os, sys; django.setup()\n"
            "from ovauth.flows import accounts\n"
            "def show(made): sys.stdout.write(made.api_key); sys.stdout.flush(); os._exit(9)\n"
            "accounts.create_first_operator(show)",
        ],
        env=environment(data_dir) | {"DJANGO_SETTINGS_MODULE": "project.settings"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == 9, killed.stderr
    with running(data_dir=data_dir) as server:
        status = {
            key: httpx2.get(f"{server.url}/api/v1/whoami", headers={"X-Api-Key": key}).status_code
            for key in (killed.stdout, server.operator_api_key)
        }
        assert status == {killed.stdout: 401, server.operator_api_key: 200}


@pytest.mark.slow
def test_two_starts_at_once_on_one_empty_folder_take_turns(data_dir: Path) -> None:
    def start() -> tuple[str, str]:
        with running(data_dir=data_dir) as server:
            assert httpx2.get(f"{server.url}/health/ready").status_code == 200
            return server.operator_api_key, server.output()

    with ThreadPoolExecutor(2) as starters:
        keys = [future.result()[0] for future in [starters.submit(start) for _ in range(2)]]
    assert len([key for key in keys if key]) == 1


# ------------------------------------------------------------------ not starting


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def refused(data_dir: Path, *args: str, env: dict[str, str] | None = None) -> str:
    """What `serve` says when it does not start: on standard error, one line, status 2."""
    done = manage("serve", "--port", "0", *args, data_dir=data_dir, env=env)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "ready" not in done.stdout
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.strip()


def test_a_taken_port_is_named_with_another_one_before_anything_is_created(data_dir: Path, taken_port: int) -> None:
    said = refused(data_dir, "--port", str(taken_port))
    found = re.fullmatch(rf"Port {taken_port} is in use\. Try `--port (\d+)`", said)
    assert found
    assert int(found[1]) > taken_port
    assert not (data_dir / "ovauth.sqlite3").exists()


def test_a_taken_port_is_told_before_an_upstream_is_waited_for(data_dir: Path, taken_port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        env = {"OVAUTH_UPSTREAM_MCP_URL": f"http://127.0.0.1:{silent.getsockname()[1]}/mcp"}
        assert "is in use" in refused(data_dir, "--port", str(taken_port), env=env)
        silent.settimeout(0)
        with pytest.raises(BlockingIOError):
            silent.accept()


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"OVAUTH_MCP_SERVER": "tests.commands.slow:server"}, "tests.commands.slow has no `server`; it has: waits"),
        ({"OVAUTH_MCP_SERVER": "no_such_module:app"}, "there is no module no_such_module"),
        (
            {"OVAUTH_MCP_SERVER": "notes.app"},
            "OVAUTH_MCP_SERVER: “notes.app” cannot be used: write module:object, such as notes.app:mcp.",
        ),
        (
            {"OVAUTH_MCP_SERVER": "tests.resource.servers:official"},
            "requires the scope admin, which nobody can have. The scopes are mcp; name it in OVAUTH_SCOPES.",
        ),
        ({"OVAUTH_PENDING_TTL": "soon"}, "OVAUTH_PENDING_TTL: “soon” cannot be used"),
        ({"OVAUTH_ISSUER": "http://ov.example"}, "OVAUTH_ISSUER: “http://ov.example” cannot be used"),
        (
            {"OVAUTH_SCOPES": "mcp = use it\n admin (boss) = more"},
            "admin names the role “boss”; the roles are user, admin, root",
        ),
        (
            {"OVAUTH_DEFAULT_SCOPES": "mcp notes"},
            "OVAUTH_DEFAULT_SCOPES: “mcp notes” cannot be used: notes is no scope here",
        ),
        (
            {"OVAUTH_UPSTREAM_MCP_URL": "http://127.0.0.1:9/mcp?key=the-password", "OVAUTH_MCP_SERVER": "notes:server"},
            "unset it, or unset OVAUTH_MCP_SERVER, which names a server too",
        ),
        ({"OVAUTH_UPSTREAM_API_KEY": "the-password"}, "there is no upstream to send it to; set OVAUTH_UPSTREAM_MCP_URL"),
        (
            {"OVAUTH_SCOPES": "notes = read your notes"},
            "requires the scope admin, which nobody can have. The scopes are notes;",
        ),
        ({"DATABASE_URL": "postgres://u:the-password@127.0.0.1:1/x"}, "The database does not do its work"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_allowed(data_dir: Path, env: dict[str, str], said: str) -> None:
    told = refused(data_dir, env=env)
    assert said in told
    assert "the-password" not in told


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "OVAUTH_DATA_DIR" in refused(tmp_path / "data", env={"OVAUTH_DATA_DIR": str(tmp_path / "file" / "data")})


def test_an_address_of_another_machine_is_named(data_dir: Path) -> None:
    assert (
        refused(data_dir, "--host", "192.0.2.1") == "--host 192.0.2.1 is no address of this machine. Try `--host 127.0.0.1`"
    )


def test_a_newer_database_is_left_alone(prepared: Prepared) -> None:
    with sqlite3.connect(prepared.data_dir / "ovauth.sqlite3") as database:
        database.execute("INSERT INTO django_migrations (app, name, applied) VALUES ('ovauth', '9999_later', '2030-01-01')")
    assert "newer than this program (it has ovauth.9999_later" in refused(prepared.data_dir)


@pytest.mark.parametrize("args", [("--port", "65536"), ("--port", "-1"), ("--port", "x"), ("--workers", "0")])
def test_arguments_that_make_no_sense_are_refused(args: tuple[str, str]) -> None:
    with pytest.raises(CommandError, match=f"argument {args[0]}: .* use "):
        Command().create_parser("manage.py", "serve").parse_args([f"{args[0]}={args[1]}"])


# ------------------------------------------------------------------ stopping


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_finishes_what_is_in_flight(prepared: Prepared, tmp_path: Path, workers: str) -> None:
    release = tmp_path / "release"
    env = {"OVAUTH_MCP_SERVER": WAITS, "RELEASE": str(release)}
    with (
        running(data_dir=prepared.data_dir, env=env, args=("--workers", workers)) as server,
        ThreadPoolExecutor(1) as caller,
    ):
        answer = caller.submit(httpx2.post, f"{server.url}/mcp", headers=prepared.key, json={}, timeout=30)
        server.waits_for("^in flight$")
        server.process.send_signal(signal.SIGTERM)
        server.waits_for("^Stopping")
        release.touch()
        assert answer.result().status_code == 200
        assert server.process.wait(20) == 0
        assert server.told()[-1].startswith("Stopping")
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(server.url)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_that_stops_is_not_ready_and_answers_whoever_still_comes(
    prepared: Prepared, tmp_path: Path, workers: str
) -> None:
    """So a balancer sends nobody any more, before a connection is refused."""
    release = tmp_path / "release"
    env = {"OVAUTH_MCP_SERVER": WAITS, "RELEASE": str(release)}
    with (
        running(data_dir=prepared.data_dir, env=env, args=("--workers", workers)) as server,
        ThreadPoolExecutor(int(workers) * 4) as callers,
    ):

        def call() -> int:
            return httpx2.post(f"{server.url}/mcp", headers=prepared.key, json={}, timeout=30).status_code

        assert httpx2.get(f"{server.url}/health/ready").status_code == 200
        answers = [callers.submit(call) for _ in range(int(workers) * 4)]  # each worker has one, very nearly certainly
        deadline = time.monotonic() + 20
        while server.output().count("in flight") < len(answers):
            assert time.monotonic() < deadline, server.output()
            time.sleep(0.02)
        server.process.send_signal(signal.SIGTERM)
        server.waits_for("^Stopping")
        deadline = time.monotonic() + 3
        while (ready := httpx2.get(f"{server.url}/health/ready")).status_code == 200:
            assert time.monotonic() < deadline, "it stops, and says that it is ready"
        assert ready.status_code == 503
        assert ready.json() == {
            "status": "unavailable",
            "checks": {"process": "stops when what is in flight is answered"}
            | {name: said for name, said in ready.json()["checks"].items() if name == "mcp_server"},
        }
        assert httpx2.get(f"{server.url}/health/live").status_code == 200
        assert httpx2.get(f"{server.url}/.well-known/oauth-authorization-server").status_code == 200
        assert "ovauth_ready 0.0" in httpx2.get(f"{server.url}/metrics", headers=prepared.key).text
        release.touch()
        assert [answer.result() for answer in answers] == [200] * len(answers)
        assert server.process.wait(20) == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_with_nobody_inside_stops_at_once(prepared: Prepared, workers: str) -> None:
    with running(data_dir=prepared.data_dir, args=("--workers", workers)) as server:
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 4


def ctrl_c(server: Server) -> None:
    """As a terminal does it: to every process in the foreground."""
    os.killpg(server.process.pid, signal.SIGINT)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_says_one_line_and_a_second_one_stops_at_once(prepared: Prepared, tmp_path: Path, workers: str) -> None:
    env = {"OVAUTH_MCP_SERVER": WAITS, "RELEASE": str(tmp_path / "never")}
    with (
        running(data_dir=prepared.data_dir, env=env, args=("--workers", workers)) as server,
        ThreadPoolExecutor(1) as caller,
    ):
        answer = caller.submit(httpx2.post, f"{server.url}/mcp", headers=prepared.key, json={}, timeout=30)
        server.waits_for("^in flight$")
        ctrl_c(server)
        server.waits_for("^Stopping")
        ctrl_c(server)
        assert server.process.wait(5) == 130
        with pytest.raises(httpx2.HTTPError):
            answer.result()


def test_ctrl_c_with_nothing_to_do_ends_well(prepared: Prepared) -> None:
    with running(data_dir=prepared.data_dir) as server:
        before = len(server.told())
        ctrl_c(server)
        assert server.process.wait(20) == 0
    assert len(server.told()) == before + 1


# ------------------------------------------------------------------ while it runs


@pytest.mark.slow
def test_several_workers_share_the_port_and_one_that_dies_is_replaced(prepared: Prepared, tmp_path: Path) -> None:
    release = tmp_path / "release"
    release.touch()
    env = {"OVAUTH_MCP_SERVER": WAITS, "RELEASE": str(release)}
    with running(data_dir=prepared.data_dir, env=env, args=("--workers", "2")) as server:

        def asked() -> int:
            """The process that answered, on a connection of its own."""
            return int(httpx2.post(f"{server.url}/mcp", headers=prepared.key, json={}).text)

        first = asked()
        assert first != server.process.pid
        os.kill(first, signal.SIGKILL)
        answered: set[int] = set()
        deadline = time.monotonic() + 60
        with ThreadPoolExecutor(4) as callers:
            while len(answered) < 2 and time.monotonic() < deadline:
                for future in [callers.submit(asked) for _ in range(8)]:
                    with suppress(httpx2.TransportError):  # the dead one had taken this connection
                        answered.add(future.result())
        assert len(answered - {first}) == 2
        ctrl_c(server)
        assert server.process.wait(20) == 0


def test_housekeeping_goes_on_after_a_fault(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    stop, calls = threading.Event(), []

    def keep(*, holder: str, every: float) -> dict[str, int]:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("the database is on holiday")
        stop.set()
        return {}

    monkeypatch.setattr(housekeeping, "keep", keep)
    keep_house(stop, looks=0.001)
    assert len(calls) == 2
    assert "the database is on holiday" in caplog.text
