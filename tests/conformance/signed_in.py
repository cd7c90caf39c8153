"""A proxy on loopback that adds an access token to every request: the suite's server scenarios know no authorization.

It adds that one header and `Connection: close`, and passes every other byte as it is, since some scenarios are about the
bytes of headers. One request for each connection, so that it need not know where a body ends.
"""

import contextlib
import re
import socket
import socketserver
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

_CONNECTION = re.compile(rb"\r\nconnection:[^\r]*", re.IGNORECASE)
_PIECE = 64 * 1024


class _Forward(socketserver.BaseRequestHandler):
    server: "Proxy"

    def handle(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = self.request.recv(_PIECE)
            if not piece:
                return
            head += piece
        head, _, body = head.partition(b"\r\n\r\n")
        head = _CONNECTION.sub(b"", head) + self.server.added
        with contextlib.suppress(OSError), socket.create_connection(self.server.target) as onward:
            onward.sendall(head + b"\r\n\r\n" + body)
            threading.Thread(target=_relay, args=(self.request, onward), daemon=True).start()
            _relay(onward, self.request)


class Proxy(socketserver.ThreadingTCPServer):
    """In front of `origin`. It adds nothing as long as `access_token` is empty: a token is for the name it was asked at."""

    daemon_threads = True

    def __init__(self, origin: str) -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        address = urlsplit(origin)
        self.target = (address.hostname or "", address.port or 80)
        self.access_token = ""

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def added(self) -> bytes:
        credential = f"\r\nAuthorization: Bearer {self.access_token}" if self.access_token else ""
        return f"\r\nConnection: close{credential}".encode()


@contextlib.contextmanager
def proxy_to(origin: str) -> Iterator[Proxy]:
    with Proxy(origin) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        try:
            yield proxy
        finally:
            proxy.shutdown()


def _relay(source: Any, sink: Any) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(_PIECE):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
