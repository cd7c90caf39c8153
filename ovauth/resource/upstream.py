"""The MCP server at another URL, served at `/mcp`: a reverse proxy that passes streams on as they come.

The gate in front has checked who calls and has read the request's body. The upstream hears who that is in plain headers
(`X-Ovauth-Account`, `-User`, `-Role`, `-Scopes`, `-Client`), and its own key; never the caller's credential. A session of
the upstream belongs to whoever opened it: outside its id carries a mark of that caller, which is checked and taken off on
the way in, so that no process has to remember anything.
"""

import contextlib
import json
import logging
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import anyio
import httpx2
from django.conf import settings
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from starlette.types import Receive, Scope, Send

from ovauth import credentials, tools
from ovauth.conf import Config
from ovauth.resource import identity
from ovauth.resource.identity import Identity
from ovauth.rules import upstream
from ovauth.tools import Oddity, Tool

log = logging.getLogger(__name__)

CONNECT_TIMEOUT: Final = 5.0
ANSWER_TIMEOUT: Final = 300.0
"""Seconds until the upstream's answer begins: a tool may work that long before it says anything."""
LISTING_TIMEOUT: Final = 10.0
LIST_EVERY: Final = 300.0
LIST_AGAIN: Final = 10.0
"""Seconds between two looks at the upstream's tools; while it does not answer, sooner."""
MOST_PAGES: Final = 20
METHODS: Final = ("GET", "POST", "DELETE")

# Idle connections are given up before servers do so themselves (after 5 s: uvicorn, Node), or a call would be lost to that.
_LIMITS: Final = httpx2.Limits(max_connections=1000, max_keepalive_connections=50, keepalive_expiry=3.0)
_TIMEOUT: Final = httpx2.Timeout(30.0, connect=CONNECT_TIMEOUT, read=None)


class Refused(Exception):
    """The upstream did not do what it is there for. The message is for the caller."""

    def __init__(self, message: str, *, status: int = 502, reason: str = "") -> None:
        super().__init__(message)
        self.status, self.reason = status, reason or message


