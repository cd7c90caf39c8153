"""The gate in front of the MCP server: one bearer query, then the caller's request without the credential.

Refusals follow RFC 6750 §3 and RFC 9728 §5.1. Whether a tool may run is decided where it runs, by `ovauth.requires`; the
gate turns that into HTTP. It therefore reads no JSON-RPC, and there is nothing that it and the server could read
differently.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Iterable
from functools import cached_property, partial
from typing import Any, Final

import anyio
from django.conf import settings
from django.db import Error as DatabaseFault
from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.types import Message, Receive, Scope, Send

from ovauth import bearer, logs, metrics, threads, wire
from ovauth.conf import Scope as ConfiguredScope
from ovauth.errors import (
    Forbidden,
    InsufficientScope,
    InvalidToken,
    NotAllowed,
    Refusal,
    ServerFault,
    Unauthenticated,
    Unavailable,
)
from ovauth.flows import api_keys
from ovauth.provenance import Actor, Provenance, serving
from ovauth.request_body import ClientGone, read_body
from ovauth.resource import loading
from ovauth.resource.identity import Call, calling
from ovauth.resource.loading import Loaded
from ovauth.rules import origin, redirect_uris, web_address

log = logging.getLogger(__name__)

STREAM_CHECK: Final = 15.0
"""Seconds between two looks at the credential of an open stream."""
MAX_BODY: Final = 4 * 1024 * 1024
CREDENTIALS: Final = frozenset({b"authorization", b"x-api-key", b"proxy-authorization", b"cookie"})
"""What the MCP server never sees: our caller's secrets are not its business, and not its upstream's."""
LONGEST_TOLD: Final = 60
"""Characters of a method's or a tool's name in the story."""
WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"
_RAW_PATH: Final = loading.PATH.encode()


class Gate:
    """An ASGI application: the MCP server, for those who may enter."""

    def __init__(self, server: Loaded) -> None:
        self.server = server
        self.glance = bearer.glance()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._lifespan(scope, receive, send)
            return
        started = time.perf_counter()
        source: Provenance = scope.get("ovauth.provenance") or Provenance()
        source.route = loading.PATH
        asked = _Asked(scope)
        try:
            found = await self._admit(scope, asked)
        except Refusal as refusal:
            metrics.checked(refusal.code, time.perf_counter() - started)
            await _refuse(send, refusal, scope)
            return
        metrics.checked("ok", time.perf_counter() - started)
        source.kind = Actor.CLIENT if found.from_oauth else Actor.API_KEY
        source.actor, source.client_id = f"{found.account_id}/{found.user_id}", found.client_id or ""
        try:
            body = await read_body(scope, receive, MAX_BODY)
        except ClientGone:
            return
        except Refusal as refusal:
            await _refuse(send, refusal, scope)
            return
        call = Call(found)
        answer = _Answer(scope, send, call, found, body)
        entered = time.perf_counter()
        user = _Caller(found, scope["ovauth.issuer"], asked.resource)
        before = auth_context_var.set(user)
        try:
            with calling(call):
                inner = _inside(scope, asked.headers, user)
                if scope["method"] != "GET":
                    await self._serve(inner, _replay(body, receive), answer)
                else:
                    async with anyio.create_task_group() as group:
                        group.start_soon(self._until_it_ends, asked, scope, group.cancel_scope)
                        await self._serve(inner, _replay(body, receive), answer)
                        group.cancel_scope.cancel()
        finally:
            auth_context_var.reset(before)
        await answer.close()
        metrics.served(answer.status, time.perf_counter() - entered)
        if found.first_call:
            _tell(found, body, started)
        if found.first_use_of_key:
            await _first_use(found, source)

    async def _serve(self, inner: Scope, receive: Receive, answer: "_Answer") -> None:
        try:
            await self.server.app(inner, receive, answer)
        except asyncio.CancelledError:
            answer.is_over = True
            raise
        except Exception as fault:
            if not answer.call.missed:
                log.exception("the MCP server raised %s", type(fault).__name__)

    async def _admit(self, scope: Scope, asked: "_Asked") -> bearer.Identity:
        """Who calls, if they may. Raises a Refusal."""
        if fault := scope.get("ovauth.fault"):
            raise fault
        secret = wire.bearer(asked.authorizations, asked.api_keys)
        if secret is None:
            raise Unauthenticated("Send an access token or an API key.")
        asked.secret = secret
        found = self._at_a_glance(asked) or await self._on_a_thread(asked, scope)
        if asked.origins and not _may_come_from(asked.origins, scope["ovauth.issuer"], found):
            raise Forbidden("Web pages of this origin may not call this server.")
        if found.from_oauth and not _holds_any(asked.config.scopes, found):
            raise InsufficientScope(asked.config.default_scopes)
        if self.server.stateless and scope["method"] != "POST":
            raise NotAllowed  # there is nothing to stream and no session to end
        return found

    def _at_a_glance(self, asked: "_Asked") -> bearer.Identity | None:
        return self.glance.identify(asked.secret, resource=asked.resource) if self.glance is not None else None

    async def _on_a_thread(self, asked: "_Asked", scope: Scope) -> bearer.Identity:
        ip = scope["client"][0] if scope.get("client") else ""
        try:
            return await threads.protocol.run(partial(bearer.identify, asked.secret, resource=asked.resource, ip=ip))
        except DatabaseFault as fault:
            # Locked, full or gone: nobody's token is invalid because of that.
            log.error("the database did not answer: %s", fault)
            raise Unavailable(reason=f"database: {fault}") from fault

    async def _until_it_ends(self, asked: "_Asked", scope: Scope, stream: anyio.CancelScope) -> None:
        """An open stream does not outlive its credential, however that ends: the client comes again with another one."""
        while True:
            await anyio.sleep(STREAM_CHECK)
            try:
                if self._at_a_glance(asked) is None:
                    await self._on_a_thread(asked, scope)
            except InvalidToken:
                stream.cancel()
                return
            except Unavailable:
                continue  # nobody can tell just now

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Starts and stops the MCP server; one that knows no lifespan is answered for."""
        heard: list[str] = []
        said: list[str] = []

        async def hear() -> Message:
            message = await receive()
            heard.append(message["type"])
            return message

        async def say(message: Message) -> None:
            said.append(message["type"])
            await send(message)

        try:
            await self.server.app(scope, hear, say)
        except Exception:
            if said:
                raise
            log.debug("the MCP server has no lifespan", exc_info=True)
        if "lifespan.shutdown.complete" in said or "lifespan.startup.failed" in said or "lifespan.shutdown.failed" in said:
            return
        if "lifespan.startup.complete" not in said:
            if "lifespan.startup" not in heard:
                await receive()
            await send({"type": "lifespan.startup.complete"})
        if "lifespan.shutdown" not in heard:
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


