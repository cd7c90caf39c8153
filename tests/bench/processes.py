"""What a server costs: the processor time and the memory of its processes. Linux only."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

CORES = sorted(os.sched_getaffinity(0))
SERVERS = {CORES[0]}
LOAD = {CORES[-1]}
"""Server and load generator have a core each, where there are two."""

_PROCESS_CLOCK = 2
"""CPUCLOCK_SCHED: what `clock_getcpuclockid` makes of a process id, in nanoseconds and with all threads, ended ones too."""


def tree(pid: int) -> list[int]:
    """The process and everything below it."""
    below = []
    for folder in Path(f"/proc/{pid}/task").glob("*"):
        below += [int(child) for child in _read(folder / "children").split()]
    return [pid, *(found for child in below for found in tree(child))]


def cpu_seconds(pids: Iterable[int]) -> dict[int, float]:
    """User and system time that each process has used since it began."""
    used = {}
    for pid in pids:
        try:
            used[pid] = time.clock_gettime((~pid << 3) | _PROCESS_CLOCK)
        except OSError:
            continue  # gone meanwhile
    return used


def spent(before: dict[int, float], after: dict[int, float]) -> float:
    return sum(now - before.get(pid, 0.0) for pid, now in after.items())


def resident_mb(pid: int) -> float:
    """The memory that the process holds now (RSS), in MB."""
    for line in _read(Path(f"/proc/{pid}/status")).splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
