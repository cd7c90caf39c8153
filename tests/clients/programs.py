"""A client that is a program of its own, and the person in front of it: who opens the URL that it prints and approves."""

import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import httpx2

from tests.journeys.people import Browser, Person

DEADLINE = 40
AUTHORIZE_URL = r"(http://127\.0\.0\.1:\d+/authorize\?\S+)"


@dataclass
class Program:
    """A running program; what it says on either stream is kept in `said`."""

    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def output(self) -> str:
        with self._changed:
            return "".join(self.said)

    def waits_for(self, pattern: str, *, nth: int = 1) -> re.Match[str]:
        """The nth match of a regular expression (multi-line) in the output, as soon as it is there."""
        with self._changed:
            self._changed.wait_for(lambda: self._find(pattern, nth) or self.process.poll() is not None, DEADLINE)
            found = self._find(pattern, nth)
            assert found, f"{pattern} was not said:\n{''.join(self.said)}"
            return found

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def ends(self) -> int:
        """Closes its input and waits for it; its exit status."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        return self.process.wait(DEADLINE)

    def _find(self, pattern: str, nth: int) -> re.Match[str] | None:
        found = list(re.finditer(pattern, "".join(self.said), re.MULTILINE))
        return found[nth - 1] if len(found) >= nth else None

    def _listen(self, stream: IO[str]) -> None:
        for line in stream:
            with self._changed:
                self.said.append(line)
                self._changed.notify_all()
        self.process.wait(DEADLINE)
        with self._changed:
            self._changed.notify_all()


@contextmanager
def running(command: Sequence[str], *, home: Path, env: Mapping[str, str] | None = None) -> Iterator[Program]:
    """The program, with an empty folder as its home and no browser to open; ended at the end."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    process = subprocess.Popen(
        command,
        cwd=home,
        env={**kept, "HOME": str(home), "BROWSER": "true", "NO_COLOR": "1", **(env or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
    program = Program(process)
    assert process.stdout is not None
    listener = threading.Thread(target=program._listen, args=(process.stdout,), daemon=True)
    listener.start()
    try:
        yield program
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(DEADLINE)
        listener.join(DEADLINE)


def approve(person: Person, authorize_url: str) -> str:
    """What a person does with the URL that a client printed: opens it, approves; the URL that leads back to the client."""
    browser = Browser(str(person.http.base_url).rstrip("/"))
    browser.open(authorize_url)
    person.approve(browser)
    return str(browser.status().json()["redirect_url"])


def approve_and_return(person: Person, authorize_url: str) -> None:
    """The same, and goes on to the client, which listens on this machine."""
    answer = httpx2.get(approve(person, authorize_url), timeout=20)
    assert answer.status_code < 400, answer.text


def free_port() -> int:
    """A port on which nobody listens at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