# ------------------------------------------------------------------ who may enter


class _Asked:
    """What the gate reads of a request, its headers in one walk; `headers` are those that the MCP server may see."""

    __slots__ = ("api_keys", "authorizations", "config", "headers", "origins", "resource", "secret")

    def __init__(self, scope: Scope) -> None:
        self.config = settings.OVAUTH
        self.resource: str = self.config.resources(scope["ovauth.issuer"])[0]
        self.secret = ""
        self.authorizations: list[str] = []
        self.api_keys: list[str] = []
        self.origins: list[str] = []
        self.headers: list[tuple[bytes, bytes]] = []
        for name, value in scope["headers"]:
            if name in CREDENTIALS:
                if name == b"authorization":
                    self.authorizations.append(value.decode("latin-1"))
                elif name == b"x-api-key":
                    self.api_keys.append(value.decode("latin-1"))
                continue
            if name == b"origin":
                self.origins.append(value.decode("latin-1"))
            # httptools leaves the blanks behind a value, which are not part of it (RFC 9110 §5.5).
            self.headers.append((name, value.strip(b" \t")))


def _may_come_from(sent: list[str], issuer: str, found: bearer.Identity) -> bool:
    """Whether a web page of that Origin may call: ours, one on this computer, or that of the client that holds the token.

    Programs send none. A foreign page that got hold of a key, or of a token that was issued to somebody else, is refused.
    """
    if len(sent) != 1:
        return False
    asking = sent[0].lower()
    # Only an origin that was configured is surely ours: one read off the Host header is whatever a rebound name says.
    config = settings.OVAUTH
    if (config.public_base_url or config.issuer) and asking == web_address.read(issuer).origin:
        return True
    scheme, _, host = asking.partition("://")
    if scheme in ("http", "https") and origin.is_loopback_host(host):
        return True
    return asking in {redirect_uris.origin(uri) for uri in found.redirect_uris}


