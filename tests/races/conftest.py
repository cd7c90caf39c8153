"""The arena: one database, and twenty who use it at the same moment."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.databases import ENGINES, NotHere, database_url
from tests.serving import environment

RACERS = 20
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Outcome:
    """How one racer fared: `value`, or the name of the refusal."""

    value: Any = None
    refused: str = ""


class Arena:
    """The other end of `tests.races.racer`."""

    def __init__(self, process: subprocess.Popen[str], how: str) -> None:
        self._process = process
        self._how = how

    def __getattr__(self, name: str) -> Any:
        """Any function of the racer, called alone: its value."""
        return lambda **arguments: self._ask("here", [(name, arguments)])[0].value

    def race(self, *calls: tuple[str, dict[str, Any]]) -> list[Outcome]:
        """All of these at once. A crash of any of them is a failure of the test."""
        return self._ask(self._how, list(calls))

    def all_at_once(self, name: str, **arguments: Any) -> list[Outcome]:
        return self.race(*[(name, arguments)] * RACERS)

    def _ask(self, how: str, calls: list[Any]) -> list[Outcome]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"how": how, "calls": calls}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the racers are gone"
        outcomes = json.loads(answer)
        crashes = [outcome["crashed"] for outcome in outcomes if "crashed" in outcome]
        assert not crashes, f"{len(crashes)} crashed, the first:\n{crashes[0]}"
        return [Outcome(**outcome) for outcome in outcomes]


@pytest.fixture(scope="session", params=ENGINES)
def racers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    try:
        with database_url(request.param) as url:
            env = environment(tmp_path_factory.mktemp("races"), {"DATABASE_URL": url} if url else {})
            command = [sys.executable, "-m", "tests.races.racer", str(RACERS)]
            with subprocess.Popen(command, cwd=ROOT, env=env, stdin=-1, stdout=-1, text=True) as process:
                yield process
                assert process.stdin is not None
                process.stdin.close()
                process.wait(30)
    except NotHere as reason:
        pytest.skip(str(reason))


@pytest.fixture(params=["threads", "processes"])
def arena(request: pytest.FixtureRequest, racers: subprocess.Popen[str]) -> Arena:
    return Arena(racers, request.param)
