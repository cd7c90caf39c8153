"""The MCP server behind the gate, which does nothing: so a request to `/mcp` costs what the gate costs.

It also watches the event loop in which it runs together with ovauth, on request: `x-bench: watch` begins, `x-bench: told`
ends and tells in JSON for how long at most the loop did not run.
"""

import asyncio
import json
import os
import threading
import time
from typing import Any

TICK = 0.002
ANSWER = b'{"jsonrpc":"2.0","id":1,"result":{}}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]


class Watch:
    """Wakes every two milliseconds, and notes how late. What the kernel gave to other processes and threads meanwhile is
    told apart (`/proc/thread-self/schedstat`): on a machine with few cores that is not the loop's fault."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.gaps: list[tuple[float, float]] = []

    async def run(self) -> None:
        waits = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
        try:
            woken, waited = time.perf_counter(), _waited(waits)
            while True:
                await asyncio.sleep(TICK)
                now, so_far = time.perf_counter(), _waited(waits)
                self.gaps.append((now - woken, so_far - waited))
                woken, waited = now, so_far
        finally:
            os.close(waits)

    def begin(self) -> None:
        self.gaps.clear()
        self.task = asyncio.create_task(self.run())

    def end(self) -> dict[str, float]:
        if self.task is not None:
            self.task.cancel()
            self.task = None
        gaps = self.gaps or [(0.0, 0.0)]
        longest = max(gaps)
        return {
            "longest_ms": longest[0] * 1000,
            "of_that_without_a_core_ms": longest[1] * 1000,
            "longest_running_ms": max(gap - waited for gap, waited in gaps) * 1000,
            "over_20_ms": sum(gap > 0.02 for gap, _ in gaps),
            "turns": len(gaps),
        }


def _waited(descriptor: int) -> float:
    """Seconds in which this thread could have run and had no core."""
    return int(os.pread(descriptor, 100, 0).split()[1]) / 1e9


watch = Watch()


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    headers, answer = HEADERS, ANSWER
    for name, value in scope["headers"]:
        if name == b"x-bench":
            if value == b"watch":
                watch.begin()
            else:
                answer = json.dumps(watch.end()).encode()
                headers = [HEADERS[0], (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
