"""Around every request that this process answers, `/mcp` included: its id, its line in the log, and its count.

One layer, in front of CORS, the gate and Django. What happens inside tells it through the request's Provenance which route
it was and who was recognised.
"""

import re
import time
import uuid
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ovauth import logs, metrics
from ovauth.provenance import Provenance

GONE: Final = 499
"""No answer was begun: the client went away first."""
UNMATCHED: Final = "unmatched"
_KNOWN: Final = frozenset(
    {"/token", "/register", "/revoke", "/introspect", "/device_authorization", "/par", "/authorize", "/oauth/authorize"}
    | {"/oauth/authorize/page", "/oauth/authorize/page/status", "/health/live", "/health/ready", "/metrics", "/mcp"}
)
_TEMPLATES: Final = (
    ("/register/", "/register/{client_id}"),
    ("/static/", "/static/{file}"),
    ("/.well-known/oauth-authorization-server", "/.well-known/oauth-authorization-server"),
    ("/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource"),
    ("/.well-known/openid-configuration", "/.well-known/openid-configuration"),
    ("/.well-known/", "/.well-known/{other}"),
    ("/mcp/", "/mcp"),
)
_PARAMETER: Final = re.compile(r"<(?:\w+:)?(\w+)>|\(\?P<(\w+)>[^)]*\)")


class Watched:
    """An ASGI application around another one. `ids` are for the requests that a proxy of ours gave none: nobody can guess
    one, since whoever knows it may ask why that request was refused."""

    def __init__(self, app: ASGIApp, ids: Iterator[str]) -> None:
        self.app, self.ids = app, ids

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        client = scope.get("client")
        request_id = scope.get("ovauth.request_id") or next(self.ids)
        source = Provenance(client[0] if client else "", request_id)
        scope["ovauth.provenance"] = source
        said: tuple[bytes, bytes] = (b"x-request-id", request_id.encode("ascii"))
        status = GONE

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], said]}
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except BaseException:
            status = 500 if status == GONE else status
            raise
        finally:
            seconds = time.perf_counter() - started
            route = source.route or template(scope["path"].removeprefix(scope.get("root_path", "")))
            metrics.answered(route, scope["method"], status, seconds)
            logs.answered(source, scope["method"], route, status, seconds)


def of(request: Any) -> Provenance:
    """Of a Django request; one that no server handed over gets its own."""
    found: Provenance | None = getattr(request, "scope", {}).get("ovauth.provenance")
    return found or Provenance(request.META.get("REMOTE_ADDR", ""), uuid.uuid4().hex)


@lru_cache(512)
def readable(route: str) -> str:
    """Django's template of a path, as others write it: `register/<client_id>` is `/register/{client_id}`."""
    return "/" + _PARAMETER.sub(lambda match: f"{{{match[1] or match[2]}}}", route.lstrip("^").rstrip("$"))


def template(path: str) -> str:
    """The route of a path that was answered without Django's having looked for it."""
    if path in _KNOWN:
        return path
    return next((route for beginning, route in _TEMPLATES if path.startswith(beginning)), UNMATCHED)
