"""`uv run python -m tests.bench`: what a request costs, at ovauth, at the floors and at its peers.

    uv run python -m tests.bench --contenders ovauth,select --endpoints bearer,refresh
    uv run python -m tests.bench --engine sqlite,postgresql --workers 1,2 --connections 1,4,16 --rows 1000,1000000
    uv run python -m tests.bench --endurance 1000000
    uv run python -m tests.bench --prepare --rows 10000000     once, for what follows
    uv run python -m tests.bench --final --out docs            everything that docs/performance.md tells, 20 minutes

Prints tables, and puts them with the pictures into `--out FOLDER`. See docs/performance.md.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from tests.bench import databases, endurance, plan, plot, report
from tests.bench.claims import Measured, claims
from tests.bench.contenders import CONTENDERS, ENDPOINTS, PEERS, Constant, Contender, Ovauth, Peer
from tests.bench.databases import NotHere
from tests.bench.endurance import Endured
from tests.bench.measure import Result, Run, perform

A_MILLION = 1_000_000


def main() -> int:
    asked = _arguments()
    if asked.prepare:
        return prepare(asked.engine, asked.rows)
    if asked.final is not None:
        return final(asked.final, asked.endurance or A_MILLION, asked.out)
    outcome = Outcome(asked.out)
    if asked.endurance:
        outcome.endured = endurance.endure(asked.endurance, _tell, asked.engine[0])
    else:
        run = Run(
            title=f"{', '.join(map(str, asked.connections))} connections",
            contenders=list(_contenders(asked)),
            endpoints=asked.endpoints,
            connections=asked.connections,
            rounds=asked.rounds,
            seconds=asked.seconds,
            watch=asked.watch,
        )
        outcome.add("measured", run)
    print(outcome.text())
    outcome.keep()
    return outcome.status


def final(names: Sequence[str], requests: int, out: Path | None) -> int:
    """Section by section. What is measured is kept at once, so that an interruption loses one section."""
    outcome = Outcome(out)
    if names:
        outcome.recall()
    for number, section in enumerate(plan.sections(), 1):
        if not names or section.name in names:
            _tell(f"— section {number}: {section.name}\n")
            outcome.add(section.name, section.run, section.about)
            outcome.keep()
        elif section.name in outcome.measured:
            outcome.tell_again(section.name, section.run, section.about)
    if not names or "endurance" in names:
        outcome.endured = endurance.endure(requests, _tell)
    print(outcome.text())
    outcome.keep()
    return outcome.status


LAST: Final = databases.CACHE / "last.json"
MEASURED: Final = re.compile(r"Measured .* at commit [^:]*")


class Outcome:
    """What was measured so far, and where it goes."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.machine = report.machine()
        self.measured: Measured = {}
        self.told: list[str] = []
        self.endured: Endured | None = None
        self.when: dict[str, str] = {}
        """Of each section, the machine and the moment."""

    def recall(self) -> None:
        """What was measured before counts as long as it is not measured again."""
        if LAST.exists():
            last = json.loads(LAST.read_text())
            self.measured = {name: [Result.again(told) for told in section] for name, section in last["sections"].items()}
            self.when = last["when"]
            self.endured = Endured(**last["endured"]) if last["endured"] else None

    def add(self, name: str, run: Run, about: str = "") -> None:
        self.measured[name] = perform(run)
        self.when[name] = self.machine
        self.told.append(report.section(run.title, self.measured[name], about))

    def tell_again(self, name: str, run: Run, about: str) -> None:
        """With the moment and the commit of that measurement, which stand at the begin of what is said of its machine."""
        measured = MEASURED.match(self.when[name])
        self.told.append(
            report.section(run.title, self.measured[name], f"{about} {measured[0] if measured else ''}.".strip())
        )

    def text(self) -> str:
        parts = ["# Performance: results", self.machine]
        if shown := list(claims(self.measured, self.endured)):
            parts.append(report.verdicts(shown))
        parts += self.told
        if self.endured is not None:
            parts.append(report.endurance(self.endured))
        return "\n\n".join(parts)

    def keep(self) -> None:
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "performance-results.md").write_text(self.text() + "\n")
        try:
            if peers := self.measured.get("peers", self.measured.get("measured")):
                plot.costs(peers, self.folder / "images" / "performance.svg")
            if self.endured is not None:
                plot.memory(self.endured, self.folder / "images" / "performance-memory.svg")
        except plot.NoPictures as reason:
            _tell(f"{reason}\n")
        figures = {name: [result.told() for result in results] for name, results in self.measured.items()}
        endured = asdict(self.endured) if self.endured else None
        LAST.write_text(json.dumps({"sections": figures, "when": self.when, "endured": endured}, indent=1) + "\n")

    @property
    def status(self) -> int:
        return 1 if any(result.fault for results in self.measured.values() for result in results) else 0


