"""A disk that is full or read-only, and a database that is locked: a clear 503, reads go on, and all recovers by itself."""

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from tests.outages.endpoints import PATIENCE, asker, longest_of_many
from tests.outages.load import Load
from tests.outages.test_kill import workers_of
from tests.serving import Server, manage, running

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("outages")]


@contextmanager
def small_disk(folder: Path, size: str = "24m") -> Iterator[Path]:
    """A disk of its own, of that size. Skips where nobody may mount one."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"a disk of a small size cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    """Takes all the room that is left."""
    filler = folder / "filler"
    descriptor = os.open(filler, os.O_CREAT | os.O_WRONLY)
    with suppress(OSError):
        while True:
            os.write(descriptor, b"x" * 4096)
    os.close(descriptor)
    return filler


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_full_disk(tmp_path: Path, workers: str) -> None:
    with small_disk(tmp_path / "disk") as disk, running(data_dir=disk / "data", args=("--workers", workers)) as server:
        someone = asker(server)
        filler = fill(disk)
        someone.assert_nobody_can_write()
        someone.assert_reading_goes_on()
        assert server.process.poll() is None
        filler.unlink()
        someone.assert_all_is_well()


def test_a_disk_that_fills_up_under_load_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    strict = {"OVAUTH_REFRESH_GRACE": "0", "OVAUTH_REPLAY_REVOKES": "grant"}
    with small_disk(tmp_path / "disk") as disk, running(data_dir=disk / "data", env=strict) as server:
        with Load(server.url, server.operator_api_key) as load:
            for _ in range(3):
                load.waits_for(3)
                filler = fill(disk)
                time.sleep(1)
                filler.unlink()
            load.waits_for(3)
        assert load.statuses["/token", 503] + load.statuses["/register", 503], "nobody noticed that the disk was full"
        load.verify()


def test_files_that_may_not_grow(tmp_path: Path) -> None:
    """The limit of a process instead of a disk's (RLIMIT_FSIZE): the second way to be full, for whoever may not mount."""
    with running(data_dir=tmp_path / "data") as server:
        someone = asker(server)
        before = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (0, before[1]))
        for path, answer in someone.writes().items():
            assert answer.status_code == 503, f"{path}: {answer.status_code} {answer.text}"
        someone.assert_reading_goes_on()
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, before)
        someone.assert_all_is_well()


def test_a_database_that_is_locked_by_another_program(tmp_path: Path) -> None:
    with running(data_dir=tmp_path / "data") as server:
        someone = asker(server)
        with closing(sqlite3.connect(tmp_path / "data" / "ovauth.sqlite3", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            someone.assert_nobody_can_write()
            someone.assert_reading_goes_on()
            other.execute("ROLLBACK")
        someone.assert_all_is_well()


def test_however_many_ask_while_it_is_locked_nobody_waits_for_all_the_others(tmp_path: Path) -> None:
    with running(data_dir=tmp_path / "data") as server:
        with closing(sqlite3.connect(tmp_path / "data" / "ovauth.sqlite3", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert longest_of_many(server.url, 24) < PATIENCE
            other.execute("ROLLBACK")
        asker(server).assert_all_is_well()


def test_a_short_lock_is_waited_for_and_nobody_notices(tmp_path: Path) -> None:
    with running(data_dir=tmp_path / "data") as server:
        with Load(server.url, server.operator_api_key) as load:
            for _ in range(3):
                load.waits_for(1)
                with closing(sqlite3.connect(tmp_path / "data" / "ovauth.sqlite3", isolation_level=None)) as other:
                    other.execute("BEGIN IMMEDIATE")
                    time.sleep(1)  # a fifth of what is waited for: a machine under load has its own waits
                    other.execute("ROLLBACK")
            load.waits_for(2)
        assert not load.surprises, load.surprises
        assert {status for _, status in load.statuses} <= {200, 201, 302}


def test_a_file_system_that_became_read_only(tmp_path: Path) -> None:
    """By rights: what the server's new processes open can be read and not written."""
    with running(data_dir=tmp_path / "data", args=("--workers", "2"), before=stopped_by_rights()) as server:
        someone = asker(server)
        with _read_only(tmp_path / "data"):
            replace_the_workers(server)
            someone.assert_nobody_can_write()
            someone.assert_reading_goes_on()
        # SQLite shares its journal's memory within a process: one that found it read-only stays so (docs/operating.md).
        replace_the_workers(server)
        someone.assert_all_is_well()


def replace_the_workers(server: Server) -> None:
    before = workers_of(server)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while len(set(workers_of(server)) - set(before)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def stopped_by_rights() -> list[str]:
    """What to put before a command so that rights hold for it as well, if root runs it."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is missing: rights stop nobody who is root")
    return ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]


@contextmanager
def _read_only(folder: Path) -> Iterator[None]:
    changed = [(path, path.stat().st_mode) for path in (folder, *folder.glob("ovauth.sqlite3*"))]
    for path, mode in changed:
        path.chmod(mode & 0o555)
    try:
        yield
    finally:
        for path, mode in changed:
            path.chmod(mode)


def test_a_start_on_a_full_or_read_only_disk_ends_with_one_sentence(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        data = disk / "data"
        assert manage("collect_garbage", data_dir=data).returncode == 0
        filler = fill(disk)
        full = manage("serve", "--port", "0", data_dir=data)
        filler.unlink()
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        read_only = manage("serve", "--port", "0", data_dir=data)
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    for done in (full, read_only):
        assert done.returncode == 2, done.stdout + done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        assert str(data) in done.stderr
        assert "Traceback" not in done.stderr
