"""MCP servers as they run elsewhere, in a process of their own, each of another kind; what they saw they tell.

python -m tests.journeys.upstreams stateless|stateful|unnamed|locked|odd PORT FOLDER
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ToolAnnotations
from starlette.types import Receive, Scope, Send

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(sys.argv[3]) if len(sys.argv) > 3 else Path()
KEY = "the-upstreams-own-key"

server = MCPServer("elsewhere")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
async def seen(ctx: Context[Any, Any]) -> str:
    """Every header of the request that calls this tool."""
    return json.dumps(dict(ctx.headers or {}))


@server.tool()
async def waits(ctx: Context[Any, Any], name: str) -> str:
    """Says that it is half done, and is done when a file of that name is there."""
    await ctx.report_progress(1, 2, "half done")
    try:
        while not (FOLDER / name).exists():
            await anyio.sleep(0.02)
    except anyio.get_cancelled_exc_class():
        (FOLDER / f"{name}.cancelled").touch()
        raise
    return "done"


@server.tool()
async def tells_of_tools(ctx: Context[Any, Any]) -> str:
    """Sends a message of its own accord: it arrives on the stream that the client opened by GET."""
    await ctx.session.send_tool_list_changed()
    return "told"


async def odd(scope: Scope, receive: Receive, send: Send) -> None:
    """No MCP server at all: answers as the header `x-want` says, and keeps what it saw."""
    if scope["type"] != "http":
        return
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    body = (await receive())["body"].decode()
    (FOLDER / "seen.json").write_text(
        json.dumps({"method": scope["method"], "path": scope["path"], "headers": scope_headers(scope), "body": body})
    )
    want = headers.get("x-want", "")
    status, said = {
        "redirect": (307, [(b"location", b"http://127.0.0.1:9/elsewhere?secret=1")]),
        "key": (401, [(b"www-authenticate", b'Bearer realm="upstream"')]),
        "scope": (403, [(b"www-authenticate", b'Bearer error="insufficient_scope", scope="admin nonsense"')]),
        "refuse": (403, [(b"www-authenticate", b"Basic")]),
        "cookie": (
            200,
            [(b"set-cookie", b"a=b"), (b"access-control-allow-origin", b"x"), (b"connection", b"x-hop"), (b"x-hop", b"1")],
        ),
    }.get(want, (200, []))
    if want == "hang":
        while (await receive())["type"] != "http.disconnect":
            pass
        (FOLDER / "gone").touch()
        return
    content = b'{"jsonrpc": "2.0", "id": 1, "result": {}}'
    length = len(content) + (100 if want == "break" else 0)
    fixed = [(b"content-type", b"application/json"), (b"content-length", str(length).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *said]})
    await send({"type": "http.response.body", "body": content, "more_body": want == "break"})
    if want == "break":
        os._exit(1)


def scope_headers(scope: Scope) -> list[list[str]]:
    return [[name.decode(), value.decode()] for name, value in scope["headers"]]


async def locked(scope: Scope, receive: Receive, send: Send) -> None:
    """A server that has a login of its own."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 401, "headers": [(b"www-authenticate", b"Bearer")]})
        await send({"type": "http.response.body", "body": b""})


def application(kind: str) -> Any:
    if kind in ("odd", "locked"):
        return {"odd": odd, "locked": locked}[kind]
    if kind == "unnamed":
        return MCPServer().streamable_http_app(stateless_http=True)
    return server.streamable_http_app(stateless_http=kind == "stateless")


@contextmanager
def elsewhere(kind: str, folder: Path, *, port: int = 0) -> Iterator[str]:
    """The URL of such a server while it runs; it leaves its traces in the folder."""
    port = port or free_port()
    command = [sys.executable, "-m", "tests.journeys.upstreams", kind, str(port), str(folder)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        process.wait(10)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_for(port: int) -> None:
    for _ in range(500):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"nothing listens on {port}")


if __name__ == "__main__":
    uvicorn.run(application(sys.argv[1]), port=int(sys.argv[2]), log_level="critical", lifespan="auto")
