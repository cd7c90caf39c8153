"""What each endpoint asks the database: so many statements and no more, and each found by an index, on both databases;
and how many pages it writes.

A number here changes only where what an endpoint does has changed, and then the commit says why.
"""

import json
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from ovauth import bearer, sql
from tests.databases import ENGINES, NotHere, database_url
from tests.serving import environment

ROOT = Path(__file__).resolve().parents[2]

# Without BEGIN, COMMIT and savepoints, which PostgreSQL does not tell of.
COUNTS = {
    "discovery": 1,
    "registration": 3,
    "authorize": 4,
    "code page": 1,
    "status, waiting": 1,
    "approve": 8,
    "status, approved": 5,
    "code → token": 7,
    "refresh": 6,
    "refresh, asked again": 5,
    "introspection": 2,
    "bearer, first call": 2,
    "bearer": 1,
    "API key": 1,
    "pushed request": 3,
    "device": 4,
    "device, poll": 3,
    "revocation": 4,
    "client, read": 1,
    "whoami": 1,
}
# Of SQLite, where each table and each index is a page of its own yet: what is counted is how many of them are written to.
PAGES = {
    "registration": 10,
    "authorize": 14,
    "approve": 12,
    "status, approved": 8,
    "code → token": 12,
    "refresh": 11,
    "refresh, asked again": 6,
    "pushed request": 5,
    "device": 14,
    "device, poll": 1,
    "revocation": 3,
}
OF_THE_TRANSACTION = re.compile(r"(BEGIN|COMMIT|SAVEPOINT|RELEASE|PRAGMA)\b")
SCAN = re.compile(r"\bSCAN (?!\d+ CONSTANT ROWS|CONSTANT ROW)|Seq Scan")


@pytest.fixture(scope="module", params=ENGINES)
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    try:
        with database_url(request.param) as url:
            env = environment(tmp_path_factory.mktemp("statements"), {"DATABASE_URL": url} if url else {})
            command = [sys.executable, "-m", "tests.statements.listener"]
            done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False)
    except NotHere as reason:
        pytest.skip(str(reason))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["engine"] == request.param
    return told


def test_each_endpoint_asks_exactly_so_often(told: Any) -> None:
    heard = {step: [each for each in asked if not OF_THE_TRANSACTION.match(each)] for step, asked in told["heard"].items()}
    collected = heard.pop("garbage")
    assert {step: len(asked) for step, asked in heard.items()} == COUNTS
    assert len(collected) < 60


def test_nothing_on_the_request_path_is_found_by_reading_a_whole_table(told: Any) -> None:
    scans = {each: plan for each, plan in told["plans"].items() if any(SCAN.search(line) for line in plan)}
    assert scans == {}
    assert len(told["plans"]) > 60


def test_a_writer_begins_once_and_commits_once(told: Any) -> None:
    if told["engine"] != "sqlite":
        pytest.skip("PostgreSQL does not tell of BEGIN")
    for step, asked in told["heard"].items():
        if step != "garbage":
            begun = [each for each in asked if each.startswith("BEGIN")]
            assert begun in ([], ["BEGIN IMMEDIATE"]), step
            assert asked.count("COMMIT") == len(begun), step


def test_a_commit_writes_so_many_pages(told: Any) -> None:
    """What a commit costs is their number: each is summed up, written to the log, and later to the database."""
    if told["engine"] != "sqlite":
        pytest.skip("pages are SQLite's")
    assert {step: pages for step, pages in told["pages"].items() if pages} == PAGES


def test_a_glance_compares_moments_as_django_would() -> None:
    begun = timezone.now().replace(microsecond=0)
    for micro in (0, 1, 250_000, 999_999):
        now, stale = bearer.Glance()._moments(int(begun.timestamp()) * 1_000_000_000 + micro * 1000 + 7)
        assert stale == connection.ops.adapt_datetimefield_value(begun - bearer.STAMP_EVERY)
        for off in (-1_000_000, -1, 0, 1, 1_000_000):
            expires = begun + timedelta(microseconds=micro + off)
            assert (connection.ops.adapt_datetimefield_value(expires) > now) == (off > 0)


@pytest.mark.django_db
def test_moments_are_written_as_django_writes_them() -> None:
    now = timezone.now()
    for moment in (now, now.replace(microsecond=0)):
        stored = sql.Statement("SELECT :now").for_sqlite({"now": moment})["now"]
        assert stored == connection.ops.adapt_datetimefield_value(moment)
        assert sql.moment(stored) == moment
