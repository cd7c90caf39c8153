"""A reverse proxy that does what a test says to requests and answers: the way is faulty, the server behind it is real."""

import http.client
import itertools
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOPS = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "content-length", "server"}


@dataclass(frozen=True)
class Request:
    method: str
    url: str
    """Path and query."""
    headers: dict[str, str]
    """By name in lower case, with X-Forwarded-* as a good proxy sets them."""
    body: bytes = b""

    @property
    def path(self) -> str:
        return self.url.partition("?")[0]

    def without(self, *names: str) -> "Request":
        return replace(self, headers={name: value for name, value in self.headers.items() if name not in names})

    def having(self, **headers: str) -> "Request":
        return replace(self, headers={**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}})


@dataclass(frozen=True)
class Answer:
    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def without(self, name: str) -> "Answer":
        return replace(self, headers=tuple(pair for pair in self.headers if pair[0].lower() != name.lower()))

    def having(self, name: str, value: str) -> "Answer":
        """With this header instead of what there was."""
        return replace(self.without(name), headers=(*self.without(name).headers, (name, value)))

    def saying(self, old: str, new: str) -> "Answer":
        return replace(self, body=self.body.replace(old.encode(), new.encode()))


_addresses = itertools.count(1)
OnRequest = Callable[[Request], Request | Answer]
OnAnswer = Callable[[Request, Answer], Answer]


def page(status: int = 200) -> Answer:
    return Answer(status, (("content-type", "text/html"),), b"<!doctype html><title>Welcome</title>")


def as_it_is(request: Request) -> Request:
    return request


def as_it_came(request: Request, answer: Answer) -> Answer:
    return answer


@contextmanager
def between(
    upstream: str,
    *,
    on_request: OnRequest = as_it_is,
    on_answer: OnAnswer = as_it_came,
    buffers: bool = False,
    context: ssl.SSLContext | None = None,
    name: str = "localhost",
    port: int = 0,
) -> Iterator[str]:
    """The origin of a running proxy in front of `upstream`; with a context it speaks TLS."""

    address = f"198.51.100.{next(_addresses) % 250}"  # the server counts what comes from one

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            asked = on_request(self.as_sent())
            if isinstance(asked, Answer):
                self.give(asked)
                return
            going = http.client.HTTPConnection(upstream.removeprefix("http://"), timeout=20)
            try:
                going.request(asked.method, asked.url, body=asked.body or None, headers=asked.headers)
                came = going.getresponse()
            except OSError:
                self.give(page(502))
                return
            headers = tuple((key, value) for key, value in came.getheaders() if key.lower() not in HOPS)
            if not buffers and came.getheader("content-type", "").startswith("text/event-stream"):
                self.pass_on(came, headers)
            else:
                self.give(on_answer(asked, Answer(came.status, headers, came.read())))
            going.close()

        do_GET = do_POST = do_HEAD = do_OPTIONS = do_DELETE = do_PUT = handle_any  # noqa: N815

        def as_sent(self) -> Request:
            headers = {key.lower(): value for key, value in self.headers.items() if key.lower() not in HOPS}
            headers |= {
                "x-forwarded-host": self.headers["host"],
                "x-forwarded-proto": "https" if context else "http",
                "x-forwarded-for": address,
            }
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            return Request(self.command, self.path, headers, body)

        def give(self, answer: Answer) -> None:
            self.begin(answer.status, answer.headers, length=str(len(answer.body)))
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        def pass_on(self, came: Any, headers: tuple[tuple[str, str], ...]) -> None:
            self.begin(came.status, headers, length=None)
            while data := came.read1(65536):
                self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")

        def begin(self, status: int, headers: tuple[tuple[str, str], ...], *, length: str | None) -> None:
            self.send_response_only(status)
            for key, value in headers:
                self.send_header(key, value)
            self.send_header(*(("Content-Length", length) if length is not None else ("Transfer-Encoding", "chunked")))
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"{'https' if context else 'http'}://{name}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
