"""Do event streams pass? Two events, a moment apart: behind a proxy that holds streams back they arrive together.

Beside `/mcp` and not in it, since proxies are told of `/mcp` alone, and since of another MCP server's tools nobody knows
how long they take. It needs no token and tells nothing, and costs neither a thread nor the database.
"""

import asyncio
from typing import Final

from starlette.types import Receive, Scope, Send

PATH: Final = "/mcp/stream-check"
APART: Final = 0.6
"""Seconds."""


async def stream_check(scope: Scope, receive: Receive, send: Send) -> None:
    """An ASGI application."""
    if scope["method"] != "GET":
        await _begin(send, 405, [(b"allow", b"GET")])
        await send({"type": "http.response.body", "body": b""})
        return
    # As the mcp package says it: it asks nginx not to buffer.
    await _begin(send, 200, [(b"content-type", b"text/event-stream"), (b"x-accel-buffering", b"no")])
    await send({"type": "http.response.body", "body": b"data: first\n\n", "more_body": True})
    await asyncio.sleep(APART)
    await send({"type": "http.response.body", "body": b"data: last\n\n"})


async def _begin(send: Send, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    headers = [*headers, (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
