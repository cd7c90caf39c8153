"""Whoever holds the lease keeps the house: one at a time, when it is due, and somebody else after a death."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from ovauth.flows import garbage, housekeeping
from ovauth.flows.housekeeping import Lost, keep
from ovauth.models import Client, Lease, PendingAuthorization
from tests.conftest import begun
from tests.databases import ENGINES, NotHere, database_url
from tests.serving import environment, manage

ROOT = Path(__file__).resolve().parents[2]
Clock = Callable[[float], None]


@pytest.mark.django_db
def test_it_is_kept_when_it_is_due_and_not_before(client_app: Client, clock: Clock) -> None:
    begun(client_app)
    clock(601)
    deleted = keep(holder="one")
    assert deleted is not None
    assert deleted["pending authorizations"] == 1
    assert keep(holder="one") is None
    assert keep(holder="two") is None
    clock(housekeeping.EVERY)
    assert keep(holder="two") is not None
    lease = Lease.objects.get()
    assert (lease.holder, lease.done_at) == ("", timezone.now())


@pytest.mark.django_db
def test_a_holder_that_died_is_succeeded_when_its_lease_is_over(client_app: Client, clock: Clock) -> None:
    keep(holder="one")
    clock(housekeeping.EVERY)
    assert housekeeping._take("dead", housekeeping.LEASE)
    assert keep(holder="two") is None
    clock(housekeeping.LEASE)
    assert keep(holder="two") is not None


@pytest.mark.django_db
def test_a_holder_that_was_taken_for_dead_stops_at_the_next_batch(
    client_app: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*, between: Callable[[], None]) -> dict[str, int]:
        Lease.objects.update(holder="another")
        time.sleep(0.02)
        between()
        raise AssertionError("it went on")

    monkeypatch.setattr(garbage, "collect", slow)
    with pytest.raises(Lost):
        keep(holder="one", lease=0.04)
    assert Lease.objects.get().done_at is None


@pytest.mark.django_db
def test_a_long_work_keeps_its_lease(client_app: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*, between: Callable[[], None]) -> dict[str, int]:
        for _ in range(10):
            time.sleep(0.05)
            between()
            assert Lease.objects.get().expires_at > timezone.now() + timedelta(seconds=0.05)
        return {}

    monkeypatch.setattr(garbage, "collect", slow)
    assert keep(holder="one", lease=0.2) == {}
    assert not PendingAuthorization.objects.exists()


# ------------------------------------------------------------------ several processes

KEEPER = """
import os, sys, time
import django
django.setup()
from ovauth.flows import garbage, housekeeping
notes, slow = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT), float(sys.argv[2])
def note(what):
    os.write(notes, f"{what} {os.getpid()}\\n".encode())
def collect(*, between):
    note("in")
    until = time.monotonic() + slow
    while time.monotonic() < until:
        time.sleep(0.005)
        between()
    note("out")
    return {}
garbage.collect = collect
while True:
    housekeeping.keep(holder=str(os.getpid()), every=0.0, lease=1.0)
    time.sleep(0.003)
"""


class Keepers:
    """Processes that want to keep the same house all the time, and what each noted."""

    def __init__(self, env: dict[str, str], notes: Path) -> None:
        self.env, self.notes = env, notes
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, slow: float) -> int:
        command = [sys.executable, "-c", KEEPER, str(self.notes), str(slow)]
        self.running.append(subprocess.Popen(command, cwd=ROOT, env=self.env))
        return self.running[-1].pid

    def noted(self) -> list[tuple[str, int]]:
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [(what, int(pid)) for what, pid in (line.split() for line in lines)]

    def wait_for(self, enough: Callable[[list[tuple[str, int]]], bool], seconds: float = 60) -> list[tuple[str, int]]:
        until = time.monotonic() + seconds
        while not enough(self.noted()):
            assert time.monotonic() < until, self.noted()
            assert all(process.poll() in (None, -signal.SIGKILL) for process in self.running), "one failed"
            time.sleep(0.02)
        return self.noted()


@pytest.fixture(params=ENGINES)
def keepers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Keepers]:
    try:
        with database_url(request.param) as url:
            env = {"DJANGO_SETTINGS_MODULE": "project.settings"} | ({"DATABASE_URL": url} if url else {})
            manage("collect_garbage", data_dir=tmp_path / "data", env=env)
            found = Keepers(environment(tmp_path / "data", env), tmp_path / "notes")
            yield found
            for process in found.running:
                process.kill()
                process.wait(30)
    except NotHere as reason:
        pytest.skip(str(reason))


@pytest.mark.slow
def test_never_two_at_once_and_each_has_its_turn(keepers: Keepers) -> None:
    pids = {keepers.start(slow=0.02) for _ in range(3)}
    noted = keepers.wait_for(lambda noted: len(noted) >= 40 and {pid for _, pid in noted} == pids)
    for entered, left in zip(noted[::2], noted[1::2], strict=False):
        assert (entered[0], left[0], entered[1]) == ("in", "out", left[1])


@pytest.mark.slow
def test_after_kill_9_in_the_middle_another_takes_over(keepers: Keepers) -> None:
    first = keepers.start(slow=60)
    keepers.wait_for(lambda noted: ("in", first) in noted)
    second = keepers.start(slow=0.01)
    time.sleep(2.5)  # more than the lease, which the living holder renews
    assert keepers.noted() == [("in", first)]
    os.kill(first, signal.SIGKILL)
    keepers.wait_for(lambda noted: ("out", second) in noted)
