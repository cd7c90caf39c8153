"""For whoever watches the process: is it alive, can it do its work?

Answered before Django, and on no thread that requests share: a database that hangs has taken those, and the answer is due
within a second all the same.
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
from ovauth.flows import readiness
from ovauth.roles import Role
from ovauth.rules import origin
from ovauth.threads import Threads

log = logging.getLogger(__name__)

LIVE: Final = "/health/live"
READY: Final = "/health/ready"
PATIENCE: Final = 1.0
"""Seconds in which the database has to answer."""

thread = Threads(1, "ovauth-health")
Checks = dict[str, str]


class Health:
    """An ASGI application for the two paths."""

    def __init__(self) -> None:
        self._asking: asyncio.Future[Checks] | None = None

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