def _holds_any(known: Iterable[ConfiguredScope], found: bearer.Identity) -> bool:
    for scope in known:  # noqa: SIM110 `any` takes five times as long, and the first is the usual one
        if scope.name in found.scopes:
            return True
    return False


# ------------------------------------------------------------------ what the server sees


def _inside(scope: Scope, headers: list[tuple[bytes, bytes]], user: AuthenticatedUser) -> Scope:
    """The request as it reaches the MCP server: at /mcp, below nothing, without credentials."""
    inner = {**scope, "raw_path": _RAW_PATH, "headers": headers, "user": user}
    if scope["path"] != loading.PATH or scope.get("root_path"):
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        path = path.rstrip("/") if path.rstrip("/") == loading.PATH else path
        inner |= {"root_path": "", "path": path, "raw_path": path.encode("utf-8", "surrogateescape")}
    return inner


class _Caller(AuthenticatedUser):
    """The mcp package's own notion of the caller, for server code written to it (`get_access_token()`).

    Without the token itself: passing it on is what the MCP specification forbids. What pydantic has to check is made
    when somebody asks for it.
    """

    def __init__(self, found: bearer.Identity, issuer: str, resource: str) -> None:
        self._found, self._issuer, self._resource = found, issuer, resource
        self.username = found.client_id or ""
        self.scopes = list(found.scopes)

    @cached_property
    def access_token(self) -> AccessToken:  # type: ignore[override]
        found = self._found
        return AccessToken(
            token="",
            client_id=self.username,
            scopes=self.scopes,
            resource=self._resource,
            subject=f"{found.account_id}/{found.user_id}",
            claims={
                "iss": self._issuer,
                "account_id": found.account_id,
                "user_id": found.user_id,
                "role": found.role,
            },
        )


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body that was read, and then whatever else the client says: that it is gone."""
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


# ------------------------------------------------------------------ what the client hears


class _Answer:
    """Passes the server's answer on, unless a tool missed a scope: then it is 403.

    The headers of a POST wait for the first byte behind them, since an event stream begins before its tool does.
    """

    def __init__(self, scope: Scope, send: Send, call: Call, found: bearer.Identity, body: bytes) -> None:
        self.scope, self.send, self.call, self.found, self.body = scope, send, call, found, body
        self.head: Message | None = None
        self.begun = False
        self.replaced = False
        self.status = 500
        self.is_over = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.head = message
            if self.scope["method"] != "POST":
                await self._begin()
            return
        if not self.begun and (message.get("body") or not message.get("more_body", False)):
            await self._begin()
        if self.begun and not self.replaced:
            await self.send(message)

    async def close(self) -> None:
        """The server is done, whether it answered or not, or its time was over."""
        if not self.begun:
            await self._begin()
        elif self.is_over:
            await self.send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _begin(self) -> None:
        self.begun = True
        self.status = self.head["status"] if self.head is not None else 500
        self.replaced = bool(self.call.missed) or self.head is None
        if self.call.missed:
            _tell_of_missed(self.found, self.body, self.call.missed)
            # No step-up for an API key: it holds whatever its owner's role may have.
            await _refuse(self.send, self._missing(), self.scope, challenge=self.found.from_oauth, level=logging.DEBUG)
        elif self.head is None:
            await _refuse(self.send, ServerFault("The MCP server failed."), self.scope)
        else:
            await self.send(self.head)

    def _missing(self) -> InsufficientScope:
        """All scopes that the operation needs in one go: those missed, and those that a new token must not lose."""
        wanted = {*self.call.missed, *(self.found.scopes if self.found.from_oauth else ())}
        known = [name for name in settings.OVAUTH.scope_names if name in wanted]
        return InsufficientScope((*known, *sorted(self.call.missed - set(known))))


async def _refuse(send: Send, refusal: Refusal, scope: Scope, *, challenge: bool = True, level: int = logging.INFO) -> None:
    if isinstance(refusal, Unauthenticated | NotAllowed):
        level = logging.DEBUG  # a connection begins with the first, and many clients then ask for a stream
    log.log(level, "%s refused: %s", loading.PATH, refusal.reason)
    content = json.dumps({"error": refusal.code, "error_description": refusal.description}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        (b"cache-control", b"no-store"),
    ]
    if challenge and settings.OVAUTH.enabled and (said := _challenge(refusal, scope)):
        headers.append((b"www-authenticate", said.encode()))
    if retry_after := getattr(refusal, "retry_after", None):
        headers.append((b"retry-after", str(retry_after).encode()))
    if isinstance(refusal, NotAllowed):
        headers.append((b"allow", b"POST"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def _challenge(refusal: Refusal, scope: Scope) -> str:
    """RFC 6750 §3: without `error` for somebody who sent nothing, so that they know where to go."""
    match refusal:
        case Unauthenticated():
            error, scopes = "", settings.OVAUTH.default_scopes
        case InvalidToken():
            error, scopes = 'error="invalid_token", ', settings.OVAUTH.default_scopes
        case InsufficientScope():
            error, scopes = 'error="insufficient_scope", ', refusal.required
        case _:
            return ""
    return f'Bearer {error}resource_metadata="{_metadata_url(scope)}", scope="{" ".join(scopes)}"'


def _metadata_url(scope: Scope) -> str:
    """RFC 9728 §3.1: the well-known name goes between the host and the path of the resource."""
    address = web_address.read(settings.OVAUTH.resources(scope["ovauth.issuer"])[0])
    return f"{address.origin}{WELL_KNOWN}{address.rest}"


def _tell(found: bearer.Identity, body: bytes, started: float) -> None:
    """A connection's first call. A log record alone: that it is in use is kept in its row."""
    ms = round((time.perf_counter() - started) * 1000)
    _tell_the_story("connection.first_call", found, method=_method(body), ms=ms)