class Upstream:
    """An ASGI application for the gate: the MCP server at `config.upstream_mcp_url`."""

    def __init__(self, config: Config) -> None:
        self.url = config.upstream_mcp_url or ""
        self.name = upstream.shown(self.url)
        self._key = _key(config)
        self._client: httpx2.AsyncClient | None = None
        self._is_down = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["path"] != "/mcp":
            await _answer(send, 404, {"error": "not_found"})
        elif scope["method"] not in METHODS:
            await _answer(send, 405, {"error": "invalid_request"}, (b"allow", ", ".join(METHODS).encode()))
        else:
            body = (await receive()).get("body", b"")
            async with anyio.create_task_group() as group:
                group.start_soon(_until_gone, receive, group.cancel_scope)
                await self._serve(scope, body, send)
                group.cancel_scope.cancel()

    # -------------------------------------------------------------- a request

    async def _serve(self, scope: Scope, body: bytes, send: Send) -> None:
        started = time.perf_counter()
        try:
            async with self._answered(scope, body) as response:
                self._note(response.status_code, started)
                await self._pass_back(response, send)
        except Refused as refused:
            self._note(refused.status, started, refused.reason)
            error = {"code": -32603, "message": str(refused)}
            await _answer(send, refused.status, {"jsonrpc": "2.0", "id": _id(body), "error": error})

    @asynccontextmanager
    async def _answered(self, scope: Scope, body: bytes) -> AsyncIterator[httpx2.Response]:
        """The upstream's answer, of which the head has come. Raises Refused."""
        caller = identity.current_identity()
        request = self.client.build_request(
            scope["method"], self.url, headers=self._headers(scope, caller), content=body or None
        )
        try:
            with anyio.fail_after(ANSWER_TIMEOUT):
                response = await self.client.send(request, stream=True)
        except (TimeoutError, httpx2.TimeoutException) as late:
            raise Refused("The MCP server does not answer in time.", status=504, reason=_reason(late)) from None
        except httpx2.HTTPError as fault:
            raise Refused("The MCP server cannot be reached.", reason=_reason(fault)) from None
        try:
            yield response
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()

    def _headers(self, scope: Scope, caller: Identity) -> upstream.Headers:
        name, value = self._key or (b"", b"")
        sent = upstream.onward(scope["headers"], own=name)
        sessions = [value for header, value in sent if header == upstream.SESSION]
        headers = [(header, value) for header, value in sent if header != upstream.SESSION]
        if sessions:
            headers.append((upstream.SESSION, _inner_session(sessions, caller)))
        if not any(header == b"accept-encoding" for header, _ in headers):
            headers.append((b"accept-encoding", b"identity"))  # or the library would ask for what the caller did not
        return [*headers, *_identity_headers(caller), *([(name, value)] if name else [])]

    async def _pass_back(self, response: httpx2.Response, send: Send) -> None:
        self._judge(response)
        caller = identity.current_identity()
        headers = [
            (name, _outer_session(value, caller) if name == upstream.SESSION else value)
            for name, value in upstream.back(_pairs(response.headers))
        ]
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        try:
            async for part in response.aiter_raw():
                await send({"type": "http.response.body", "body": part, "more_body": True})
        except httpx2.HTTPError as fault:
            # What is cut off must not look whole: an event stream may end anywhere, a document may not.
            log.warning("the answer of %s broke off: %s", self.name, _reason(fault))
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                return
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _judge(self, response: httpx2.Response) -> None:
        """Raises Refused for an answer that is about ovauth and not about the caller."""
        if response.status_code == 401:
            raise Refused(
                "The MCP server does not let ovauth in.",
                reason="it answers 401: OVAUTH_UPSTREAM_API_KEY and OVAUTH_UPSTREAM_HEADER do not suit it",
            )
        if response.is_redirect:
            to = upstream.shown(response.headers.get("location", ""))
            raise Refused(
                "The MCP server is somewhere else.", reason=f"it redirects to {to}; set OVAUTH_UPSTREAM_MCP_URL to that"
            )
        if response.status_code == 403:
            missed = upstream.missed_scopes(response.headers.get_list("www-authenticate"))
            identity.miss(name for name in missed if name in settings.OVAUTH.scope_names)

    def _note(self, status: int, started: float, reason: str = "") -> None:
        """Every request to the upstream passes here once: what became of it, and how long until its answer began."""
        log.debug("%s answered %s after %.0f ms", self.name, status, (time.perf_counter() - started) * 1000)
        self._tell_once(reason if status >= 500 else "")

    def _tell_once(self, down: str) -> None:
        """Why it is down, or nothing while it answers: the log hears of each change."""
        if down and not self._is_down:
            log.warning("the MCP server at %s: %s", self.name, down)
        elif self._is_down and not down:
            log.warning("the MCP server at %s answers again", self.name)
        self._is_down = bool(down)

    # -------------------------------------------------------------- life

    @property
    def client(self) -> httpx2.AsyncClient:
        if self._client is None:
            raise RuntimeError("the lifespan has not begun")
        return self._client

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        async with _client(timeout=_TIMEOUT, limits=_LIMITS) as self._client, anyio.create_task_group() as group:
            group.start_soon(self._keep_listing)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            group.cancel_scope.cancel()
        await send({"type": "lifespan.shutdown.complete"})

    async def _keep_listing(self) -> None:
        """Keeps what pages say of the tools up to date; what was known stays while the upstream is away."""
        known, own_name = None, ""
        while True:
            found = await look(settings.OVAUTH)
            if found.tools is not None:
                known, own_name = found.tools, found.own_name
            tools.announce(self.name, known, found.odd, own_name)
            if found.is_away or found.tools is not None:  # in between calls may go well, and they tell
                self._tell_once(found.why_none)
            await anyio.sleep(LIST_AGAIN if found.tools is None else LIST_EVERY)


