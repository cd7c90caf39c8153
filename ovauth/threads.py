"""The long-lived threads on which everything that asks the database runs, each with its own connection.

A leaf: Django's requests (`ovauth.web`) and the bearer check at `/mcp` (`ovauth.resource`) share it. A hop to a thread and
back costs more than most of what is done there, so a thread that is busy takes the next call without being woken, and one
waking of the event loop brings the results of all calls that were done until then.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

Argument = TypeVar("Argument")
Result = TypeVar("Result")

OTHERS: Final = 8
MOST_TOGETHER: Final = 16
"""So the last of them does not wait long for the first."""

rest: Callable[[], None] | None = None
"""What a thread does when no call waits for it, or when one failed."""


class Threads:
    """So many threads, started when first needed. They take the calls of event loops in the order in which they came."""

    def __init__(self, number: int, name: str) -> None:
        self.number, self.name = number, name
        self._calls: SimpleQueue[_Call] = SimpleQueue()
        self._started = False
        self._starting = threading.Lock()

    async def run(self, call: Callable[..., Result], *arguments: Any) -> Result:
        """What the call returns or raises, there. To be awaited in an event loop."""
        result: Result = await self._asked(call, arguments, together=False)
        return result

    async def run_together(self, call: Callable[[list[Argument]], list[Result]], argument: Argument) -> Result:
        """The same for a call that takes several arguments at once and returns as many results: those that wait for a
        thread at the same time share one call. What it raises, all of them raise."""
        result: Result = await self._asked(call, argument, together=True)
        return result

    def _asked(self, call: Callable[..., Any], arguments: Any, *, together: bool) -> "asyncio.Future[Any]":
        if not self._started:
            self._start()
        back = _way_back()
        asked = _Call(back.loop.create_future(), back, call, arguments, together)
        self._calls.put(asked)
        return asked.answer

    def _start(self) -> None:
        with self._starting:
            if not self._started:
                for place in range(self.number):
                    # Daemons: whoever waits for the process to end waits for the requests, which uvicorn does.
                    threading.Thread(target=self._work, name=f"{self.name}-{place}", daemon=True).start()
                self._started = True

    def _work(self) -> None:
        following: _Call | None = None
        while True:
            asked = following or self._calls.get()
            following = None
            if asked.together:
                group, following = self._group(asked)
                well = _do_together(group)
                del group
            else:
                well = _do(asked)
            del asked  # nothing of a request is kept alive by a thread that waits for the next
            if rest is not None and (not well or (following is None and self._calls.empty())):
                rest()

    def _group(self, first: "_Call") -> "tuple[list[_Call], _Call | None]":
        """The calls that wait for the same as the first, and the one behind them that was taken out too."""
        group = [first]
        with suppress(Empty):
            while len(group) < MOST_TOGETHER:
                asked = self._calls.get_nowait()
                if not asked.together or asked.call != first.call:
                    return group, asked
                group.append(asked)
        return group, None


def _do(asked: "_Call") -> bool:
    """Whether it went well; what it came to is told to whoever asked."""
    try:
        result, fault = asked.call(*asked.arguments), None
    except BaseException as raised:
        result, fault = None, raised
    asked.back.bring(asked.answer, result, fault)
    return fault is None


def _do_together(group: "list[_Call]") -> bool:
    try:
        results, fault = group[0].call([asked.arguments for asked in group]), None
    except BaseException as raised:
        results, fault = [None] * len(group), raised
    for asked, result in zip(group, results, strict=True):
        asked.back.bring(asked.answer, result, fault)
    return fault is None


class _Call:
    __slots__ = ("answer", "arguments", "back", "call", "together")

    def __init__(
        self, answer: asyncio.Future[Any], back: "_WayBack", call: Callable[..., Any], arguments: Any, together: bool
    ) -> None:
        self.answer, self.back, self.call, self.arguments, self.together = answer, back, call, arguments, together


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


pages = Threads(2, "ovauth-pages")
"""Django's pages and the API. Python runs one thread at a time, so more of them only take turns from the event loop."""

others = Threads(OTHERS, "ovauth-others")
"""Whatever may wait for somebody else's server: nobody else waits behind it."""

protocol = Threads(1, "ovauth-protocol")
"""The OAuth endpoints that programs call, and the bearer check when it has to write."""
