"""The long-lived threads on which everything that asks the database runs, each with its own kept connection.

A leaf: Django's requests (`ovauth.web`) and the bearer check at `/mcp` (`ovauth.resource`) share it. A hop to a thread and
back costs more than most of what is done there, so a thread that is busy takes the next call without being woken, and one
waking of the event loop brings the results of all calls that were done until then.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Final, TypeVar

Result = TypeVar("Result")

PAGES: Final = 8


class Threads:
    """So many threads, started when first needed. They take the calls of event loops in the order in which they came."""

    def __init__(self, number: int, name: str) -> None:
        self.number, self.name = number, name
        self._calls: SimpleQueue[_Call] = SimpleQueue()
        self._started = False
        self._starting = threading.Lock()

    async def run(self, call: Callable[..., Result], *arguments: Any) -> Result:
        """What the call returns or raises, there. To be awaited in an event loop."""
        if not self._started:
            self._start()
        back = _way_back()
        asked = _Call(back.loop.create_future(), back, call, arguments)
        self._calls.put(asked)
        return await asked.answer

    def _start(self) -> None:
        with self._starting:
            if not self._started:
                for place in range(self.number):
                    # Daemons: whoever waits for the process to end waits for the requests, which uvicorn does.
                    threading.Thread(target=self._work, name=f"{self.name}-{place}", daemon=True).start()
                self._started = True

    def _work(self) -> None:
        while True:
            asked = self._calls.get()
            try:
                result, fault = asked.call(*asked.arguments), None
            except BaseException as raised:
                result, fault = None, raised
            asked.back.bring(asked.answer, result, fault)
            del asked, result, fault  # nothing of a request is kept alive by a thread that waits for the next


class _Call:
    __slots__ = ("answer", "arguments", "back", "call")

    def __init__(
        self, answer: asyncio.Future[Any], back: "_WayBack", call: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> None:
        self.answer, self.back, self.call, self.arguments = answer, back, call, arguments


class _WayBack:
    """From the threads to one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._done: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._woken = False

    def bring(self, answer: asyncio.Future[Any], result: Any, fault: BaseException | None) -> None:
        """Called by a thread."""
        self._done.append((answer, result, fault))
        if not self._woken:
            self._woken = True
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self.loop.call_soon_threadsafe(self._hand_out)

    def _hand_out(self) -> None:
        # First, so that what is done from here on wakes the loop again.
        self._woken = False
        while self._done:
            answer, result, fault = self._done.popleft()
            if answer.cancelled():
                continue
            if fault is not None:
                answer.set_exception(fault)
            else:
                answer.set_result(result)


_ways_back: dict[asyncio.AbstractEventLoop, _WayBack] = {}


def _way_back() -> _WayBack:
    loop = asyncio.get_running_loop()
    found = _ways_back.get(loop)
    if found is None:
        for closed in [loop for loop in _ways_back if loop.is_closed()]:
            del _ways_back[closed]
        found = _ways_back[loop] = _WayBack(loop)
    return found


pages = Threads(PAGES, "ovauth-pages")
"""Django's pages, the API, and whatever may wait for somebody else's server."""

protocol = Threads(1, "ovauth-protocol")
"""The OAuth endpoints that programs call, and the bearer check when it has to write."""
