"""What is written to a connection within one turn of the event loop leaves at its end, in one call to the system.

uvicorn writes the head and the body of each answer by themselves, and each at once. A call to the kernel in the middle of
every request drives Python out of the processor's caches, and wakes up whoever waits at the other end: together that was a
third of what a bearer check costs. Nobody waits longer, since a turn of many requests is over sooner.
"""

import asyncio
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST: Final = 64 * 1024
"""Bytes of one connection that wait: beyond, its own buffer and the client's pace count (`pause_writing`)."""

_waiting: list["Gathered"] = []
"""Those that have something to write; there is one event loop in a process that serves."""


class Protocol(HttpToolsProtocol):
    """uvicorn's, which makes and cancels a timer for each request, to close a connection that then stays idle. Here a
    connection has one timer, which looks how long it has been idle when it rings."""

    _idle_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast(asyncio.Transport, Gathered(transport, self.loop)))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        super()._unset_keepalive_if_required()

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._look_after(self.timeout_keep_alive)

    def _unset_keepalive_if_required(self) -> None:
        self._idle_since = None

    def _look_after(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        self.timeout_keep_alive_task = None
        if self._idle_since is None:
            return
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._look_after(left)
        else:
            super().timeout_keep_alive_handler()


class Gathered:
    """A transport as uvicorn uses it, around that of the event loop."""

    __slots__ = ("_loop", "_parts", "_size", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._parts: list[bytes] = []
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._parts:
            if not _waiting:
                self._loop.call_soon(_leave)
            _waiting.append(self)
        self._parts.append(data)
        self._size += len(data)
        if self._size > MOST:
            self.flush()

    def flush(self) -> None:
        if self._parts:
            data = b"".join(self._parts)
            self._parts.clear()
            self._size = 0
            if not self._transport.is_closing():  # the client may have gone meanwhile
                self._transport.write(data)

    def close(self) -> None:
        self.flush()
        self._transport.close()


def _leave() -> None:
    leaving = _waiting.copy()
    _waiting.clear()
    for connection in leaving:
        connection.flush()
