"""From the import path of somebody's MCP server, or its URL, to an ASGI application that answers at `/mcp`."""

import asyncio
import importlib
import inspect
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, cast

from django.conf import settings
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import ASGIApp

from ovauth import tools
from ovauth.conf import BUNDLED_SERVER, Config, Misconfigured
from ovauth.resource import identity, upstream
from ovauth.resource.upstream import Upstream
from ovauth.tools import Oddity

log = logging.getLogger(__name__)

PATH: Final = "/mcp"
VARIABLE: Final = "OVAUTH_MCP_SERVER"
LISTING_TIMEOUT: Final = 5.0
"""Seconds: a FastMCP proxy asks another server for its tools."""

# The gate has decided who we are (PublicOrigin) and which Origin may ask, so the package need not guess it.
_OPEN: Final = TransportSecuritySettings(enable_dns_rebinding_protection=False)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The application, and whether requests to it stand alone: then there is no stream to GET and no session to end."""

    app: ASGIApp
    stateless: bool

    @property
    def needs_one_process(self) -> bool:
        """Whether it may keep sessions in the process that serves it; an upstream keeps them itself."""
        return not self.stateless and not isinstance(self.app, Upstream)


def configured(config: Config) -> Loaded:
    """The MCP server that is to be served. Raises Misconfigured as `load` does."""
    if config.upstream_mcp_url is None:
        return load(config.mcp_server)
    app = Upstream(config)
    tools.announce(app.name, None)
    return Loaded(app, stateless=False)


def described(config: Config) -> str:
    """What is to be served, in a few words for the terminal. Raises Misconfigured as `load` does."""
    return describe(config.mcp_server) if config.upstream_mcp_url is None else upstream.describe(config)


def load(import_path: str) -> Loaded:
    """The MCP server at `module:attribute`. Raises Misconfigured with the sentence that mends it.

    It may be an MCPServer or a low-level Server of the mcp package, a FastMCP server, or any ASGI application that speaks
    Streamable HTTP at `/mcp`. The first three are served stateless, which is what makes several workers right, and answer
    as event streams: JSON alone would be a tenth of a millisecond faster, and would lose what tools report on their way.
    What it offers is announced to the pages (`ovauth.tools`).
    """
    server = _import(import_path)
    if isinstance(server, MCPServer):
        _refuse_own_authentication(import_path, server.settings.auth)
        _announce(import_path, _tools(server), server)
        return Loaded(
            server.streamable_http_app(streamable_http_path=PATH, stateless_http=True, transport_security=_OPEN),
            stateless=True,
        )
    if isinstance(server, Server):
        _announce(import_path, None, server)
        return Loaded(
            server.streamable_http_app(streamable_http_path=PATH, stateless_http=True, transport_security=_OPEN),
            stateless=True,
        )
    if _is_fastmcp(server):
        _refuse_own_authentication(import_path, server.auth)
        _announce(import_path, _tools(server), server)
        app = server.http_app(path=PATH, stateless_http=True, transport="http", host_origin_protection=False)
        return Loaded(app, stateless=True)
    if _is_asgi(server):
        _announce(import_path, None)
        return Loaded(cast(ASGIApp, server), stateless=False)
    raise Misconfigured(
        f"{VARIABLE}: {import_path} is {_kind(server)}. Name an MCPServer, a low-level Server, a FastMCP server or an "
        "ASGI application."
    )


def describe(import_path: str) -> str:
    """What is served, in a few words for the terminal: `bundled example, 3 tools`. Raises Misconfigured as `load` does."""
    load(import_path)
    name, found = _name(import_path), tools.served()
    if found is None or found.tools is None:
        return name
    return f"{name}, {tools.counted(found.tools)}"


def _import(import_path: str) -> Any:
    module_name, _, attribute = import_path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as missing:
        if missing.name is None or not f"{module_name}.".startswith(f"{missing.name}."):
            raise Misconfigured(
                f"{VARIABLE}: {module_name} needs the module {missing.name}, which is missing."
            ) from missing
        raise Misconfigured(
            f"{VARIABLE}: there is no module {missing.name}. Start in the folder where it lies, or set PYTHONPATH."
        ) from None
    except Exception as fault:
        # Whatever the module's own code raises: the operator sees what, and the cause below it.
        raise Misconfigured(f"{VARIABLE}: importing {module_name} failed ({type(fault).__name__}: {fault}).") from fault
    found: Any = module
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise Misconfigured(f"{VARIABLE}: {module_name} has no `{attribute}`; {_offers(module)}")
        found = getattr(found, name)
    return found


def _offers(module: Any) -> str:
    names = [name for name, value in vars(module).items() if not name.startswith("_") and _is_server(value)]
    return f"it has: {', '.join(names)}." if names else "it has nothing that could be served."


def _is_server(value: object) -> bool:
    return isinstance(value, MCPServer | Server) or _is_fastmcp(value) or _is_asgi(value)


def _is_fastmcp(value: object) -> bool:
    """Without importing fastmcp: whoever made such a server has imported it."""
    fastmcp = sys.modules.get("fastmcp")
    return fastmcp is not None and isinstance(value, fastmcp.FastMCP)


def _is_asgi(value: object) -> bool:
    """Something to be awaited with scope, receive and send."""
    if inspect.isclass(value) or not callable(value):
        return False
    call = value if inspect.isroutine(value) else type(value).__call__
    if not inspect.iscoroutinefunction(inspect.unwrap(call)):
        return False
    try:
        inspect.signature(value).bind({}, None, None)
    except (TypeError, ValueError):
        return False
    return True


def _kind(value: object) -> str:
    if inspect.isclass(value):
        return "a class"
    if inspect.isroutine(value):
        return "a function that is no ASGI application (a factory is not called)"
    return f"of type {type(value).__name__}"


def _tools(server: Any) -> list[Any] | None:
    """The tools that the server has now, as its own objects; None when it cannot list them before it runs."""
    if isinstance(server, MCPServer):
        return list(server._tool_manager.list_tools())

    async def listed() -> list[Any]:
        async with asyncio.timeout(LISTING_TIMEOUT):
            return list(await server.list_tools())

    # In a thread of its own, since whoever loads may be inside an event loop already: uvicorn is.
    with ThreadPoolExecutor(1) as one:
        try:
            return one.submit(lambda: asyncio.run(listed())).result()
        except Exception:
            log.warning("the tools of the MCP server cannot be listed before it runs", exc_info=True)
            return None


def _announce(import_path: str, found: list[Any] | None, server: Any = None) -> None:
    """Tells the pages what is served, once its guards are in order. An ASGI application has no name of its own to tell."""
    if found is not None:
        _refuse_mistaken_guards(import_path, found)
    told = None if found is None else [tools.told(tool, identity.required_by(getattr(tool, "fn", None))) for tool in found]
    odd, own_name = frozenset[Oddity](), ""
    if server is not None:
        odd, own_name = tools.oddities_of(server.name), tools.called(getattr(server, "title", None), server.name)
    tools.announce(_name(import_path), told, odd, own_name)


def _name(import_path: str) -> str:
    return "bundled example" if import_path == BUNDLED_SERVER else import_path


def _refuse_mistaken_guards(import_path: str, tools: list[Any]) -> None:
    for tool in tools:
        if identity.is_left_open(getattr(tool, "fn", None)):
            raise Misconfigured(
                f"{VARIABLE}: in {import_path} the tool {tool.name} is registered without its guard. Write "
                "@ovauth.requires below the server's decorator, directly above the function."
            )
        for scope in identity.required_by(getattr(tool, "fn", None)):
            if scope not in settings.OVAUTH.scope_names:
                known = ", ".join(settings.OVAUTH.scope_names)
                raise Misconfigured(
                    f"{VARIABLE}: in {import_path} the tool {tool.name} requires the scope {scope}, which nobody can have. "
                    f"The scopes are {known}; name it in OVAUTH_SCOPES."
                )


def _refuse_own_authentication(import_path: str, auth: object) -> None:
    if auth is not None:
        raise Misconfigured(
            f"{VARIABLE}: {import_path} checks tokens itself (auth=…), and would see none: ovauth checks them in front of "
            "it. Leave its auth out; current_identity() tells who calls."
        )
