"""Servers that check tokens themselves, and so would never see one behind the gate."""

from typing import Any

from fastmcp import FastMCP
from fastmcp.server.auth import StaticTokenVerifier
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer

from ovauth.resource.sdk import Verifier

_settings: Any = {"issuer_url": "http://127.0.0.1:1", "resource_server_url": "http://127.0.0.1:1/mcp"}
official = MCPServer(
    "official",
    token_verifier=Verifier("http://127.0.0.1:1"),
    auth=AuthSettings(**_settings, validate_token_resource=True),
)
fast = FastMCP("fast", auth=StaticTokenVerifier({}))
