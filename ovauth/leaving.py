"""A server that was told to stop says so before it closes its door.

uvicorn stops listening at once, so a balancer would learn of it by connections that are refused. Here, from SIGTERM on, the
probe says no while what is in flight is finished, and whoever comes meanwhile is answered; only then uvicorn is told.
"""

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

OPEN: Final = 5.0
"""Seconds at most that the door stays open for what was in flight: a stream has no end of its own."""
LOOKS: Final = 0.05

_begun = False
_told: Callable[[], None] | None = None


def has_begun() -> bool:
    """Whether this process was told to stop."""
    return _begun


def tell(told: Callable[[], None]) -> None:
    """`told` is called at the moment when this process is told to stop."""
    global _told
    _told = told


class Door:
    """An ASGI application around another, which knows who is inside."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._inside: set[object] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self._listen()
            await self.app(scope, receive, send)
            return
        visit = object()
        self._inside.add(visit)
        try:
            await self.app(scope, receive, send)
        finally:
            self._inside.discard(visit)

    def _listen(self) -> None:
        """The server has set its signals by now. Its SIGTERM comes when those who are inside have left."""
        if threading.current_thread() is not threading.main_thread():
            return
        stops, loop = signal.getsignal(signal.SIGTERM), asyncio.get_running_loop()
        if not callable(stops):
            return
        leaving: list[asyncio.Task[None]] = []

        async def leave(number: int, frame: FrameType | None) -> None:
            before, closes = set(self._inside), loop.time() + OPEN
            while before & self._inside and loop.time() < closes:
                await asyncio.sleep(LOOKS)
            stops(number, frame)

        def heard(number: int, frame: FrameType | None) -> None:
            global _begun
            if not _begun:
                _begun = True
                if _told is not None:
                    _told()
                loop.call_soon_threadsafe(lambda: leaving.append(loop.create_task(leave(number, frame))))

        signal.signal(signal.SIGTERM, heard)
