"""Somebody else's servers, as they would stand in an operator's folder: plugged in by OVAUTH_MCP_SERVER."""

from fastmcp import FastMCP
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer
from mcp_types import CallToolResult, ListToolsResult, TextContent, Tool

import ovauth


def who() -> str:
    caller = ovauth.current_identity()
    return f"{caller.account_id}/{caller.user_id} by {caller.client_name} with {' '.join(caller.scopes)}"


fast = FastMCP("somebody's FastMCP")
fast.tool(who)

mcp = MCPServer("somebody's MCPServer")
mcp.tool()(who)


async def _list(context: object, params: object) -> ListToolsResult:
    return ListToolsResult(tools=[Tool(name="who", input_schema={"type": "object"})])


async def _call(context: object, params: object) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=who())])


low = Server("somebody's low-level server", on_list_tools=_list, on_call_tool=_call)
asgi = mcp.streamable_http_app(stateless_http=True)
