"""Servers that are not ovauth: what is said of them is told from the standards alone."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
from fastmcp import FastMCP
from fastmcp.server.auth.providers.in_memory import InMemoryOAuthProvider
from mcp.server.auth.settings import ClientRegistrationOptions
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.routing import Route

from ovauth.doctor.faults import shown
from tests.doctor.conftest import Examination

pytestmark = pytest.mark.xdist_group("doctor of others")


@contextmanager
def served(make: Any) -> Iterator[str]:
    """The origin of an ASGI application, which is made when that is known."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(make(origin), log_config=None, lifespan="on", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        try:
            yield origin
        finally:
            server.should_exit = True
            thread.join(20)


async def website(request: Any) -> HTMLResponse:
    return HTMLResponse("<!doctype html><h1>Welcome</h1>")


def test_a_website_is_no_mcp_server() -> None:
    routes = [Route("/{path:path}", website, methods=["GET", "POST", "OPTIONS"])]
    with served(lambda origin: Starlette(routes=routes)) as origin:
        examined = Examination(origin)
    assert examined.found == {"no-mcp"}
    assert "answered with 200, a web page" in examined.report.findings["no-mcp"].sentence


def test_an_mcp_server_without_a_login_is_told_so() -> None:
    """Also when the first request opens a stream that never ends."""
    mcp = FastMCP("open")
    with served(lambda origin: mcp.http_app(path="/mcp", stateless_http=False)) as origin:
        examined = Examination(origin)
    assert examined.found == {"no-login"}
    assert examined.report.is_well


def test_a_server_whose_login_is_elsewhere_is_not_at_fault() -> None:
    def make(origin: str) -> Starlette:
        async def resource(request: Any) -> JSONResponse:
            return JSONResponse({"resource": f"{origin}/mcp", "authorization_servers": ["https://tenant.auth.example"]})

        async def mcp(request: Any) -> PlainTextResponse:
            where = f"{origin}/.well-known/oauth-protected-resource/mcp"
            return PlainTextResponse("", 401, {"WWW-Authenticate": f'Bearer resource_metadata="{where}"'})

        known = Route("/.well-known/oauth-protected-resource/mcp", resource)
        return Starlette(routes=[known, Route("/mcp", mcp, methods=["GET", "POST"])])

    with served(make) as origin:
        examined = Examination(origin)
    said = {line.name: line.said for line in examined.lines}
    assert said["Claude Code"] == "its authorization server is https://tenant.auth.example, elsewhere: not looked at"
    # Codex asks here for what is there, and the Inspector's browser is refused: both are real, and nobody else is at fault.
    assert examined.report.walked == ["Codex", "MCP Inspector"]
    assert examined.found == {"root-not-passed", "preflight-refused"}


def test_the_own_login_of_the_mcp_package_is_told_from_the_standards() -> None:
    """Its issuer has a slash at the end in both documents, which is no fault; what is one, is."""

    def make(origin: str) -> Any:
        registration = ClientRegistrationOptions(enabled=True)
        provider = InMemoryOAuthProvider(base_url=origin, client_registration_options=registration)
        return FastMCP("another", auth=provider).http_app(path="/mcp", stateless_http=True)

    with served(make) as origin:
        examined = Examination(origin, "ovk_" + "x" * 43)
    assert examined.found == {"authorize-refused", "preflight-refused"}
    assert examined.lines[-1].said == "this is not ovauth, so the key is not sent there"
    assert examined.failing("authorize-refused") == {"Claude Code", "VS Code"}, "offline_access and openid are refused"
    assert examined.failing("preflight-refused") == {"MCP Inspector"}
    assert examined.report.left == 5, "it knows no RFC 7592"


@pytest.mark.parametrize("hostile", ["\x1b[2J\x1b[31mgone", "a\nok     everything", "\u202eevil"])
def test_what_a_server_says_cannot_paint_on_the_terminal(hostile: str) -> None:
    async def known(request: Any) -> JSONResponse:
        return JSONResponse({"resource": hostile, "authorization_servers": [hostile], "issuer": hostile})

    async def mcp(request: Any) -> JSONResponse:
        return JSONResponse({"error": hostile}, 401, {"WWW-Authenticate": "Bearer"})

    routes = [Route("/.well-known/{path:path}", known), Route("/mcp", mcp, methods=["GET", "POST"])]
    with served(lambda origin: Starlette(routes=routes)) as origin:
        examined = Examination(origin)
    assert examined.found
    for said in examined.text.split("\n"):
        assert said.isprintable()
        assert not said.startswith("ok ")
    assert json.dumps(shown(hostile)).isprintable()