def _tell_of_missed(found: bearer.Identity, body: bytes, missed: set[str]) -> None:
    """That a call needs more than its token has: no fault, the client asks its person for more."""
    _tell_the_story("call.missed_scope", found, scopes=" ".join(sorted(missed)), what=_tool(body) or _method(body))


def _tell_the_story(event: str, found: bearer.Identity, **detail: Any) -> None:
    told = {
        "event": event,
        "actor": f"{found.account_id}/{found.user_id}",
        "client_id": found.client_id,
        "client_name": found.client_name or found.client_id,
        "detail": detail,
    }
    logs.audited(told)


async def _first_use(found: bearer.Identity, source: Provenance) -> None:
    """Whoever was answered is not told when this cannot be written."""

    def tell() -> None:
        with serving(source):
            api_keys.used_first(key_pk=found.api_key_pk or 0)

    try:
        await threads.protocol.run(tell)
    except DatabaseFault as fault:
        log.warning("the first use of an API key could not be noted: %s", fault)


def _method(body: bytes) -> str:
    method = _message(body).get("method")
    return method[:LONGEST_TOLD] if isinstance(method, str) else "a call"


def _tool(body: bytes) -> str:
    """The name of the tool that is called; nothing when something else is."""
    params = _message(body).get("params")
    name = params.get("name") if isinstance(params, dict) else None
    return name[:LONGEST_TOLD] if isinstance(name, str) else ""


def _message(body: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError, RecursionError):
        message = json.loads(body)
        if isinstance(message, dict):
            return message
    return {}
