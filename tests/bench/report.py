"""The tables, in Markdown."""

import os
import platform
import subprocess
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.bench.claims import Claim
from tests.bench.contenders import Ovauth
from tests.bench.endurance import MIX, Endured
from tests.bench.measure import Result

Table = list[list[str]]


def markdown(table: Table) -> str:
    """Aligned, so that it reads in a terminal as well."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in table]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)


def by_endpoint(results: Sequence[Result], cell: Callable[[Result], str]) -> Table:
    """A row for each contender (and number of connections, where there are several), a column for each endpoint."""
    endpoints = list(dict.fromkeys(result.endpoint for result in results))
    several = len({result.connections for result in results}) > 1
    cells: dict[tuple[int, str, int], dict[str, str]] = {}
    for result in results:
        row = cells.setdefault((result.place, result.contender, result.connections), {})
        row[result.endpoint] = cell(result) if result.rounds else "failed"
    table = [["", *endpoints]]
    for (_, contender, connections), row in sorted(cells.items()):
        title = f"{contender}, {_counted(connections)}" if several else contender
        table.append([title, *(row.get(endpoint, "–") for endpoint in endpoints)])
    return table


def _counted(connections: int) -> str:
    return f"{connections} connection{'' if connections == 1 else 's'}"


def cpu(result: Result) -> str:
    """The median, with the least and the most of the rounds; for PostgreSQL what the database spent as well."""
    low, high = result.spread("cpu_us")
    said = f"{result.median('cpu_us'):,.0f}"
    if len(result.rounds) > 1:
        said += f" ({low:,.0f}–{high:,.0f})"
    return said if result.engine == "sqlite" else f"{said} + {result.median('database_cpu_us'):,.0f}"


def latency(result: Result) -> str:
    return f"{result.median('per_second'):,.0f}/s, {result.median('p50_ms'):.1f} / {result.median('p99_ms'):.1f} ms"


def memory(result: Result) -> str:
    return f"{result.rounds[-1].resident_mb:.0f} MB"


def loop(result: Result) -> str:
    longest = max(figures.loop.get("longest_ms", 0.0) for figures in result.rounds)
    running = max(figures.loop.get("longest_running_ms", 0.0) for figures in result.rounds)
    return f"{longest:.1f} ms ({running:.1f} with a core)"


def ratios(results: Sequence[Result]) -> Table | None:
    """Everybody's processor time as a multiple of ovauth's; None where ovauth or all the others are missing."""
    ours = {(result.endpoint, result.connections): result for result in results if _is_ours(result) and result.rounds}
    others = [result for result in results if not _is_ours(result)]
    if not ours or not others or len({result.contender for result in ours.values()}) > 1:
        return None

    def cell(result: Result) -> str:
        own = ours.get((result.endpoint, result.connections))
        return f"×{result.median('cpu_us') / own.median('cpu_us'):.2f}" if own else "–"

    return by_endpoint([result for result in others if result.endpoint in {endpoint for endpoint, _ in ours}], cell)


def _is_ours(result: Result) -> bool:
    return result.contender.startswith(Ovauth.title)


def section(title: str, results: Sequence[Result], about: str = "") -> str:
    parts = [f"## {title}", *([about] if about else [])]
    if not any(result.rounds for result in results):
        return "\n\n".join([*parts, "Nothing could be measured."])
    if any(figures.loop for result in results for figures in result.rounds):
        return "\n\n".join([*parts, "Longest time without a turn of the event loop:", markdown(by_endpoint(results, loop))])
    parts += ["Processor time of the server for one request, µs:", markdown(by_endpoint(results, cpu))]
    if against := ratios(results):
        parts += ["The others as multiples of ovauth (more than ×1: ovauth is cheaper):", markdown(against)]
    parts += ["Requests per second, p50 / p99 as the client sees them:", markdown(by_endpoint(results, latency))]
    parts += ["Memory of the largest process (RSS):", markdown(by_endpoint(results, memory))]
    return "\n\n".join(parts)


def endurance(endured: Endured) -> str:
    mix = ", ".join(f"{share} % {kind}" for kind, share in MIX.items())
    steps = endured.sizes[:: max(1, len(endured.sizes) // 8)]
    table = [["requests", *(f"{count:,}" for count, _ in steps)], ["RSS, MB", *(f"{size:.1f}" for _, size in steps)]]
    said = f"One process, 16 connections, {mix}; {endured.sizes[-1][0]:,} requests in {endured.seconds:.0f} s."
    return "\n\n".join(["## Memory over many requests", said, markdown(table)])


def verdicts(claims: Sequence[Claim]) -> str:
    table = [["what", "measured", "bound", ""]]
    for claim in claims:
        free = claim.bound == float("inf")
        bound = "–" if free else f"{'≥' if claim.at_least else '≤'} {claim.bound:g}{claim.unit}"
        holds = "" if free else "holds" if claim.holds else "**does not hold**"
        table.append(
            [
                claim.what,
                f"{claim.shown:.2f}{claim.unit}" if claim.unit == "×" else f"{claim.shown:.1f}{claim.unit}",
                bound,
                holds,
            ]
        )
    return "\n\n".join(["## What was asked for", markdown(table)])


def machine() -> str:
    """On what, and of what version: figures of two machines cannot be compared."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = next((line.partition(":")[2].strip() for line in cpuinfo.splitlines() if line.startswith("model name")), "?")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    ).stdout.strip()
    packages = ", ".join(f"{name} {version(name)}" for name in ("django", "uvicorn", "mcp"))
    return (
        f"Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC at commit {commit or '?'}: {os.cpu_count()} cores ({model}), "
        f"{memory:.0f} GiB, Linux {platform.release().split('-')[0]}, Python {platform.python_version()}, {packages}. "
        f"Load of the machine before: {os.getloadavg()[0]:.1f}."
    )
