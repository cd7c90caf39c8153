"""A way to a database that takes its time: every answer is held up for `delay` seconds."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass


@dataclass
class Way:
    """`delay` may be changed at any time; infinity holds everything up until it is changed again."""

    port: int
    delay: float = 0.0


@contextmanager
def slow_way(port: int) -> Iterator[Way]:
    """To 127.0.0.1:port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        way = Way(listener.getsockname()[1])
        ends: list[socket.socket] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    near, _ = listener.accept()
                    far = socket.create_connection(("127.0.0.1", port))
                    ends.extend((near, far))
                    threading.Thread(target=_pass, args=(near, far, way, False), daemon=True).start()
                    threading.Thread(target=_pass, args=(far, near, way, True), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield way
        finally:
            way.delay = 0
            for end in ends:
                end.close()


def _pass(source: socket.socket, sink: socket.socket, way: Way, held: bool) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            since = time.monotonic()
            while held and time.monotonic() < since + way.delay:
                time.sleep(0.005)
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
