"""Does the memory stay? A million requests of all kinds to one process, its size looked at on the way."""

import itertools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench import processes
from tests.bench.contenders import Ovauth
from tests.bench.load import Work, drive

MIX = {"bearer": 88, "refresh": 5, "introspection": 3, "discovery": 2, "code": 1, "registration": 1}
"""Of a hundred requests."""
LOOKS = 50
CONNECTIONS = 16
LONGEST = 3600.0


@dataclass(frozen=True)
class Endured:
    """The size of the process (RSS, MB) after so many requests."""

    sizes: list[tuple[int, float]]
    seconds: float

    @property
    def last(self) -> float:
        return self.sizes[-1][1]

    @property
    def growth(self) -> float:
        """Since a tenth of the requests: caches and connections are there by then."""
        early = next(size for count, size in self.sizes if count >= self.sizes[-1][0] / 10)
        return self.last - early


class Mixed:
    """Every connection asks for everything, in the proportions of MIX."""

    requests_in_one = 1

    def __init__(self, works: dict[str, Work], requests: int, look: Callable[[int], None]) -> None:
        self.works, self.left, self.look, self.every = works, requests, look, max(1, requests // LOOKS)
        spread = sorted((position * 100 / share, kind) for kind, share in MIX.items() for position in range(share))
        self.kinds = itertools.cycle([kind for _, kind in spread])
        self.asked: dict[int, Work] = {}
        self.count = 0

    def next(self, lane: int) -> bytes | None:
        if self.left == 0:
            return None
        self.left -= 1
        self.asked[lane] = self.works[next(self.kinds)]
        return self.asked[lane].next(lane)

    def answered(self, lane: int, status: int, head: bytes, body: bytes) -> None:
        self.asked[lane].answered(lane, status, head, body)
        self.count += 1
        if self.count % self.every == 0:
            self.look(self.count)


def endure(requests: int, tell: Callable[[str], None], engine: str = "sqlite") -> Endured:
    contender = Ovauth(engine=engine, keeps_house=True)
    sizes: list[tuple[int, float]] = []
    with tempfile.TemporaryDirectory(prefix="ovauth-bench-") as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)
        try:
            contender.start(folder)
            (server,) = contender.pids()

            def look(count: int) -> None:
                sizes.append((count, processes.resident_mb(server)))
                tell(f"{count:,} of {requests:,} requests, {sizes[-1][1]:.1f} MB")

            look(0)
            rarely = requests * MIX["code"] / 100 / contender.codes_per_second + 1
            works = {kind: contender.work(kind, CONNECTIONS, rarely) for kind in MIX}
            mixed = Mixed(works, requests, look)
            measured = drive(mixed, port=contender.port, connections=CONNECTIONS, seconds=LONGEST, warm_up=0)
        finally:
            contender.stop()
    return Endured(sizes, measured.seconds)
