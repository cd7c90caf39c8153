"""The bundled MCP server: what is served at `/mcp` until the operator names another. Stateless, no I/O, no database."""

import difflib
import platform
import time
from importlib.metadata import version
from typing import Annotated, Any, Final

from mcp.server.mcpserver import MCPServer
from mcp_types import ToolAnnotations
from pydantic import Field

import ovauth
from ovauth.conf import VERSION

LONGEST_TEXT: Final = 20_000
MOST_LINES: Final = 500
"""Finding the differences takes time that grows with the square of the lines."""

_started = time.monotonic()

server = MCPServer(
    "ovauth example",
    title="ovauth example",
    version=VERSION,
    instructions="Tells who you are to this server, compares texts, and tells administrators how the server is.",
)

LOOKS: Final = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)

Text = Annotated[str, Field(max_length=LONGEST_TEXT)]


@server.tool(title="Who am I", annotations=LOOKS)
def whoami() -> dict[str, Any]:
    """Tells who you are to this server: account, user, role, and the app and scopes that you came with."""
    me = ovauth.current_identity()
    return {
        "account_id": me.account_id,
        "user_id": me.user_id,
        "role": me.role,
        "client_id": me.client_id,
        "client_name": me.client_name,
        "scopes": list(me.scopes),
        "from_oauth": me.from_oauth,
    }


@server.tool(title="Compare two texts", annotations=LOOKS)
def compare_texts(before: Text, after: Text) -> str:
    """Shows what changed between two texts, as a unified diff with three lines of context; empty when nothing did."""
    old, new = before.splitlines(), after.splitlines()
    if len(old) > MOST_LINES or len(new) > MOST_LINES:
        raise ValueError(f"Each text may have {MOST_LINES} lines at most.")
    return "\n".join(difflib.unified_diff(old, new, "before", "after", lineterm=""))


@server.tool(title="Server status", annotations=LOOKS)
@ovauth.requires("admin")
def server_status() -> dict[str, Any]:
    """Tells administrators how this server is: versions, and how long the process that answers has been running."""
    return {
        "ovauth": VERSION,
        "mcp": version("mcp"),
        "python": platform.python_version(),
        "up_seconds": int(time.monotonic() - _started),
    }
