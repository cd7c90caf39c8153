"""Upgrades: the older version goes on serving, SQLite is copied first, several that start at once take turns."""

import json
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.databases import NotHere, database_url
from tests.migrations import steps
from tests.serving import environment, manage

ROOT = Path(__file__).resolve().parents[2]
OLDER = "0005_blocked_client"


def judged(data_dir: Path, env: dict[str, str]) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.migrations.steps"],
        cwd=ROOT,
        env=environment(data_dir, env),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["judged"], "there is nothing to judge, so nothing was shown"
    assert not told["failed"], "\n".join(f"{name}:\n{why}" for name, why in told["failed"].items())
    return dict(told)


def test_an_older_version_goes_on_serving_while_a_newer_one_has_migrated(tmp_path: Path) -> None:
    assert judged(tmp_path, {})["on"] == "sqlite"


@pytest.mark.slow
def test_an_older_version_goes_on_serving_on_postgresql(tmp_path: Path, postgresql: str) -> None:
    assert judged(tmp_path, {"DATABASE_URL": postgresql})["on"] == "postgresql"


@pytest.fixture
def postgresql() -> object:
    try:
        with database_url("postgresql") as url:
            yield url
    except NotHere as why:
        pytest.skip(str(why))


# ------------------------------------------------------------------ a copy first


def older(data_dir: Path, env: dict[str, str] | None = None) -> None:
    """Takes the database back to what an older program left."""
    done = manage("migrate", "ovauth", OLDER, "--skip-checks", data_dir=data_dir, env=env)
    assert done.returncode == 0, done.stderr


def prepared(data_dir: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Any command brings the database up to the program."""
    return manage("collect_garbage", data_dir=data_dir, env=env)


def migrations_of(file: Path) -> set[str]:
    with closing(sqlite3.connect(file)) as database:
        return {name for (name,) in database.execute("SELECT name FROM django_migrations WHERE app = 'ovauth'")}


@pytest.mark.slow
def test_sqlite_is_copied_before_each_migration_and_three_copies_stay(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    database, backups = data_dir / "ovauth.sqlite3", data_dir / "backups"
    assert prepared(data_dir).returncode == 0
    assert not backups.exists(), "there was nothing to copy"
    newest = migrations_of(database)
    seen: list[str] = []
    for number in range(4):
        older(data_dir)
        assert prepared(data_dir).returncode == 0
        assert migrations_of(database) == newest
        copies = sorted(path.name for path in backups.iterdir())
        assert len(copies) == min(number + 1, 3)
        seen.append(copies[-1])
        assert copies == seen[-3:]
    copy = backups / seen[-1]
    assert max(migrations_of(copy)) == OLDER
    assert copy.stat().st_mode & 0o777 == 0o600
    assert backups.stat().st_mode & 0o777 == 0o700
    with closing(sqlite3.connect(copy)) as one:
        # a start on it ends what may have been revoked since
        marks = one.execute("SELECT home FROM ovauth_databasemark").fetchall()
    assert [home[:9] for (home,) in marks] == ["a copy of"]
    assert prepared(data_dir).returncode == 0
    assert sorted(path.name for path in backups.iterdir()) == seen[-3:], "nothing was to be migrated, and it was copied"


@pytest.mark.slow
def test_what_cannot_be_copied_is_not_migrated(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    assert prepared(data_dir).returncode == 0
    older(data_dir)
    (data_dir / "backups").touch()
    done = prepared(data_dir)
    assert done.returncode == 2
    assert (
        done.stderr
        == f"{data_dir / 'backups'} cannot be made (File exists): the copy from before the upgrade goes there.\n"
    )
    assert max(migrations_of(data_dir / "ovauth.sqlite3")) == OLDER


# ------------------------------------------------------------------ several at once


@pytest.mark.slow
def test_several_that_start_at_once_on_one_folder_migrate_once(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    assert prepared(data_dir).returncode == 0
    older(data_dir)
    with ThreadPoolExecutor(4) as starters:
        done = list(starters.map(lambda _: prepared(data_dir), range(4)))
    assert [(one.returncode, one.stderr) for one in done] == [(0, "")] * 4
    assert len(list((data_dir / "backups").iterdir())) == 1


@pytest.mark.slow
def test_several_hosts_that_start_at_once_on_one_postgresql_migrate_once(tmp_path: Path, postgresql: str) -> None:
    env = {"DATABASE_URL": postgresql}
    folders = [tmp_path / str(number) / "data" for number in range(4)]
    for folder in folders:
        folder.parent.mkdir()

    def all_at_once() -> list[tuple[int, str]]:
        with ThreadPoolExecutor(4) as starters:
            return [(one.returncode, one.stderr) for one in starters.map(lambda folder: prepared(folder, env), folders)]

    assert all_at_once() == [(0, "")] * 4  # an empty database
    older(folders[0], env)
    assert all_at_once() == [(0, "")] * 4  # and an old one
    with psycopg.connect(postgresql) as database:
        names = database.execute(
            "SELECT name, count(*) FROM django_migrations WHERE app = 'ovauth' GROUP BY name"
        ).fetchall()
    assert {count for _, count in names} == {1}
    assert max(name for name, _ in names) > OLDER


@pytest.mark.slow
def test_a_migration_that_has_to_wait_for_a_dump_gives_up_instead_of_stopping_everybody(
    tmp_path: Path, postgresql: str
) -> None:
    env = {"DATABASE_URL": postgresql}
    assert prepared(tmp_path / "data", env).returncode == 0
    older(tmp_path / "data", env)
    with psycopg.connect(postgresql) as dump:
        for (table,) in dump.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall():
            dump.execute(f'LOCK TABLE "{table}" IN ACCESS SHARE MODE')  # type: ignore[arg-type]
        done = prepared(tmp_path / "data", env)
        assert done.returncode == 2
        assert done.stderr.startswith(
            "The database could not be brought up to date: another program holds one of its tables"
        )
        assert done.stderr.count("\n") == 1
    assert prepared(tmp_path / "data", env).returncode == 0


def test_the_steps_that_are_judged_begin_where_a_released_version_may_stand() -> None:
    assert OLDER.startswith(steps.RELEASED)
