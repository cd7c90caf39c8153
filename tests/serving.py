"""A real server for tests: `manage.py serve` in a process of its own, with a data folder and an environment of its own."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import uvicorn

MANAGE = Path(__file__).resolve().parent.parent / "manage.py"
READY = re.compile(r"^ovauth ready at (http://\S+)$", re.MULTILINE)
DEADLINE = 60
SECRET = re.compile(r"ov(?:at|rt|ac|dc|k|cs|reg)_[A-Za-z0-9_-]{43}")
KEPT = ("PATH", "HOME", "TMPDIR", "SYSTEMROOT")


@dataclass
class Server:
    """A running server. The operator's credentials are empty when this was not the first start."""

    data_dir: Path
    env: Mapping[str, str]
    process: subprocess.Popen[str]
    url: str = ""
    operator_password: str = ""
    operator_api_key: str = ""
    _lines: list[str] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def output(self) -> str:
        """All of its standard output and standard error so far."""
        with self._changed:
            return "".join(self._lines)

    def told(self) -> list[str]:
        """The lines of it that are for people: the log of a server that no terminal watches is JSON."""
        return [line for line in self.output().splitlines() if not line.startswith("{")]

    def waits_for(self, pattern: str, *, seconds: float = DEADLINE) -> re.Match[str]:
        """The match of a regular expression (multi-line) in the output, as soon as it is there."""
        with self._changed:
            self._changed.wait_for(lambda: self._find(pattern) or self.process.poll() is not None, seconds)
            found = self._find(pattern)
            assert found, f"{pattern} was not said:\n{''.join(self._lines)}"
            return found

    def stop(self, number: int = signal.SIGTERM, *, seconds: float = 30) -> int:
        """Sends the signal, waits for the end, gives the exit status."""
        self.process.send_signal(number)
        return self.process.wait(seconds)

    def manage(self, *args: str, typed: str | None = None) -> str:
        """The standard output of a management command in the same data folder, which must succeed."""
        done = manage(*args, data_dir=self.data_dir, env=self.env, typed=typed)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def create_user(self, name: str, *, account: str = "default", role: str = "user") -> str:
        """The API key of a new user."""
        said = self.manage("create_user", name, "--account", account, "--role", role, "--json")
        return str(json.loads(said)["api_key"])

    def _find(self, pattern: str) -> re.Match[str] | None:
        return re.search(pattern, "".join(self._lines), re.MULTILINE)

    def _listen(self, stream: IO[str]) -> None:
        for line in stream:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()


def environment(data_dir: Path, env: Mapping[str, str] | None = None) -> dict[str, str]:
    """Nothing of the machine's settings but what a process needs to start, and `env`. It speaks English unless `env` says
    otherwise: also at somebody's whose own terminal does not."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, "LC_ALL": "C.UTF-8", "OVAUTH_DATA_DIR": str(data_dir), **(env or {})}


def manage(
    *args: str, data_dir: Path, env: Mapping[str, str] | None = None, typed: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Any management command, to its end. It is started beside the data folder, so that no `.env` is in its way."""
    return subprocess.run(
        [sys.executable, str(MANAGE), *args],
        cwd=data_dir.parent,
        env=environment(data_dir, env),
        input=typed if typed is not None else "",
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


@contextmanager
def running(
    *,
    data_dir: Path,
    env: Mapping[str, str] | None = None,
    args: Sequence[str] = (),
    before: Sequence[str] = (),
    fails: bool = False,
) -> Iterator[Server]:
    """A server that answers at `url`; ended at the end, when its output must hold no traceback (unless it `fails`).

    `before` stands before its command.
    """
    process = subprocess.Popen(
        [*before, sys.executable, str(MANAGE), "serve", "--port", "0", *args],
        cwd=data_dir.parent,
        env=environment(data_dir, env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )
    server = Server(data_dir, env or {}, process)
    assert process.stdout is not None
    listener = threading.Thread(target=server._listen, args=(process.stdout,), daemon=True)
    listener.start()
    try:
        server.url = server.waits_for(READY.pattern)[1]
        server.operator_password, server.operator_api_key = _credentials(server.output())
        yield server
    finally:
        _end(process)
        listener.join(DEADLINE)
    said = server.output()
    assert fails or "Traceback" not in said, said
    # What was shown once was shown on purpose; nothing else of that kind is ever said.
    assert not SECRET.search(said.replace(server.operator_api_key or "\0", "")), said


def _credentials(said: str) -> tuple[str, str]:
    found = re.search(r"^  password   (\S+)\n  API key    (\S+)$", said, re.MULTILINE)
    return (found[1], found[2]) if found else ("", "")


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)


@contextmanager
def in_a_thread(config: uvicorn.Config) -> Iterator[int]:
    """uvicorn alone, with whatever application, in a thread of the test: its port."""
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(10)
