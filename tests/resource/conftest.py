"""The gate as clients meet it: behind the public origin, in front of a real MCP server, over ASGI."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import httpx2
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from django.db import connections
from mcp_types import CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY, PROTOCOL_VERSION_META_KEY
from starlette.types import ASGIApp

from ovauth import threads
from ovauth.resource import loading
from ovauth.resource.gate import Gate
from ovauth.web.public_origin import PublicOrigin

SERVERS = "tests.resource.servers"
MODERN = "2026-07-28"
REVISIONS = ("2025-03-26", "2025-06-18", "2025-11-25", MODERN)
ACCEPT = "application/json, text/event-stream"


@asynccontextmanager
async def started(app: ASGIApp) -> AsyncIterator[list[str]]:
    """The application between its startup and its shutdown, as a server runs it; what it said."""
    to_app: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    said: list[str] = []
    ready, over = asyncio.Event(), asyncio.Event()

    async def send(message: Any) -> None:
        said.append(message["type"])
        (ready if "startup" in message["type"] else over).set()

    running = asyncio.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}}, to_app.get, send))
    await to_app.put({"type": "lifespan.startup"})
    await asyncio.wait_for(ready.wait(), 10)
    try:
        yield said
    finally:
        await to_app.put({"type": "lifespan.shutdown"})
        await asyncio.wait_for(over.wait(), 10)
        await running


class Served:
    """A served MCP server, and a client without manners: it sends what it is told to."""

    def __init__(self, app: ASGIApp, portal: BlockingPortal, client: tuple[str, int]) -> None:
        self.app, self.portal, self.client = app, portal, client

    def request(self, method: str, path: str = "/mcp", **options: Any) -> httpx2.Response:
        return self.portal.call(self.asked, method, path, options)

    async def asked(self, method: str, path: str, options: dict[str, Any]) -> httpx2.Response:
        base_url = options.pop("base_url", "http://testserver")
        transport = httpx2.ASGITransport(self.app, client=self.client)
        async with httpx2.AsyncClient(transport=transport, base_url=base_url) as client:
            return await client.request(method, path, **options)

    def rpc(self, method: str = "tools/list", *, secret: str | None = None, **options: Any) -> httpx2.Response:
        return self.portal.call(self.rpc_async, method, secret, options)

    async def rpc_async(self, method: str, secret: str | None, options: dict[str, Any]) -> httpx2.Response:
        params = dict(options.pop("params", {}))
        revision = options.pop("revision", "2025-11-25")
        headers = {"accept": ACCEPT, "mcp-protocol-version": revision}
        if secret is not None:
            headers["authorization"] = f"Bearer {secret}"
        if revision == MODERN:
            headers["mcp-method"] = method
            if "name" in params:
                headers["mcp-name"] = params["name"]
            params["_meta"] = {
                PROTOCOL_VERSION_META_KEY: revision,
                CLIENT_CAPABILITIES_META_KEY: {},
                CLIENT_INFO_META_KEY: {"name": "tests", "version": "1"},
            }
        headers |= options.pop("headers", {})
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return await self.asked("POST", options.pop("path", "/mcp"), {"json": message, "headers": headers} | options)

    def call(self, tool: str, *, secret: str, arguments: Any = None, **options: Any) -> httpx2.Response:
        return self.rpc("tools/call", secret=secret, params={"name": tool, "arguments": arguments or {}}, **options)


def message_of(response: httpx2.Response) -> Any:
    """The JSON-RPC answer, from JSON or from the last event of a stream."""
    assert response.status_code == 200, response.text
    if response.headers["content-type"].startswith("application/json"):
        return response.json()
    data = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    return json.loads(data[-1])


def text_of(response: httpx2.Response) -> str:
    """What a tool said."""
    result = message_of(response)["result"]
    assert not result.get("isError"), result
    return "".join(part["text"] for part in result["content"])


Serve = Callable[..., Served]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves the MCP server of that name in `servers` (or at an import path) until the test is over."""
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())

        def start(server: str = "official", *, client: tuple[str, int] = ("127.0.0.1", 50000)) -> Served:
            gate = Gate(loading.load(server if ":" in server else f"{SERVERS}:{server}"))
            stack.enter_context(portal.wrap_async_context_manager(started(gate)))
            return Served(PublicOrigin(gate), portal, client)

        yield start


def close_connections() -> None:
    """The threads keep their connections, as they should; a test database can be dropped only without them."""

    async def close_all(of: threads.Threads) -> None:
        barrier = threading.Barrier(of.number)

        def close() -> None:
            barrier.wait(10)
            connections.close_all()

        await asyncio.gather(*[of.run(close) for _ in range(of.number)])

    for of in (threads.pages, threads.others, threads.protocol):
        asyncio.run(close_all(of))


@pytest.fixture(scope="package", autouse=True)
def _close_connections(django_db_setup: None) -> Iterator[None]:
    yield
    close_connections()
