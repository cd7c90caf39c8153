"""The tables, in Markdown."""

from collections.abc import Callable, Sequence

from tests.bench.measure import Result

Table = list[list[str]]


def markdown(table: Table) -> str:
    """Aligned, so that it reads in a terminal as well."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in table]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)


def by_endpoint(results: Sequence[Result], cell: Callable[[Result], str]) -> Table:
    """A row for each contender, a column for each endpoint (and number of connections, where there are several)."""
    columns = list(dict.fromkeys((result.endpoint, result.connections) for result in results))
    several = len({connections for _, connections in columns}) > 1
    titles = [f"{endpoint}, {connections}" if several else endpoint for endpoint, connections in columns]
    table = [["", *titles]]
    for contender in dict.fromkeys(result.contender for result in results):
        cells = {
            (result.endpoint, result.connections): cell(result) if result.rounds else "failed"
            for result in results
            if result.contender == contender and (result.rounds or result.fault)
        }
        table.append([contender, *(cells.get(column, "–") for column in columns)])
    return table


def cpu(result: Result) -> str:
    """The median, with the least and the most of the rounds; for PostgreSQL what the database spent as well."""
    low, high = result.spread("cpu_us")
    said = (
        f"{result.median('cpu_us'):.0f}"
        if len(result.rounds) < 2
        else f"{result.median('cpu_us'):.0f} ({low:.0f}–{high:.0f})"
    )
    return said if result.engine == "sqlite" else f"{said} + {result.median('database_cpu_us'):.0f}"


def latency(result: Result) -> str:
    return (
        f"{result.median('per_second'):,.0f}/s, {result.median('p50_ms'):.1f} / {result.median('p99_ms'):.1f} ms"
        f" (×{result.median('p99_ms') / result.median('p50_ms'):.1f})"
    )


def memory(result: Result) -> str:
    return f"{result.rounds[-1].resident_mb:.0f} MB"


def loop(result: Result) -> str:
    worst = max(result.rounds, key=lambda figures: figures.loop.get("longest_ms", 0.0)).loop
    return f"{worst.get('longest_ms', 0):.1f} ms ({worst.get('longest_running_ms', 0):.1f} ms with a core)"


def tell(title: str, results: Sequence[Result]) -> str:
    parts = [f"### {title}"]
    if not any(result.rounds for result in results):
        return f"### {title}\n\nNothing could be measured."
    if any(figures.loop for result in results for figures in result.rounds):
        parts += ["Longest time without a turn of the event loop:", markdown(by_endpoint(results, loop))]
        return "\n\n".join(parts)
    parts += ["Processor time of the server for one request, µs:", markdown(by_endpoint(results, cpu))]
    parts += ["Requests per second, p50 / p99 as the client sees them:", markdown(by_endpoint(results, latency))]
    parts += ["Memory of the largest process (RSS):", markdown(by_endpoint(results, memory))]
    return "\n\n".join(parts)
