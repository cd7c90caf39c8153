"""Django behind ASGI, on a few long-lived threads that keep their database connections.

Django's own ASGI handler makes a thread, and so a connection, for every request (1.0 ms against 0.2 ms). Here the body is
read first, within bounds, by the event loop: a slow client holds no thread.
"""

import asyncio
import io

from django.core import signals
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.base import BaseHandler
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix
from starlette.types import Receive, Scope, Send

from ovauth.errors import Refusal
from ovauth.request_body import ClientGone, read_body
from ovauth.threads import threads

MAX_BODY = 128 * 1024


class DjangoOnThreads(BaseHandler):
    """An ASGI application: Django's synchronous stack on `threads`."""

    def __init__(self) -> None:
        super().__init__()
        self.load_middleware(is_async=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        try:
            body = await read_body(scope, receive, MAX_BODY)
        except Refusal as refusal:
            scope = {**scope, "ovauth.fault": refusal}
        except ClientGone:
            return
        loop = asyncio.get_running_loop()
        status, headers, content = await loop.run_in_executor(threads, self._respond, scope, body)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    def _respond(self, scope: Scope, body: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        set_script_prefix(scope.get("root_path", "") or "/")
        signals.request_started.send(sender=self.__class__, scope=scope)
        try:
            response: HttpResponseBase = self.get_response(ASGIRequest(scope, io.BytesIO(body)))
        except UnicodeDecodeError:
            response = HttpResponse(status=400)
        try:
            return response.status_code, _headers(response), _content(response)
        finally:
            response.close()


def _headers(response: HttpResponseBase) -> list[tuple[bytes, bytes]]:
    headers = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in response.items()]
    cookies = [(b"set-cookie", morsel.OutputString().encode("ascii")) for morsel in response.cookies.values()]
    return headers + cookies


def _content(response: HttpResponseBase) -> bytes:
    if response.streaming:
        return b"".join(response)  # static files: small, and read from disk by whitenoise
    return response.content  # type: ignore[attr-defined]