# ------------------------------------------------------------------ its tools


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at the upstream told: its tools, what is odd about it, and what it calls itself.

    When it does not tell its tools they are None, `why_none` says why, and `is_away` whether nobody was there at all.
    """

    tools: tuple[Tool, ...] | None
    odd: frozenset[Oddity]
    own_name: str = ""
    why_none: str = ""
    is_away: bool = False


async def look(config: Config) -> Found:
    """The upstream as the official client finds it."""
    key = _key(config)
    headers = {key[0].decode(): key[1].decode()} if key else {}
    statuses: set[int] = set()

    async def note(response: httpx2.Response) -> None:
        statuses.add(response.status_code)

    try:
        with anyio.fail_after(LISTING_TIMEOUT):
            timeout = httpx2.Timeout(LISTING_TIMEOUT)
            async with _client(headers=headers, timeout=timeout, event_hooks={"response": [note]}) as http:
                transport = streamable_http_client(config.upstream_mcp_url or "", http_client=http)
                async with Client(transport) as client:
                    listed = tuple([found async for found in _each_tool(client)])
                    info = client.server_info
                    name, title = (info.name, info.title) if info else (None, None)
                    return Found(listed, tools.oddities_of(name), tools.called(title, name))
    except Exception as fault:
        # Whatever it is, in whatever groups: the upstream is asked again soon, and calls are passed on meanwhile.
        log.debug("the tools of the upstream cannot be listed", exc_info=fault)
        if 401 in statuses:
            return Found(None, frozenset({Oddity.WANTS_A_KEY}), why_none="it does not let ovauth in (401)")
        return _silent(fault, statuses)


def _silent(fault: Exception, statuses: set[int]) -> Found:
    """What a look found that failed like this."""
    inner: BaseException = fault
    while isinstance(inner, BaseExceptionGroup):
        inner = inner.exceptions[0]
    match inner:
        case httpx2.ConnectError() | httpx2.ConnectTimeout():
            why = _reason(inner)
        case TimeoutError() | httpx2.TimeoutException():
            why = f"it does not answer within {LISTING_TIMEOUT:.0f} s"
        case _:
            told = f" (status {max(statuses)})" if statuses else ""
            why = f"it does not answer as an MCP server{told}"
    is_away = isinstance(inner, httpx2.ConnectError | httpx2.ConnectTimeout)
    return Found(None, frozenset({Oddity.SILENT}), why_none=why, is_away=is_away)


async def _each_tool(client: Client) -> AsyncIterator[Tool]:
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        for tool in page.tools:
            yield tools.told(tool)
        cursor = page.next_cursor
        if not cursor:
            return


def describe(config: Config) -> str:
    """The upstream in a few words for the terminal: `http://127.0.0.1:8000/mcp, 3 tools`, or why nobody knows them."""
    name = upstream.shown(config.upstream_mcp_url or "")
    found = anyio.run(look, config)
    return f"{name}; {found.why_none}" if found.tools is None else f"{name}, {tools.counted(found.tools)}"


# ------------------------------------------------------------------ pieces


def _client(**options: Any) -> httpx2.AsyncClient:
    """No proxy and no credentials of the environment; certificates are those of the system (or of SSL_CERT_FILE)."""
    return httpx2.AsyncClient(trust_env=False, verify=ssl.create_default_context(), follow_redirects=False, **options)


def _key(config: Config) -> tuple[bytes, bytes] | None:
    if config.upstream_api_key is None:
        return None
    name, scheme = upstream.read_header(config.upstream_header)
    key = config.upstream_api_key.get_secret_value()
    return name.lower().encode(), (f"{scheme} {key}" if scheme else key).encode()


def _identity_headers(caller: Identity) -> Iterator[tuple[bytes, bytes]]:
    """Who calls. Blanks, percent signs and what is no printable ASCII are percent-encoded (RFC 3986 §2.1)."""
    said: dict[str, tuple[str, ...]] = {
        "account": (caller.account_id,),
        "user": (caller.user_id,),
        "role": (caller.role,),
        "scopes": caller.scopes,
        "client": (caller.client_id,) if caller.client_id else (),
    }
    for name, values in said.items():
        if values:
            yield upstream.IDENTITY + name.encode(), " ".join(quote(value, safe=_SAFE) for value in values).encode()


_SAFE: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")


def _mark(session: bytes, caller: Identity, key: str) -> str:
    whose = json.dumps([caller.account_id, caller.user_id, caller.client_id, session.decode("latin-1")])
    return credentials.keyed_digest(key, "upstream session", whose).hex()[:32]


def _outer_session(inner: bytes, caller: Identity) -> bytes:
    return inner + b"." + _mark(inner, caller, settings.SECRET_KEY).encode()


def _inner_session(outer: list[bytes], caller: Identity) -> bytes:
    """The upstream's own id. Raises Refused with 404, upon which clients begin a new session."""
    inner, _, mark = outer[0].rpartition(b".")
    for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        if len(outer) == 1 and credentials.same(mark.decode("latin-1"), credentials.digest(_mark(inner, caller, key))):
            return inner
    raise Refused("This session is not known here.", status=404)


async def _until_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    """Ends the request to the upstream when nobody waits for its answer any more."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _pairs(headers: httpx2.Headers) -> upstream.Headers:
    return [(name.encode(headers.encoding), value.encode(headers.encoding)) for name, value in headers.multi_items()]


def _reason(fault: BaseException) -> str:
    if isinstance(fault, httpx2.ConnectError | httpx2.ConnectTimeout):
        return f"it cannot be reached now ({str(fault) or 'no answer in time'})"
    return f"{type(fault).__name__}: {fault}".rstrip(": ")


def _id(body: bytes) -> Any:
    """The id of the JSON-RPC request, so that its sender knows what the error is about."""
    with contextlib.suppress(ValueError, RecursionError):
        message = json.loads(body)
        if isinstance(message, dict) and isinstance(message.get("id"), str | int):
            return message["id"]
    return None


async def _answer(send: Send, status: int, document: dict[str, Any], *headers: tuple[bytes, bytes]) -> None:
    content = json.dumps(document).encode()
    fixed = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send(
        {"type": "http.response.start", "status": status, "headers": [*fixed, (b"cache-control", b"no-store"), *headers]}
    )
    await send({"type": "http.response.body", "body": content})
