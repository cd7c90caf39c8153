"""For whoever watches the process: is it alive, can it do its work, how much is there?

Answered on no thread that requests share: a database that hangs has taken those, and the answer is due within seconds all
the same. Probes do not even reach Django.
"""

import asyncio
import json
import logging
from functools import partial
from typing import Any, Final

from django.conf import settings
from starlette.types import Receive, Scope, Send

from ovauth import bearer, leaving, tools, wire
from ovauth.errors import NotAllowed, Refusal
from ovauth.flows import measures, readiness
from ovauth.roles import Role
from ovauth.rules import origin
from ovauth.threads import Threads
from ovauth.web.serving import DjangoOnThreads

log = logging.getLogger(__name__)

LIVE: Final = "/health/live"
READY: Final = "/health/ready"
METRICS: Final = "/metrics"
PATIENCE: Final = 1.0
"""Seconds in which the database has to answer."""

thread = Threads(1, "ovauth-health")
counting = Threads(1, "ovauth-gauges")
scraping = Threads(1, "ovauth-metrics")
Checks = dict[str, str]


class Health:
    """An ASGI application for the two paths."""

    def __init__(self) -> None:
        self._asking: asyncio.Future[Checks] | None = None
        self._reading: asyncio.Future[list[measures.Reading]] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            refusal = NotAllowed()
            error = {"code": refusal.code, "message": refusal.description}
            await _say(scope, send, refusal.status, {"error": error}, (b"allow", b"GET, HEAD"))
        elif scope["path"].endswith(LIVE):
            await _say(scope, send, 200, {"status": "ok"})
        else:
            checks = await self.checks()
            status, word = (200, "ok") if readiness.is_ready(checks) else (503, "unavailable")
            if status != 200 and not leaving.has_begun():
                log.error("not ready: %s", checks)
            told = {"checks": checks | _mcp_server()} if await _may_see(scope, status) else {}
            await _say(scope, send, status, {"status": word, **told})

    async def checks(self) -> Checks:
        """What `readiness` finds, within a second. One question is under way at a time, however many probes ask."""
        if leaving.has_begun():
            return {"process": "stops when what is in flight is answered"}
        loop = asyncio.get_running_loop()
        if self._asking is None or self._asking.done() or self._asking.get_loop() is not loop:
            self._asking = loop.create_task(thread.run(readiness.checks))
        try:
            return await asyncio.wait_for(asyncio.shield(self._asking), PATIENCE)
        except TimeoutError:
            return {"database": f"does not answer within {PATIENCE:.0f} s"}

    async def gauges(self) -> dict[str, Any]:
        """What a scrape brings along in its scope: whether the database answers, and what was read off it.

        Each is asked for a second. What does not come in time is told as it was the last time.
        """
        checks = await self.checks()
        answers = checks.get("database", readiness.OK) == readiness.OK
        readings: list[measures.Reading] = [("ovauth_ready", {}, int(readiness.is_ready(checks)))]
        if answers:
            readings += await self._read()
        return {"ovauth.database": answers, "ovauth.readings": readings}

    async def _read(self) -> list[measures.Reading]:
        loop = asyncio.get_running_loop()
        if self._reading is None or self._reading.done() or self._reading.get_loop() is not loop:
            self._reading = loop.create_task(counting.run(measures.read))
        try:
            return await asyncio.wait_for(asyncio.shield(self._reading), PATIENCE)
        except TimeoutError:
            return measures.last()
        except Exception as fault:
            if not readiness.is_database_fault(fault):
                raise
            return []


class Metrics:
    """An ASGI application: the page of metrics, answered in time whatever the database does."""

    def __init__(self, pages: DjangoOnThreads, health: Health) -> None:
        self._pages, self._health = pages, health

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._pages({**scope, **await self._health.gauges(), "ovauth.on": scraping}, receive, send)


def _mcp_server() -> dict[str, Any]:
    """Reported, and no reason to be unavailable: one broken server would take the sign-in away."""
    found = tools.served()
    if found is None or found.tools is None:
        return {"mcp_server": "not known yet"}
    return {"mcp_server": f"ok, {len(found.tools)} tools"}


async def _may_see(scope: Scope, status: int) -> bool:
    """Details are for this computer, not through a proxy on it, and for the API key of a root."""
    client = scope.get("client")
    if client and origin.is_loopback_address(client[0]) and not scope.get("ovauth.forwarded", False):
        return True
    try:
        secret = wire.bearer(_values(scope, b"authorization"), _values(scope, b"x-api-key"))
        if secret is None or status != 200:
            return False
        resource = settings.OVAUTH.resources(scope["ovauth.issuer"])[0]
        asked = partial(bearer.identify, secret, resource=resource)
        found = await asyncio.wait_for(thread.run(asked), PATIENCE)
    except (Refusal, TimeoutError):
        return False
    except Exception as fault:
        if not readiness.is_database_fault(fault):
            raise
        return False
    return not found.from_oauth and Role.named(found.role) >= Role.ROOT


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for header, value in scope["headers"] if header == name]


async def _say(scope: Scope, send: Send, status: int, told: dict[str, Any], *more: tuple[bytes, bytes]) -> None:
    content = json.dumps(told).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else content})