def prepare(engines: Sequence[str], rows: Sequence[int]) -> int:
    """What takes long and is done once, into the cache."""
    missing = 0
    for peer in PEERS:
        print(f"{peer.title} …", flush=True)
        try:
            peer.install()
        except NotHere as reason:
            missing += 1
            print(f"  is left out: {reason}")
    for size in (databases.Size(number) for number in rows if number >= databases.LARGE):
        for engine in engines:
            print(f"{engine} with {size.access_tokens:,} access tokens …", flush=True)
            databases.make(engine, size)
    return 1 if missing else 0


def _tell(line: str) -> None:
    sys.stderr.write(f"\r\033[K{line}" if sys.stderr.isatty() else f"{line.rstrip()}\n")
    sys.stderr.flush()


# ------------------------------------------------------------------ arguments


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [section.name for section in plan.sections()]
    parser.add_argument("--contenders", type=_Of(CONTENDERS), default=list(CONTENDERS), metavar="NAME,NAME")
    parser.add_argument("--endpoints", type=_Of(ENDPOINTS), default=list(ENDPOINTS), metavar="NAME,NAME")
    parser.add_argument("--engine", type=_Of(("sqlite", "postgresql")), default=["sqlite"], metavar="sqlite,postgresql")
    parser.add_argument("--connections", type=_numbers, default=[16], metavar="N,N", help="16, unless told otherwise")
    parser.add_argument("--workers", type=_numbers, default=[1], metavar="N,N", help="processes of ovauth and the floors")
    parser.add_argument("--rows", type=_numbers, default=[1000], metavar="N,N", help="access tokens in ovauth's database")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one window (%(default)s)")
    parser.add_argument("--watch", action="store_true", help="how long ovauth's event loop stands still, and no costs")
    parser.add_argument("--endurance", type=int, metavar="N", help="memory over so many requests of all kinds")
    parser.add_argument(
        "--prepare", action="store_true", help="only install the peers, and make the databases of --rows that are large"
    )
    parser.add_argument(
        "--final",
        nargs="?",
        const=[],
        type=_Of([*names, "endurance"]),
        metavar="SECTION,SECTION",
        help=f"everything, or some of {', '.join(names)}, endurance",
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="for performance-results.md and images/")
    if not sys.platform.startswith("linux"):
        parser.error("processor time is read from Linux")
    return parser.parse_args()


def _contenders(asked: argparse.Namespace) -> Iterator[Contender]:
    for name in asked.contenders:
        kind = CONTENDERS[name]
        small = issubclass(kind, Peer)
        for engine in ["sqlite"] if small or kind is Constant else asked.engine:
            for workers in [1] if small else asked.workers:
                for rows in asked.rows if kind is Ovauth else asked.rows[:1]:
                    yield kind(engine=engine, workers=workers, rows=rows)


def _numbers(text: str) -> list[int]:
    return [int(part.replace("_", "")) for part in text.split(",")]


class _Of:
    """Names out of those that there are, with commas between."""

    def __init__(self, known: Iterable[str]) -> None:
        self.known = list(known)

    def __call__(self, text: str) -> list[str]:
        names = [part.strip() for part in text.split(",")]
        if unknown := [name for name in names if name not in self.known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; choose from {', '.join(self.known)}")
        return names


if __name__ == "__main__":
    sys.exit(main())
