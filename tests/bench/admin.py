"""How long the admin takes on a large database: every list, filter and search; the ends of things; collecting garbage.

    uv run python -m tests.bench.admin [--engine sqlite|postgresql] [--access-tokens N …]

makes the database of `tests.bench.fill` (or takes the one that OVAUTH_DATA_DIR or DATABASE_URL names, with --here), asks
each page by Django's test client, and prints a table: the medians of some rounds, by the clock and in CPU time of this
process (with SQLite that is all there is; on a machine that others use it says more than the clock). Then it revokes the
user with one percent of everything, collects the garbage while another process writes, and prints how long the writer
waited at most. It changes the database.
"""

import argparse
import gc
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

ROUNDS = 5
LISTS: dict[str, tuple[str, ...]] = {
    "grant": (
        "",
        "state=open",
        "state=ended",
        "by=device",
        "by=machine",
        "method=document",
        "account=fill-0003",
        "account=nobody",
        "q=fill-0000/user-000000",
        "q=user-000777",
        "q=fill-0004/",
        "q=claude",
        "q=fill-client-00000777",
        "q=nobody-at-all",
        "p=1000",
        "state=ended&account=fill-0003&q=claude",
    ),
    "accesstoken": (
        "",
        "state=alive",
        "state=expired",
        "state=ended",
        "method=manual",
        "account=fill-0003",
        "account=nobody",
        "q=fill-0000/user-000000",
        "q=fill-0004/",
        "q=claude",
        "q=fill-client-00000777",
        "q=nobody-at-all",
        "p=1000",
    ),
    "refreshtoken": (
        "",
        "state=alive",
        "state=expired",
        "state=ended",
        "account=fill-0003",
        "q=user-000777",
        "q=nobody",
        "p=1000",
    ),
    "authorizationcode": ("", "state=alive", "q=user-000777"),
    "pendingauthorization": ("", "state=waiting", "state=denied", "by=device", "q=claude"),
    "client": (
        "",
        "state=blocked",
        "state=unused",
        "method=document",
        "alike=newest",
        "alike=0000000000000000",
        "q=claude",
        "q=fill-client-00000777",
        "q=nobody",
        "p=1000",
    ),
    "member": (
        "",
        "role=root",
        "state=deactivated",
        "account=fill-0003",
        "q=fill-0003/",
        "q=user-000777",
        "q=nobody",
        "p=100",
    ),
    "account": ("", "q=fill-00", "q=nobody"),
    "apikey": ("", "state=revoked", "account=fill-0003", "q=fill-0000/user-000000", "q=0777", "q=nobody"),
    "auditevent": (
        "",
        "about=admin",
        "about=token",
        "q=token.reuse_detected",
        "q=fill-0000/user-000000",
        "q=fill-0003",
        "q=00000000000000000000000000000007",
        "q=%237",
        "q=192.0.2.77",
        "p=1000",
    ),
    "blockedclient": ("", "account=fill-0003", "q=nobody"),
    "tally": ("", "state=counts", "q=sign-in"),
}
"""The lists, and what is asked of each: filters, searches that find much, little and nothing, and a page far back."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.admin", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--here", action="store_true", help="the database of this environment, filled already")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked, rest = parser.parse_known_args(arguments)
    if asked.here:
        measure(asked.rounds)
        return
    from tests.databases import database_url

    with tempfile.TemporaryDirectory() as folder, database_url(asked.engine) as url:
        env = {**os.environ, "OVAUTH_DATA_DIR": folder, **({"DATABASE_URL": url} if url else {})}
        size = rest or ["--audit-events", "1000000"]
        subprocess.run([sys.executable, "-m", "tests.bench.fill", *size], env=env, check=True)
        here = [sys.executable, "-m", "tests.bench.admin", "--here", "--rounds", str(asked.rounds)]
        subprocess.run(here, env=env, check=True)


def measure(rounds: int) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    import django

    django.setup()
    from django.db import connection

    print(f"\n{connection.vendor}, median of {rounds} rounds\n")
    print("| what | ms | CPU ms | statements | |\n| --- | ---: | ---: | ---: | --- |")
    slowest = pages(rounds)
    print(f"\nslowest page: {slowest:.0f} ms")
    ends()
    garbage()
    print(f"\nmemory of this process at its most: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


# ------------------------------------------------------------------ pages


def pages(rounds: int) -> float:
    """Asks every page and prints a line for each; the slowest median, in ms."""
    from django.conf import settings
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from ovauth.models import Member

    settings.STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    browser = Client()
    browser.force_login(_root(Member))
    paths = ["/admin/", "/admin/find/", "/admin/since/"]
    paths += [f"/admin/ovauth/{name}/{'?' if query else ''}{query}" for name, queries in LISTS.items() for query in queries]
    slowest = 0.0
    for path in paths:
        with CaptureQueriesContext(connection) as captured:
            answer = browser.get(path)
        asked = len(captured)
        assert answer.status_code == 200, path
        took, busy = [], []
        for _ in range(rounds):
            started, worked = time.perf_counter(), time.process_time()
            answer = browser.get(path)
            took.append((time.perf_counter() - started) * 1000)
            busy.append((time.process_time() - worked) * 1000)
        median = statistics.median(took)
        slowest = max(slowest, median)
        said = "looked in part" if b"Look further back" in answer.content else ""
        name = path.removeprefix("/admin/") or "(home)"
        print(f"| `{name}` | {median:.0f} | {statistics.median(busy):.0f} | {asked} | {said} |", flush=True)
    return slowest


def _root(member_model: Any) -> Any:
    from ovauth.flows import accounts
    from ovauth.roles import Role

    if not member_model.objects.filter(sign_in_name="bench/operator").exists():
        accounts.create_user(account="bench", name="operator", role=Role.ROOT, password="a-long-password-for-the-bench")
    return member_model.objects.get(sign_in_name="bench/operator")


# ------------------------------------------------------------------ ends


def ends() -> None:
    from django.utils import timezone

    from ovauth.flows import issued_since, revocation
    from ovauth.models import AccessToken, Member
    from tests.bench import fill

    held = AccessToken.objects.filter(grant__member__name=fill.user_name(0)).count()
    with _timed(f"revoke of a user with {held:,} access tokens"):
        revocation.revoke_user_tokens(account=fill.account_name(0), name=fill.user_name(0))
    moment = timezone.now() - fill.STORY / 90
    with _timed("count of everything since yesterday"):
        issued = issued_since.count(since=moment)
    with _timed(
        f"revoke of everything since yesterday ({issued.connections:,} connections, {issued.access_tokens:,} tokens)"
    ):
        issued_since.revoke(since=moment, member=_root(Member))


@contextmanager
def _timed(what: str) -> Iterator[None]:
    started, worked = time.perf_counter(), time.process_time()
    yield
    took, busy = time.perf_counter() - started, time.process_time() - worked
    print(f"{what}: {took * 1000:.0f} ms ({busy * 1000:.0f} ms of it CPU)", flush=True)


# ------------------------------------------------------------------ garbage

WRITER = """
import os, sys, threading, time, django
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
django.setup()
from django.utils import timezone
from ovauth.flows import audit
print("ready", flush=True)
longest, waits = 0.0, []
end = sys.stdin
over = threading.Event()
threading.Thread(target=lambda: (end.readline(), over.set()), daemon=True).start()
while not over.is_set():
    started = time.perf_counter()
    audit.record("admin.action", now=timezone.now(), action="bench")
    waits.append(time.perf_counter() - started)
    time.sleep(0.002)
