"""The load: as many connections as asked, each of which sends the next request when the last one is answered.

Bare HTTP/1.1 over kept connections on uvloop, in a process and on a core of its own, so that the server is what is
measured. A request counts when its answer is complete and has the expected status; every hundredth answer is looked into.
"""

import asyncio
import os
import re
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import uvloop

from tests.bench import processes

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
PATIENCE = 30


class Wrong(Exception):
    """The server did not do the work that it is measured for. The message says what it answered."""


class Work(Protocol):
    """What the connections ask for. A lane is one connection."""

    requests_in_one: int
    """How many requests make one piece of work, of which the figures tell."""

    def next(self, lane: int) -> bytes | None:
        """The next request of that connection, or None when nothing is left to ask."""

    def answered(self, lane: int, status: int, head: bytes, body: bytes) -> None:
        """Raises Wrong if this is not the expected answer."""


@dataclass(frozen=True)
class Measured:
    """What happened within a window. Times in seconds; `latencies` sorted, one for each request."""

    requests: int
    seconds: float
    latencies: list[float]

    def percentile(self, share: float) -> float:
        return self.latencies[min(len(self.latencies) - 1, int(len(self.latencies) * share))]


class Lane(asyncio.Protocol):
    def __init__(self, number: int, driver: "Driver") -> None:
        self.number, self.driver, self.work = number, driver, driver.work
        self.received = b""
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        request = None if self.driver.stopping else self.work.next(self.number)
        if request is None:
            self.end(None)
            return
        self.asked_at = time.perf_counter()
        self.transport.write(request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        received = self.received + data if self.received else data
        head_end = received.find(b"\r\n\r\n")
        if head_end < 0:
            self.received = received
            return
        head = received[: head_end + 2]
        length = LENGTH.search(head)
        if length is not None:
            complete = len(received) >= head_end + 4 + int(length[1])
        elif CHUNKED.search(head):
            complete = received.endswith(b"0\r\n\r\n")
        else:
            complete = True
        if not complete:
            self.received = received
            return
        self.received = b""
        self.driver.latencies.append(time.perf_counter() - self.asked_at)
        try:
            self.work.answered(self.number, int(received[9:12]), head, received[head_end + 4 :])
        except Exception as wrong:
            self.end(wrong)
            return
        self.ask()

    def connection_lost(self, exc: Exception | None) -> None:
        self.end(exc or Wrong("the server closed the connection"))

    def end(self, fault: Exception | None) -> None:
        if self.done.done():
            return
        if fault is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(fault)
        self.transport.close()


class Driver:
    def __init__(self, work: Work) -> None:
        self.work = work
        self.stopping = False
        self.latencies = array("d")

    async def run(self, port: int, connections: int, warm_up: float, seconds: float, mark: Callable[[], None]) -> Measured:
        loop = asyncio.get_running_loop()
        lanes = []
        for number in range(connections):
            _, lane = await loop.create_connection(lambda number=number: Lane(number, self), "127.0.0.1", port)
            lanes.append(lane.done)
        if warm_up:
            await asyncio.wait(lanes, timeout=warm_up, return_when=asyncio.FIRST_EXCEPTION)
        mark()
        self.latencies = array("d")
        began = time.perf_counter()
        await asyncio.wait(lanes, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        took = time.perf_counter() - began
        latencies = self.latencies
        mark()
        self.stopping = True
        self.latencies = array("d")
        await asyncio.wait_for(asyncio.gather(*lanes), PATIENCE)
        if not latencies:
            raise Wrong("nothing was answered within the window")
        return Measured(len(latencies), took, sorted(latencies))


def drive(
    work: Work,
    *,
    port: int,
    connections: int,
    seconds: float,
    warm_up: float = 0.3,
    mark: Callable[[], None] = lambda: None,
) -> Measured:
    """Asks for `seconds`, after `warm_up` seconds that do not count, on the load's own core. `mark` is called at the begin
    and at the end of what counts. Raises Wrong when an answer is not the expected one."""
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processes.LOAD)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(Driver(work).run(port, connections, warm_up, seconds, mark))
    finally:
        os.sched_setaffinity(0, everywhere)
