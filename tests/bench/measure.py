"""The measuring itself: contenders take turns within one run, round after round, so that what disturbs the machine
disturbs all of them. The median of the rounds counts."""

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.bench import processes
from tests.bench.contenders import Contender, Ovauth
from tests.bench.databases import NotHere
from tests.bench.load import Wrong, drive

WARM_UP = 0.3
"""Seconds at the begin of each window that do not count."""
FIRST = 0.7
"""Seconds of a round before the first that does not count: compilers and caches have warmed up after it."""


@dataclass(frozen=True)
class Figures:
    """One window: processor time (µs) of server and database for one piece of work, and how long it took (ms)."""

    cpu_us: float
    database_cpu_us: float
    per_second: float
    p50_ms: float
    p99_ms: float
    worst_ms: float
    resident_mb: float
    pieces: int
    loop: dict[str, float] = field(default_factory=dict)


@dataclass
class Result:
    """All windows of one contender at one endpoint with so many connections. `place` is its row in the tables."""

    place: int
    contender: str
    engine: str
    workers: int
    rows: int
    endpoint: str
    connections: int
    rounds: list[Figures] = field(default_factory=list)
    fault: str = ""

    def median(self, figure: str) -> float:
        return statistics.median(getattr(figures, figure) for figures in self.rounds)

    def spread(self, figure: str) -> tuple[float, float]:
        values = [getattr(figures, figure) for figures in self.rounds]
        return min(values), max(values)

    def told(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def again(cls, told: dict[str, Any]) -> "Result":
        return cls(**{**told, "rounds": [Figures(**figures) for figures in told["rounds"]]})


@dataclass(frozen=True)
class Run:
    """What is measured against each other. `watch`: how long ovauth's event loop stands still, in windows of its own
    whose processor time does not count, since watching costs some."""

    title: str
    contenders: Sequence[Contender]
    endpoints: Sequence[str]
    connections: Sequence[int] = (16,)
    rounds: int = 3
    seconds: float = 2.0
    watch: bool = False


class Progress:
    """One line that tells what is going on; on a terminal it replaces itself."""

    def __init__(self, windows: int) -> None:
        self.windows, self.done, self.began = windows, 0, time.monotonic()

    def tell(self, what: str) -> None:
        spent = time.monotonic() - self.began
        left = f", {spent / self.done * (self.windows - self.done):.0f} s left" if self.done else ""
        line = f"[{self.done}/{self.windows}{left}] {what}"
        sys.stderr.write(f"\r\033[K{line}" if sys.stderr.isatty() else f"{line}\n")
        sys.stderr.flush()

    def note(self, line: str) -> None:
        sys.stderr.write(f"\r\033[K{line}\n" if sys.stderr.isatty() else f"{line}\n")


def perform(run: Run) -> list[Result]:
    """Starts everybody, lets them take turns, stops everybody. Who cannot be measured is told, and left out."""
    plan = [(endpoint, connections) for endpoint in run.endpoints for connections in run.connections]
    progress = Progress(
        sum(endpoint in contender.does for endpoint, _ in plan for contender in run.contenders) * (run.rounds + 1)
    )
    results = []
    with tempfile.TemporaryDirectory(prefix="ovauth-bench-") as temporary:
        Path(temporary).chmod(0o755)
        there = list(_started(run.contenders, Path(temporary), progress))
        try:
            for endpoint, connections in plan:
                taking_part = {
                    id(contender): Result(
                        place, contender.label, contender.engine, contender.workers, contender.rows, endpoint, connections
                    )
                    for place, contender in enumerate(there)
                    if endpoint in contender.does
                }
                for number in range(run.rounds + 1):
                    for contender in there:
                        result = taking_part.get(id(contender))
                        if result is None:
                            continue
                        if result.fault:
                            progress.done += 1
                            continue
                        turn = f"round {number} of {run.rounds}" if number else "warming up"
                        progress.tell(f"{endpoint}, {connections} connections, {turn}: {contender.label}")
                        try:
                            if number:
                                result.rounds.append(window(contender, endpoint, connections, run))
                            else:
                                window(contender, endpoint, connections, replace(run, seconds=FIRST, watch=False))
                        except (Wrong, OSError, TimeoutError) as fault:
                            result.fault = str(fault) or type(fault).__name__
                            progress.note(f"{contender.label}, {endpoint}: {result.fault}")
                        progress.done += 1
                results += taking_part.values()
        finally:
            for contender in there:
                contender.stop()
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K")
    return results


def _started(contenders: Sequence[Contender], folder: Path, progress: Progress) -> Iterator[Contender]:
    for number, contender in enumerate(contenders):
        progress.tell(f"starting {contender.label}")
        own = folder / str(number)
        own.mkdir()
        try:
            contender.start(own)
        except NotHere as reason:
            contender.stop()
            progress.note(f"without {contender.label}: {reason}")
        else:
            yield contender


def window(contender: Contender, endpoint: str, connections: int, run: Run) -> Figures:
    work = contender.work(endpoint, connections, run.seconds + WARM_UP)
    server, database = contender.pids(), contender.database_pids()
    clocks: list[tuple[dict[int, float], dict[int, float]]] = []

    def mark() -> None:
        clocks.append((processes.cpu_seconds(server), processes.cpu_seconds(database)))

    told = contender.watch() if run.watch and isinstance(contender, Ovauth) else None
    measured = drive(work, port=contender.port, connections=connections, seconds=run.seconds, warm_up=WARM_UP, mark=mark)
    (server_before, database_before), (server_after, database_after) = clocks
    pieces = measured.requests / work.requests_in_one
    return Figures(
        cpu_us=processes.spent(server_before, server_after) / pieces * 1e6,
        database_cpu_us=processes.spent(database_before, database_after) / pieces * 1e6,
        per_second=pieces / measured.seconds,
        p50_ms=measured.percentile(0.5) * 1000,
        p99_ms=measured.percentile(0.99) * 1000,
        worst_ms=measured.latencies[-1] * 1000,
        resident_mb=max((processes.resident_mb(pid) for pid in server), default=0.0),
        pieces=int(pieces),
        loop=told() if told else {},
    )
