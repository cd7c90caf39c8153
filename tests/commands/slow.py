"""An MCP server for tests of stopping: it says that it works, and answers when it is let go."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any


async def waits(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """An ASGI application. Answers when the file that RELEASE names exists."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    print("in flight", file=sys.stderr, flush=True)
    while not Path(os.environ["RELEASE"]).exists():
        await asyncio.sleep(0.02)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