waits.sort()
print(f"{len(waits)} {waits[-1] * 1000:.1f} {waits[int(len(waits) * .99)] * 1000:.1f} {waits[len(waits) // 2] * 1000:.2f}")
"""


def garbage() -> None:
    """How long the lock is held; and how long a writer waits, which is longer: SQLite sleeps up to 100 ms between tries."""
    from django.db import transaction

    from ovauth.flows import garbage

    with _writing("without a collector"):
        time.sleep(5)
    held: list[tuple[float, float]] = []
    gc.freeze()  # as a server does when it begins to serve: a full collection by Python would count as ours

    @contextmanager
    def held_for() -> Iterator[None]:
        with transaction.atomic():
            started, worked = time.perf_counter(), time.thread_time()
            yield
            # up to the commit: what SQLite then does with its log, it does while others write
            held.append(((time.perf_counter() - started) * 1000, (time.thread_time() - worked) * 1000))

    started = time.perf_counter()
    with _writing("beside the collector"), patch.object(garbage, "transaction", SimpleNamespace(atomic=held_for)):
        deleted = garbage.collect()
    took = time.perf_counter() - started
    for what, each in (("by the clock", sorted(took for took, _ in held)), ("of CPU", sorted(busy for _, busy in held))):
        most, high, middle = each[-1], each[int(len(each) * 0.99)], statistics.median(each)
        print(f"held the lock {len(each):,} times: at most {most:.1f} ms {what}, p99 {high:.1f}, median {middle:.1f}")
    total = sum(deleted.values())
    print(f"collected in {took:.1f} s: {', '.join(f'{count:,} {kind}' for kind, count in deleted.items() if count)}")
    print(f"{total / took:,.0f} rows a second")


@contextmanager
def _writing(beside: str) -> Iterator[None]:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert writer.stdin is not None
    assert writer.stdout is not None
    writer.stdout.readline()
    try:
        yield
    finally:
        writer.stdin.write("\n")
        writer.stdin.flush()
        said = writer.stdout.read().split()
        writer.wait(30)
    print(f"a writer {beside}: {said[0]} writes, longest {said[1]} ms, p99 {said[2]} ms, median {said[3]} ms", flush=True)


if __name__ == "__main__":
    main()
