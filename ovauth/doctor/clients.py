"""What clients do from the first request to the code page, as far as it is known.

`tests/clients/recorded` has the sources of each fact, and holds this against them. In every string `{challenge}` stands for
the scopes that the 401 named, `{supported}` for those of the resource metadata, `{at}` for the path of the address.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

RESOURCE: Final = "/.well-known/oauth-protected-resource"
SERVER: Final = "/.well-known/oauth-authorization-server"
OPENID: Final = "/.well-known/openid-configuration"

_GRANTS: Final = ["authorization_code", "refresh_token"]


@dataclass(frozen=True, kw_only=True)
class Client:
    name: str
    hosted: bool = False
    """Whether it calls from the internet, and so needs a public https address."""
    origin: str | None = None
    """The Origin of a client that is a web page: the browser asks before it sends."""
    user_agent: str = "node"
    protocol: str = "2025-11-25"
    ending: str = ""
    """What it puts behind the address of the MCP server."""
    first: tuple[str, ...] = ("POST",)
    """The methods of its requests without a token."""
    discovery: tuple[str, ...] = (f"{RESOURCE}{{at}}/mcp", f"{SERVER}{{at}}")
    tried: tuple[str, ...] = ()
    """What it asks for before, and where it is content with a 404."""
    needs_challenge: bool = False
    """Whether it is not known to find the metadata without the challenge of the 401."""
    registration: Mapping[str, Any] = field(default_factory=dict)
    redirect_uri: str
    names_resource: bool = True
    """Whether it sends `resource` (RFC 8707)."""
    scope: str = "{challenge}"
    """What it asks for at /authorize; empty: it does not say."""
    has_document: bool = False
    """Whether it introduces itself by DOCUMENT, and registers only where the server does not offer to read that."""

    def document(self, scopes: Mapping[str, str]) -> dict[str, Any]:
        """Its registration, with the scopes that this server named."""
        document = {
            "redirect_uris": [self.redirect_uri],
            "grant_types": _GRANTS,
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
            **self.registration,
        }
        return {name: value.format_map(scopes) if name == "scope" else value for name, value in document.items()}


DOCUMENT: Final = "https://claude.ai/oauth/claude-code-client-metadata"
"""Where Claude Code is described (https://github.com/anthropics/claude-code/issues/44388). Claude on the web has its own at
the same host (https://github.com/anthropics/claude-ai-mcp/issues/518): whoever reads one reads the other."""
DOCUMENT_CALLBACK: Final = "http://localhost:54545/callback"

CLIENTS: Final = (
    Client(
        name="Claude (web)",
        hosted=True,
        has_document=True,
        user_agent="python-httpx/0.28.1",
        ending="/",
        first=("POST", "POST", "POST"),
        needs_challenge=True,
        registration={
            "client_name": "Claude",
            "token_endpoint_auth_method": "client_secret_post",
            "scope": "{challenge}",
        },
        redirect_uri="https://claude.ai/api/mcp/auth_callback",
    ),
    Client(
        name="Claude Code",
        has_document=True,
        user_agent="claude-code/2.1.246 (cli)",
        registration={"client_name": "Claude Code (ovauth)"},
        redirect_uri="http://localhost:54545/callback",
        scope="{supported} offline_access",
    ),
    Client(
        name="ChatGPT",
        hosted=True,
        user_agent="Python/3.12 aiohttp/3.13.3",
        discovery=(f"{RESOURCE}{{at}}/mcp", f"{SERVER}{{at}}", f"{OPENID}{{at}}"),
        needs_challenge=True,
        registration={"client_name": "ChatGPT"},
        redirect_uri="https://chatgpt.com/connector/oauth/OUbdUMlL15Ct",
        scope="{challenge} offline_access",
    ),
    Client(
        name="Cursor",
        registration={
            "client_name": "Cursor",
            "application_type": "web",
            "redirect_uris": [
                "cursor://anysphere.cursor-mcp/oauth/callback",
                "https://www.cursor.com/agents/mcp/oauth/callback",
                "http://localhost:8787/callback",
            ],
        },
        redirect_uri="cursor://anysphere.cursor-mcp/oauth/callback",
        scope="",
    ),
    Client(
        name="VS Code",
        user_agent="Mozilla/5.0 Code/1.106.0",
        protocol="2025-06-18",
        discovery=(f"{RESOURCE}{{at}}/mcp", f"{SERVER}{{at}}", f"{OPENID}{{at}}"),
        registration={
            "client_name": "Visual Studio Code",
            "client_uri": "https://code.visualstudio.com",
            "grant_types": [*_GRANTS, "urn:ietf:params:oauth:grant-type:device_code"],
            "redirect_uris": [
                "https://insiders.vscode.dev/redirect",
                "https://vscode.dev/redirect",
                "http://127.0.0.1/",
                "http://127.0.0.1:33418/",
            ],
            "scope": "{supported}",
            "application_type": "native",
        },
        redirect_uri="http://127.0.0.1:59656/",
        scope="openid profile email {challenge}",
    ),
    Client(
        name="Codex",
        user_agent="codex_cli_rs/0.155.0",
        names_resource=False,
        protocol="2024-11-05",
        first=("GET",),
        tried=(f"{SERVER}{{at}}/mcp",),
        discovery=(f"{SERVER}{{at}}",),
        registration={"client_name": "Codex"},
        redirect_uri="http://127.0.0.1:63546/callback/6MFBM1In3Ey-",
    ),
    Client(
        name="MCP Inspector",
        origin="http://localhost:6274",
        user_agent="Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
        registration={
            "client_name": "MCP Inspector",
            "client_uri": "https://github.com/modelcontextprotocol/inspector",
        },
        redirect_uri="http://localhost:6274/oauth/callback/debug",
        scope="openid profile email offline_access",
    ),
    Client(
        name="mcp-remote",
        user_agent="undici",
        first=("GET", "GET", "POST"),
        registration={
            "client_name": "MCP CLI Proxy",
            "client_uri": "https://github.com/modelcontextprotocol/mcp-cli",
            "software_id": "2e6dc280-f3c3-4e01-99a7-8181dbd1d23d",
            "software_version": "0.15.1",
            "scope": "{challenge}",
            "application_type": "native",
        },
        redirect_uri="http://localhost:17823/oauth/callback",
    ),
)

EVERYBODY: Final = tuple(client.name for client in CLIENTS)
HOSTED: Final = tuple(client.name for client in CLIENTS if client.hosted)
