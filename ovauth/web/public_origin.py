"""The four-level public origin, decided once for every request, in front of everything else.

Rewrites scheme, host and client of the ASGI scope, so that Django's links, cookies and CSRF check, the MCP server and our
own issuer all see the same. `scope["ovauth.issuer"]` is the issuer, `scope["ovauth.fault"]` a refusal for whoever answers.
"""

import re
from typing import Any
from urllib.parse import quote

from django.conf import settings
from starlette.types import ASGIApp, Receive, Scope, Send

from ovauth.errors import Refusal
from ovauth.rules import origin

WELL_KNOWN = "/.well-known/"


class PublicOrigin:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = self._decided(scope)
        await self.app(scope, receive, send)

    def _decided(self, scope: Scope) -> Scope:
        config = settings.OVAUTH
        try:
            decided = origin.decide(
                public_base_url=config.public_base_url,
                issuer=config.issuer,
                trusted=config.trusted_proxies,
                peer=scope["client"][0] if scope.get("client") else None,
                scheme=scope["scheme"],
                host=_header(scope, b"host"),
                forwarded_for=_header(scope, b"x-forwarded-for"),
                forwarded_proto=_header(scope, b"x-forwarded-proto"),
                forwarded_host=_header(scope, b"x-forwarded-host"),
            )
        except Refusal as refusal:
            decided = origin.Origin("http", "invalid.invalid", "", "")
            scope = {**scope, "ovauth.fault": refusal}
        forwarded = any(name in _FORWARDING for name, _ in scope["headers"])
        headers = [(name, value) for name, value in scope["headers"] if name not in _OURS]
        return {
            **scope,
            "scheme": decided.scheme,
            "client": (decided.client, 0),
            "headers": [(b"host", decided.host.encode("latin-1")), *headers],
            "ovauth.issuer": decided.url,
            "ovauth.forwarded": forwarded,
            "ovauth.request_id": _request_id(scope) if decided.behind_proxy else "",
            **_paths(scope, decided.base_path),
        }


_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_FORWARDING = frozenset({b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"})
_OURS = frozenset({b"host", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded"})


def _request_id(scope: Scope) -> str:
    """The id that a proxy of ours gave the request; nothing for what cannot be one."""
    sent = _header(scope, b"x-request-id") or ""
    return sent if _REQUEST_ID.fullmatch(sent) else ""


def _header(scope: Scope, name: bytes) -> str | None:
    """All values of the header as one list, the way that proxies append to it; for Host, twice is a fault."""
    values = [value.decode("latin-1") for header, value in scope["headers"] if header == name]
    return ",".join(values) if values else None


def _paths(scope: Scope, base_path: str) -> dict[str, Any]:
    """Below an issuer with a path everything is served below that path, whether or not the proxy has cut it off."""
    path: str = scope["path"]
    if not base_path or path.startswith(WELL_KNOWN):
        return {"root_path": ""}
    if path.startswith(f"{base_path}/"):
        return {"root_path": base_path}
    inside = f"{base_path}/" if path == base_path else base_path + path
    return {"root_path": base_path, "path": inside, "raw_path": quote(inside).encode("ascii")}


def issuer_of(request: Any) -> str:
    """The issuer as the client of this Django request sees it: one exact string, no trailing slash."""
    decided: str | None = getattr(request, "scope", {}).get("ovauth.issuer")
    return decided or f"{request.scheme}://{request.get_host()}"
