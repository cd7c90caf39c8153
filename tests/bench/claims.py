"""What the figures must show, and whether they do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.bench.contenders import Insert, OpenViking, Ovauth, Select
from tests.bench.endurance import Endured
from tests.bench.measure import Result

Measured = dict[str, Sequence[Result]]
"""The results of each section."""


@dataclass(frozen=True)
class Claim:
    """`shown` is held against `bound`: at least as much where `at_least`, else at most."""

    what: str
    shown: float
    bound: float
    at_least: bool = False
    unit: str = "×"

    @property
    def holds(self) -> bool:
        return self.shown >= self.bound if self.at_least else self.shown <= self.bound


def claims(measured: Measured, endured: Endured | None) -> Iterator[Claim]:
    peers = measured.get("peers", ())
    for endpoint, bound in (("bearer", 2.5), ("code", 1.5), ("refresh", 1.5), ("registration", 1.0)):
        if ratio := _ratio(peers, endpoint, OpenViking.title, Ovauth.title):
            yield Claim(f"{endpoint}: so many times cheaper than OpenViking", ratio, bound, at_least=True)
    for endpoint, bound in (("bearer", 1.8), ("introspection", 4.0)):
        if ratio := _ratio(peers, endpoint, Ovauth.title, Select.title):
            yield Claim(f"{endpoint}: so many times the cost of one SELECT", ratio, bound)
    for endpoint in ("code", "refresh"):
        if ratio := _ratio(peers, endpoint, Ovauth.title, Insert.title):
            yield Claim(f"{endpoint}: so many times the cost of one INSERT (no bound)", ratio, float("inf"))
    yield from _rows(measured.get("rows", ()))
    for result in peers:
        # The requests of the page flow are of five kinds: some are always slower than the others.
        if result.contender == Ovauth.title and result.rounds and result.endpoint != "page flow":
            tail = result.median("p99_ms") / result.median("p50_ms")
            yield Claim(f"{result.endpoint}: p99 over p50 at {result.connections} connections", tail, 8.0)
    for result in measured.get("loop", ()):
        if result.rounds:
            longest = max(figures.loop["longest_running_ms"] for figures in result.rounds)
            yield Claim(f"{result.contender}, {result.endpoint}: the event loop stood still", longest, 20.0, unit=" ms")
    if endured is not None:
        yield Claim(f"memory of the worker after {endured.sizes[-1][0]:,} requests", endured.last, 120.0, unit=" MB")
        yield Claim("its growth over the last nine tenths of them", endured.growth, 5.0, unit=" MB")


def _rows(results: Sequence[Result]) -> Iterator[Claim]:
    """The largest database against the smallest."""
    if not results:
        return
    few, many = min(result.rows for result in results), max(result.rows for result in results)
    for endpoint in dict.fromkeys(result.endpoint for result in results):
        at = {result.rows: result for result in results if result.endpoint == endpoint and result.rounds}
        if few != many and few in at and many in at:
            ratio = at[many].median("cpu_us") / at[few].median("cpu_us")
            yield Claim(f"{endpoint}: {many:,} access tokens over {few:,}", ratio, 1.25)


def _ratio(results: Sequence[Result], endpoint: str, above: str, below: str) -> float | None:
    found = {result.contender: result for result in results if result.endpoint == endpoint and result.rounds}
    if above not in found or below not in found:
        return None
    return found[above].median("cpu_us") / found[below].median("cpu_us")
