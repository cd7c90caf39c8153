"""The composition root of the serving process: public origin → what is noted of each request → CORS → /mcp to the gate,
what programs ask to the protocol stack, the rest to Django's page stack."""

import multiprocessing
import os
import signal
import threading

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

import django

django.setup()

from django.conf import settings
from django.db import connection
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from ovauth import credentials, leaving, threads
from ovauth.resource import loading, stream_check
from ovauth.resource.gate import Gate
from ovauth.web import protocol
from ovauth.web.health import LIVE, METRICS, READY, Health, Metrics
from ovauth.web.public_origin import PublicOrigin
from ovauth.web.serving import DjangoOnThreads
from ovauth.web.watching import Watched
from project.life import alive

CORS_PATHS = ("/.well-known", "/register", "/token", "/revoke", "/introspect", "/device_authorization", "/mcp")


BESIDE = 2
"""Connections beside those of requests: health, housekeeping."""
CONNECTIONS = {"protocol": 4, "pages": 4, "others": 4}
"""To PostgreSQL, of each process: its threads wait for the network. SQLite answers where it is asked: there one thread is
all that can write, and two are enough for pages."""


class Root:
    """Routes by path, and forwards the lifespan to the MCP server."""

    def __init__(self) -> None:
        self.pages = DjangoOnThreads()
        self.protocol = protocol.Protocol()
        self.health = Health()
        self.metrics = Metrics(self.pages, self.health)
        self.gate = Gate(loading.configured(settings.OVAUTH))
        self.open_to_browsers = CORSMiddleware(
            self.route,
            allow_origins=["*"],
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=[
                "Authorization",
                "Content-Type",
                "Mcp-Protocol-Version",
                "Mcp-Session-Id",
                "Mcp-Method",
                "Mcp-Name",
                "Last-Event-ID",
            ],
            expose_headers=["WWW-Authenticate", "Mcp-Session-Id", "Mcp-Protocol-Version", "Retry-After"],
            max_age=86400,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.gate(scope, alive(receive), send)
        elif scope["type"] == "http":
            path = _inside(scope)
            # By the fetch standard, no other request has an Origin; CORS has nothing to say about one without.
            by_page = scope["ovauth.by_page"] and _is_open(path)
            await (self.open_to_browsers if by_page else self._behind(path))(scope, receive, send)

    async def route(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._behind(_inside(scope))(scope, receive, send)

    def _behind(self, path: str) -> ASGIApp:
        if path == "/mcp" or path.startswith("/mcp/"):
            return stream_check.stream_check if path == stream_check.PATH else self.gate
        if path in (LIVE, READY):
            return self.health
        return self.protocol if protocol.answers(path) else self.metrics if path == METRICS else self.pages


def _is_open(path: str) -> bool:
    return any(path == open_path or path.startswith(f"{open_path}/") for open_path in CORS_PATHS)


def _inside(scope: Scope) -> str:
    return str(scope["path"]).removeprefix(scope.get("root_path", ""))


def _end_with_the_parent() -> None:
    """A worker whose parent was killed has nobody to replace or to stop it, and keeps the port from the next start."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


_end_with_the_parent()
if connection.vendor == "postgresql":
    from ovauth import pool  # with psycopg, 13 MB that a server on SQLite has no use for

    for name, number in CONNECTIONS.items():
        getattr(threads, name).number = number
    threads.rest = pool.give_back
    pool.begin(sum(CONNECTIONS.values()) + BESIDE)
application = leaving.Door(PublicOrigin(Watched(Root(), credentials.references())))
