"""How `serve` writes to its connections: gathered within a turn of the event loop, and nothing else changes by that."""

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from project.turns import MOST, Protocol
from tests.serving import in_a_thread

KEEP_ALIVE = 0.6
PART = b"x" * MOST
sent_parts = 0


async def app(scope: Any, receive: Any, send: Any) -> None:
    global sent_parts
    headers = [(b"content-type", b"text/plain")]
    match scope["path"]:
        case "/":
            await send({"type": "http.response.start", "status": 200, "headers": [*headers, (b"content-length", b"5")]})
            await send({"type": "http.response.body", "body": b"hello"})
        case "/slow":
            await asyncio.sleep(KEEP_ALIVE * 1.5)
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        case "/stream":
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
            await asyncio.sleep(0.2)
            await send({"type": "http.response.body", "body": b"second"})
        case "/endless":
            sent_parts = 0
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            for _ in range(1000):
                await send({"type": "http.response.body", "body": PART, "more_body": True})
                sent_parts += 1


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    config = uvicorn.Config(app, http=Protocol, timeout_keep_alive=KEEP_ALIVE, log_level="critical", lifespan="off")  # type: ignore[arg-type]
    with in_a_thread(config) as port:
        yield port


@pytest.fixture
def talk(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        yield connection


def ask(talk: socket.socket, path: str, *headers: str) -> None:
    talk.sendall("\r\n".join([f"GET {path} HTTP/1.1", "Host: a", *headers, "", ""]).encode())


def test_head_and_body_of_an_answer_arrive_together(talk: socket.socket) -> None:
    for _ in range(20):
        ask(talk, "/")
        assert talk.recv(65536).endswith(b"\r\n\r\nhello")


def test_requests_sent_ahead_are_answered_in_their_order(talk: socket.socket) -> None:
    for path in ("/stream", "/", "/"):
        ask(talk, path)
    ask(talk, "/", "Connection: close")
    received = b"".join(iter(lambda: talk.recv(65536), b""))
    assert received.count(b"HTTP/1.1 200") == 4
    assert received.index(b"second") < received.index(b"hello")
    assert received.endswith(b"hello"), "closed only when everything was written"


def test_what_a_stream_says_leaves_when_it_is_said(talk: socket.socket) -> None:
    ask(talk, "/stream")
    received = b""
    while b"first" not in received:
        received += talk.recv(65536)
    assert b"second" not in received


def test_who_does_not_read_is_not_written_for_ahead(talk: socket.socket) -> None:
    ask(talk, "/endless")
    time.sleep(0.5)
    assert 0 < sent_parts < 500, "the server goes at the client's pace"


def test_a_client_that_leaves_takes_nobody_with_it(port: int) -> None:
    for path in ("/", "/slow", "/stream", "/endless"):
        with socket.create_connection(("127.0.0.1", port)) as leaving:
            ask(leaving, path)
    time.sleep(KEEP_ALIVE * 1.5)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as later:
        ask(later, "/")
        assert later.recv(65536).endswith(b"hello")


def test_a_connection_that_stays_idle_is_closed_and_a_busy_one_is_not(talk: socket.socket) -> None:
    began = time.monotonic()
    for _ in range(3):
        ask(talk, "/")
        assert talk.recv(65536).endswith(b"hello")
        time.sleep(KEEP_ALIVE / 2)
    ask(talk, "/slow")
    assert talk.recv(65536).startswith(b"HTTP/1.1 204")
    answered = time.monotonic()
    assert answered - began > KEEP_ALIVE * 2, "it lived longer than the timer, since it was not idle for so long"
    assert talk.recv(1) == b""
    assert KEEP_ALIVE * 0.8 < time.monotonic() - answered < KEEP_ALIVE * 4
