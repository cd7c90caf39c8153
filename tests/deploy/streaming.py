"""An MCP server whose answer cannot end before its beginning has arrived: behind a proxy that buffers, it never ends."""

from typing import Any

import anyio
from mcp.server.mcpserver import Context, MCPServer
from starlette.types import Message, Receive, Scope, Send

mcp = MCPServer("streaming")
arrived = anyio.Event()


@mcp.tool()
async def begins(ctx: Context[Any, Any]) -> str:
    """Says something, and waits until somebody has heard it."""
    await ctx.report_progress(1, 2)
    await arrived.wait()
    return "heard"


@mcp.tool()
async def hears() -> str:
    """Tells that the beginning has arrived."""
    arrived.set()
    return "thanks"


package_app = mcp.streamable_http_app(stateless_http=True)


async def server(scope: Scope, receive: Receive, send: Send) -> None:
    """Without the header by which the mcp package asks nginx not to buffer: not every server sends it."""

    async def say(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [(name, value) for name, value in message["headers"] if name.lower() != b"x-accel-buffering"]
            message = {**message, "headers": kept}
        await send(message)

    await package_app(scope, receive, say)
