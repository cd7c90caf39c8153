"""MCP servers of every kind that can be plugged in, each with the same tools, as their authors would write them."""

import asyncio
import json
from typing import Any

import anyio
import anyio.to_thread
import mcp_types as types
from fastmcp import FastMCP
from fastmcp.server.dependencies import get_access_token as fast_access_token
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import Context, MCPServer
from starlette.types import Receive, Scope, Send

import ovauth

ran: list[str] = []
"""The administrators' tools that really ran."""


def name() -> str:
    """Who calls, from a synchronous tool."""
    me = ovauth.current_identity()
    return f"{me.account_id}/{me.user_id} {me.role} {me.client_name}"


async def slow_name() -> str:
    """Who calls, told after others had time to call as well, and from a thread."""
    before = name()
    await asyncio.sleep(0.01)
    in_thread = await anyio.to_thread.run_sync(name)
    assert before == in_thread == name()
    return before


def package_name() -> str:
    """Who calls, in the mcp package's own words."""
    token = get_access_token()
    assert token is not None
    assert not token.token
    return f"{token.subject} {token.client_id} {' '.join(token.scopes)}"


@ovauth.requires("admin")
def administer() -> str:
    """Needs the scope admin."""
    ran.append("administer")
    return "done"


@ovauth.requires("admin", "fs")
async def administer_files() -> str:
    """Needs the scopes admin and fs."""
    ran.append("administer_files")
    return "done"


TOOLS = (name, slow_name, package_name, administer, administer_files)

official = MCPServer("official")
fast = FastMCP("fast")
for each in TOOLS:
    official.tool()(each)
    fast.tool(each)


@official.tool()
async def reports_progress(ctx: Context[Any, Any]) -> str:
    """Says something before it turns out that the caller may not."""
    await ctx.report_progress(1, 2)
    await anyio.wait_all_tasks_blocked()  # until the client has it
    return await administer_files()


async def _list(context: Any, params: Any) -> types.ListToolsResult:
    return types.ListToolsResult(tools=[types.Tool(name=each.__name__, input_schema={"type": "object"}) for each in TOOLS])


async def _call(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
    tool = next(each for each in TOOLS if each.__name__ == params.name)
    result = tool()
    text = await result if asyncio.iscoroutine(result) else result
    return types.CallToolResult(content=[types.TextContent(type="text", text=str(text))])


lowlevel: Server[Any] = Server("low-level", on_list_tools=_list, on_call_tool=_call)


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """An ASGI application without a lifespan, that answers with what it saw of the request."""
    assert scope["type"] == "http"
    body = (await receive())["body"]
    message = json.loads(body) if body else {}
    tool = next((each for each in TOOLS if each.__name__ == message.get("params", {}).get("name")), None)
    text: Any = ""
    if tool is not None:
        result = tool()
        text = await result if asyncio.iscoroutine(result) else result
    answer = {
        "path": scope["path"],
        "root_path": scope["root_path"],
        "method": scope["method"],
        "headers": [name.decode() for name, _ in scope["headers"]],
        "result": {"content": [{"type": "text", "text": text}]},
    }
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


def fast_name() -> str:
    """Who calls, in FastMCP's own words."""
    token = fast_access_token()
    assert token is not None
    return f"{token.claims['account_id']}/{token.claims['user_id']} {' '.join(token.scopes)}"


fast.tool(fast_name)

with_sessions = MCPServer("with sessions")
for each in TOOLS:
    with_sessions.tool()(each)
stateful = with_sessions.streamable_http_app(host="0.0.0.0")
"""The package's own application, which keeps sessions: for the gate any ASGI application."""


# ------------------------------------------------------------------ what cannot be served

wrong_order = MCPServer("wrong order")


def _left_open() -> str:
    ran.append("left open")
    return "done"


ovauth.requires("admin")(wrong_order.tool(name="left_open")(_left_open))
fast_wrong_order = FastMCP("wrong order")
fast_wrong_order.tool(_left_open, name="left_open")

unknown_scope = MCPServer("unknown scope")


@unknown_scope.tool()
@ovauth.requires("mcp", "nonsense")
def unreachable() -> str:
    return "done"


def factory() -> MCPServer:
    return MCPServer("made")


a_number = 7
