"""Django behind ASGI, on a few long-lived threads that keep their database connections.

Django's own ASGI handler makes a thread, and so a connection, for every request (1.0 ms against 0.2 ms). Here the body is
read first, within bounds, by the event loop: a slow client holds no thread.
"""

import asyncio
import io
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from django.core import signals
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.base import BaseHandler
from django.http.request import HttpHeaders
from django.http.response import FileResponse, HttpResponseBase, StreamingHttpResponse
from django.urls import set_script_prefix
from django.utils.functional import cached_property
from starlette.types import Receive, Scope, Send

from ovauth import threads
from ovauth.errors import InvalidRequest, Refusal
from ovauth.request_body import ClientGone, read_body
from ovauth.web import authorize

log = logging.getLogger(__name__)

MAX_BODY: Final = 128 * 1024


Answer = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Status, headers and content, ready to be sent."""


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer that is as long as it gets: its parts are asked for one by one, when the client has taken the last."""

    status: int
    headers: list[tuple[bytes, bytes]]
    response: StreamingHttpResponse


async def complete(scope: Scope, receive: Receive) -> tuple[Scope, bytes] | None:
    """The request with its whole body; a body that is refused is a fault of the scope. None when the client is gone."""
    try:
        body = await read_body(scope, receive, MAX_BODY)
        scope["ovauth.received"] = time.monotonic()
    except Refusal as refusal:
        scope["ovauth.fault"], body = refusal, b""
    except ClientGone:
        return None
    return scope, body


async def send_answer(send: Send, answer: Answer) -> None:
    status, headers, content = answer
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


class DjangoOnThreads(BaseHandler):
    """An ASGI application: Django's synchronous stack on `threads.pages`, on those for whoever may wait for others, or on
    those that the scope brings as `ovauth.on`."""

    def __init__(self) -> None:
        super().__init__()
        self.load_middleware(is_async=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (whole := await complete(scope, receive)) is None:
            return
        own = scope.get("ovauth.on")
        if own is None:
            own = threads.others if authorize.may_wait_for_others(scope) else threads.pages
        answer = await own.run(self._respond, *whole)
        if isinstance(answer, Stream):
            await send_stream(answer, receive, send)
        else:
            await send_answer(send, answer)

    def _respond(self, scope: Scope, body: bytes) -> Answer | Stream:
        set_script_prefix(scope.get("root_path", "") or "/")
        signals.request_started.send(sender=self.__class__, scope=scope)
        response: HttpResponseBase | None = None
        try:
            response = self.get_response(readable(scope, body))
            # A file is short, and read from disk by whitenoise.
            if isinstance(response, StreamingHttpResponse) and not isinstance(response, FileResponse):
                streamed, response = response, None  # closed at its end, and not here
                return Stream(streamed.status_code, _headers(streamed), streamed)
            return said(response, scope["method"])
        except Exception:
            return last_net()
        finally:
            if response is not None:
                response.close()


async def send_stream(stream: Stream, receive: Receive, send: Send) -> None:
    """Part by part. A slow client holds no thread meanwhile, and one that went away ends it."""
    await send({"type": "http.response.start", "status": stream.status, "headers": stream.headers})
    gone = asyncio.ensure_future(_disconnected(receive))
    parts: Iterator[Any] = iter(stream.response)
    try:
        while not gone.done() and (part := await threads.pages.run(next, parts, None)) is not None:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        gone.cancel()
        await threads.pages.run(stream.response.close)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def last_net() -> Answer:
    """Even what answers faults may fail, and the client is told no more than that."""
    log.exception("no answer could be made")
    return 500, [(b"content-type", b"text/plain")], b"Something went wrong on our side.\n"


class Headers(HttpHeaders):
    """The headers of a request. Who asks for one of them by name does not pay for the names of all."""

    def __init__(self, environ: Mapping[str, Any]) -> None:
        self._environ = environ

    def get(self, header: str, default: Any = None) -> Any:
        return self._environ.get(_variable(header), default)

    @cached_property
    def _store(self) -> dict[str, tuple[str, Any]]:  # type: ignore[override]
        return HttpHeaders(self._environ)._store


_variable: Final = lru_cache(256)(HttpHeaders.to_wsgi_name)


class Asked(ASGIRequest):
    """Django's request."""

    @cached_property
    def headers(self) -> Headers:
        return Headers(self.META)


def readable(scope: Scope, body: bytes) -> ASGIRequest:
    """Django's request; one that cannot be read carries that as its fault."""
    try:
        return Asked(scope, io.BytesIO(body))
    except ValueError:  # bytes that are no text, in the query or the content type
        fault = InvalidRequest("The address or a header cannot be read.")
        headers = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
        return Asked({**scope, "query_string": b"", "headers": headers, "ovauth.fault": fault}, io.BytesIO(b""))


def said(response: HttpResponseBase, method: str) -> Answer:
    """A response as it is sent."""
    content = _content(response)
    return response.status_code, _headers(response, content), b"" if method == "HEAD" else content


def _headers(response: HttpResponseBase, content: bytes | None = None) -> list[tuple[bytes, bytes]]:
    headers = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in response.items()]
    cookies = [(b"set-cookie", morsel.OutputString().encode("ascii")) for morsel in response.cookies.values()]
    if content is not None and "Content-Length" not in response and response.status_code not in (204, 304):
        headers.append((b"content-length", str(len(content)).encode()))
    return headers + cookies


def _content(response: HttpResponseBase) -> bytes:
    if response.streaming:
        return b"".join(response)  # static files: small, and read from disk by whitenoise
    return response.content  # type: ignore[attr-defined]
