"""Clients as they are: several processes on one stored token, and a network that loses every third answer.

As a program, the long run: `uv run python -m tests.journeys.lost_answers --rounds 10000`.
"""

import argparse
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

from tests.journeys.people import CALLBACK, Browser, Person
from tests.serving import Server, running

VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
PROCESSES = 4
LOSES_EVERY = 3
HTTP = httpx2.Client(timeout=30, limits=httpx2.Limits(max_keepalive_connections=0))


@contextmanager
def lossy(server: Server) -> Iterator[str]:
    """A proxy in front of the server that delivers every request and swallows every third answer of /token."""
    upstream = urlsplit(server.url)
    listener = socket.create_server(("127.0.0.1", 0))
    answers = iter(range(1, 10**9))
    lock = threading.Lock()

    def serve(client: socket.socket) -> None:
        with client, socket.create_connection((upstream.hostname, upstream.port)) as onward:
            request = _whole_request(client)
            if not request:
                return
            onward.sendall(request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            answer = b""
            while part := onward.recv(65536):
                answer += part
            with lock:
                lost = next(answers) % LOSES_EVERY == 0
            if not lost:
                client.sendall(answer)

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()


def _whole_request(client: socket.socket) -> bytes:
    request = b""
    while b"\r\n\r\n" not in request:
        part = client.recv(65536)
        if not part:
            return b""
        request += part
    head, _, body = request.partition(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
    )
    while len(body) < length:
        part = client.recv(65536)
        body += part
        request += part
    return request


@dataclass(frozen=True)
class Store:
    """A token file that several processes read and write without asking each other."""

    path: Path

    def read(self) -> dict[str, str]:
        document: dict[str, str] = json.loads(self.path.read_text())
        return document

    def write(self, tokens: dict[str, str]) -> None:
        draft = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        draft.write_text(json.dumps(tokens))
        draft.replace(self.path)


def connect(server: Server) -> tuple[str, dict[str, str]]:
    """A connected client: its id, and its first tokens."""
    registered = httpx2.post(f"{server.url}/register", json={"client_name": "Many", "redirect_uris": [CALLBACK]})
    client_id: str = registered.json()["client_id"]
    browser = Browser(server.url)
    asked = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": CALLBACK,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    browser.open(f"/authorize?{httpx2.QueryParams(asked)}")
    Person(server.url, server.operator_api_key).approve(browser)
    fields = {
        "grant_type": "authorization_code",
        "client_id": client_id,
        "code": browser.result()["code"],
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
    }
    tokens: dict[str, str] = httpx2.post(f"{server.url}/token", data=fields).json()
    return client_id, tokens


def refresh(url: str, client_id: str, refresh_token: str) -> httpx2.Response | None:
    """The answer, or None when it was lost on the way."""
    fields = {"grant_type": "refresh_token", "client_id": client_id, "refresh_token": refresh_token}
    try:
        return HTTP.post(f"{url}/token", data=fields)
    except httpx2.TransportError:
        return None


def one_process(url: str, client_id: str, path: str, rounds: int, seed: int) -> None:
    """Refreshes `rounds` times; ends with status 1 and a sentence when a person would have to sign in again."""
    store, chance = Store(Path(path)), random.Random(seed)
    held = store.read()["refresh_token"]
    for number in range(rounds):
        # mostly what is stored now, sometimes what this process happens to remember
        held = store.read()["refresh_token"] if chance.random() < 0.8 else held
        answer = refresh(url, client_id, held)
        if answer is None:
            continue
        if answer.status_code != 200:
            sys.exit(f"round {number}: {answer.status_code} {answer.text}")
        store.write(answer.json())
        held = answer.json()["refresh_token"]


def run(server: Server, url: str, client_id: str, tokens: dict[str, str], rounds: int) -> list[str]:
    """All processes, to their end; what they complained about."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "tokens.json")
        store.write(tokens)
        share = str(rounds // PROCESSES)
        command = [sys.executable, "-m", "tests.journeys.lost_answers", "--as", url, client_id, str(store.path), share]
        processes = [
            subprocess.Popen([*command, str(seed)], stderr=subprocess.PIPE, text=True) for seed in range(PROCESSES)
        ]
        complaints = [process.communicate()[1] for process in processes]
        tokens.update(store.read())
    return [complaint for complaint in complaints if complaint.strip()]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=10_000)
    parser.add_argument("--as", dest="process", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.process:
        url, client_id, path, rounds, seed = options.process
        return one_process(url, client_id, path, int(rounds), int(seed))
    with tempfile.TemporaryDirectory() as folder, running(data_dir=Path(folder) / "data") as server:
        client_id, tokens = connect(server)
        with lossy(server) as url:
            complaints = run(server, url, client_id, tokens, options.rounds)
        print("\n".join(complaints) or f"{options.rounds} rounds by {PROCESSES} processes: nobody had to sign in again.")
        sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
