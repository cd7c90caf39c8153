"""What no HTTP library would send, over a real socket to a real server: slow, endless, broken and doubled requests."""

import json
import socket
from collections.abc import Callable, Iterator

import pytest
import uvicorn

from ovauth.web.public_origin import PublicOrigin
from ovauth.web.serving import DjangoOnThreads
from project.turns import Protocol
from tests.serving import in_a_thread

FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
TIMEOUT = 0.3


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    config = uvicorn.Config(
        PublicOrigin(DjangoOnThreads()), http=Protocol, log_level="critical", proxy_headers=False, lifespan="off"
    )
    with in_a_thread(config) as port:
        yield port


Talk = Callable[..., bytes]


@pytest.fixture
def talk(port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Talk]:
    """Sends bytes, gives all that comes back until the server closes; afterwards the server still serves."""
    monkeypatch.setattr("ovauth.request_body.BODY_TIMEOUT", TIMEOUT)

    def said(*parts: bytes, finish: bool = False) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            for part in parts:
                client.sendall(part)
            if finish:
                client.shutdown(socket.SHUT_WR)
            received = bytearray()
            try:
                while chunk := client.recv(65536):
                    received += chunk
            except ConnectionResetError:
                pass
            return bytes(received)

    yield said
    alive = said(b"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert alive.startswith(b"HTTP/1.1 404 ")  # answered, that is


def request(path: str = "/token", *headers: bytes) -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: a\r\n".encode() + FORM + b"".join(header + b"\r\n" for header in headers) + b"\r\n"
    )


def parts_of(answer: bytes) -> tuple[int, bytes, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.lower(), body


def assert_json(answer: bytes, status: int) -> None:
    found, head, body = parts_of(answer)
    assert found == status
    assert b"content-type: application/json" in head
    assert b"cache-control: no-store" in head
    assert json.loads(body)["error"] == "invalid_request"


def test_a_body_that_does_not_come_ends_in_408_and_holds_nobody_up(talk: Talk) -> None:
    answer = talk(request("/token", b"Content-Length: 100"), b"grant_type")
    assert_json(answer, 408)
    assert b"connection: close" in parts_of(answer)[1]


def test_many_slow_bodies_hold_up_no_one_else(port: int, talk: Talk) -> None:
    slow = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(30)]
    try:
        for each in slow:
            each.sendall(request("/token", b"Content-Length: 100") + b"a")
        quick = talk(b"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert parts_of(quick)[0] == 404
    finally:
        for each in slow:
            each.close()


def test_a_body_that_is_declared_too_large_is_not_waited_for(talk: Talk) -> None:
    assert_json(talk(request("/token", b"Content-Length: 100000000")), 413)


def test_a_body_without_an_end_is_cut_off(talk: Talk) -> None:
    chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    assert_json(talk(request("/token", b"Transfer-Encoding: chunked"), *[chunk] * 5), 413)


def test_a_chunked_body_is_a_body(talk: Talk) -> None:
    answer = talk(
        request("/token", b"Transfer-Encoding: chunked", b"Connection: close"), b"5\r\na=b&a\r\n2\r\n=c\r\n0\r\n\r\n"
    )
    assert_json(answer, 400)
    assert b"a was sent more than once" in answer


def test_what_follows_a_declared_body_is_not_part_of_it(talk: Talk) -> None:
    answer = talk(request("/token", b"Content-Length: 7"), b"a=1&a=2&code=smuggled\r\n\r\n")
    first, _, rest = answer.partition(b"more than once.")
    assert first.startswith(b"HTTP/1.1 400 ")
    assert b"smuggled" not in rest
    assert b" 200 " not in rest


def test_a_client_that_leaves_in_the_middle_is_not_answered(talk: Talk) -> None:
    assert b" 200 " not in talk(request("/token", b"Content-Length: 100"), b"a=b", finish=True)


@pytest.mark.parametrize(
    "sent",
    [
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        request("/token", b"Content-Length: 5", b"Content-Length: 6") + b"a=b&c",
        request("/token", b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
        request("/token", b"Content-Length: -1"),
        request("/token", b"Content-Length: five"),
        request("/token", b"Content-Length: " + b"9" * 5000),
        request("/token", b"Authorization: a\0b"),
        request("/token", b"Transfer-Encoding: chunked") + b"zz\r\n",
        b"POST /token\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /tok en HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_before_it_reaches_us(talk: Talk, sent: bytes) -> None:
    status, _, body = parts_of(talk(sent, finish=True))
    assert 400 <= status < 500
    assert b"Traceback" not in body


@pytest.mark.parametrize(
    "headers",
    [
        [b"Host: b"],
        [b"Content-Type: application/x-www-form-urlencoded"],
        [b"X-Forwarded-Host: \xff"],
        [b"X-Forwarded-Proto: gopher"],
    ],
)
def test_doubled_and_hostile_headers_are_refused_in_shape(talk: Talk, headers: list[bytes]) -> None:
    answer = talk(request("/token", b"Connection: close", b"Content-Length: 3", *headers) + b"a=b")
    assert_json(answer, 415 if headers[0].startswith(b"Content-Type") else 400)


def test_bytes_in_the_query_that_are_no_text_are_refused_in_shape(talk: Talk) -> None:
    answer = talk(b"POST /token?a=\xff HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    assert parts_of(answer)[0] == 400
