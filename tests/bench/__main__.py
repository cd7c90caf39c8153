"""`uv run python -m tests.bench`: what a request costs, at ovauth, at the floors and at its peers.

    uv run python -m tests.bench --contenders ovauth,select --endpoints bearer,refresh
    uv run python -m tests.bench --engine sqlite,postgresql --workers 1,2 --connections 1,4,16 --rows 1000,1000000

Prints tables; with `--out FOLDER` they and all figures (JSON) are put there as well. See docs/performance.md.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench import databases, report
from tests.bench.contenders import CONTENDERS, ENDPOINTS, PEERS, Constant, Contender, Ovauth, Peer
from tests.bench.databases import NotHere
from tests.bench.measure import Run, perform


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--contenders", type=_of(CONTENDERS), default=list(CONTENDERS), metavar=",".join(CONTENDERS))
    parser.add_argument("--endpoints", type=_of(ENDPOINTS), default=list(ENDPOINTS), metavar=",".join(ENDPOINTS))
    parser.add_argument("--engine", type=_of(("sqlite", "postgresql")), default=["sqlite"], metavar="sqlite,postgresql")
    parser.add_argument("--connections", type=_numbers, default=[16], metavar="N,N", help="16, unless told otherwise")
    parser.add_argument("--workers", type=_numbers, default=[1], metavar="N,N", help="processes of ovauth and the floors")
    parser.add_argument("--rows", type=_numbers, default=[1000], metavar="N,N", help="access tokens in ovauth's database")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one window")
    parser.add_argument("--watch", action="store_true", help="how long ovauth's event loop stands still, instead of costs")
    parser.add_argument("--out", type=Path, metavar="FOLDER")
    parser.add_argument(
        "--prepare", action="store_true", help="only install the peers, and make the databases of --rows that are large"
    )
    asked = parser.parse_args()
    if not sys.platform.startswith("linux"):
        parser.error("processor time is read from Linux")

    if asked.prepare:
        return prepare(asked.engine, asked.rows)
    run = Run(
        title=f"{', '.join(map(str, asked.connections))} connections",
        contenders=list(_contenders(asked)),
        endpoints=asked.endpoints,
        connections=asked.connections,
        rounds=asked.rounds,
        seconds=asked.seconds,
        watch=asked.watch,
    )
    results = perform(run)
    text = report.tell(run.title, results)
    print(text)
    if asked.out:
        asked.out.mkdir(parents=True, exist_ok=True)
        (asked.out / "results.md").write_text(text + "\n")
        (asked.out / "results.json").write_text(json.dumps([result.told() for result in results], indent=1) + "\n")
    return 1 if any(result.fault for result in results) else 0


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


def _of(known: "dict[str, type[Contender]] | tuple[str, ...]"):  # noqa: ANN202
    def chosen(text: str) -> list[str]:
        names = [part.strip() for part in text.split(",")]
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; choose from {', '.join(known)}")
        return names

    return chosen


if __name__ == "__main__":
    sys.exit(main())
