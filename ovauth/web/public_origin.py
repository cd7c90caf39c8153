"""The four-level public origin, decided once for every request, in front of everything else.

Rewrites scheme, host and client of the ASGI scope, so that Django's links, cookies and CSRF check, the MCP server and our
own issuer all see the same. `scope["ovauth.issuer"]` is the issuer, `scope["ovauth.fault"]` a refusal for whoever answers,
`scope["ovauth.by_page"]` says whether the request has an Origin.
"""

import re
from typing import Any
from urllib.parse import quote, urlsplit

from django.conf import settings
from starlette.types import ASGIApp, Receive, Scope, Send

from ovauth.errors import Refusal
from ovauth.rules import origin

WELL_KNOWN = "/.well-known/"
KEPT = 1000
"""Decisions that are remembered: one for each address and host that asks."""


_Asked = tuple[str | None, str, *tuple[bytes | None, ...]]
"""The peer, the scheme, and what was said in `_ASKED`."""


class PublicOrigin:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._decided_by: Any = None
        self._decisions: dict[_Asked, tuple[origin.Origin, str]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = self._decided(scope)
        await self.app(scope, receive, send)

    def _decided(self, scope: Scope) -> Scope:
        said: dict[bytes, bytes] = {}
        headers = []
        for header in scope["headers"]:
            name, value = header
            if name in _DECISIVE:
                # All values of a header as one list, the way that proxies append to it; for Host, twice is a fault.
                said[name] = said[name] + b"," + value if name in said else value
                if name in _OURS:
                    continue
            headers.append(header)
        client = scope.get("client")
        asked = (client[0] if client else None, scope["scheme"], *map(said.get, _ASKED))
        try:
            decided, url = self._decide(settings.OVAUTH, asked)
        except Refusal as refusal:
            decided, url = origin.Origin("http", "invalid.invalid", "", ""), "http://invalid.invalid"
            scope = {**scope, "ovauth.fault": refusal}
        return {
            **scope,
            "scheme": decided.scheme,
            "client": (decided.client, 0),
            "headers": [(b"host", decided.host.encode("latin-1")), *headers],
            "ovauth.issuer": url,
            "ovauth.by_page": b"origin" in said,
            "ovauth.forwarded": not _FORWARDING.isdisjoint(said),
            "ovauth.request_id": _request_id(said[REQUEST_ID]) if REQUEST_ID in said and decided.behind_proxy else "",
            **_paths(scope, decided.base_path),
        }

    def _decide(self, config: Any, asked: _Asked) -> tuple[origin.Origin, str]:
        """The decision and its issuer. It depends on nothing but what is handed in here, so the last ones are kept."""
        if config is not self._decided_by or len(self._decisions) >= KEPT:
            self._decisions, self._decided_by = {}, config
        known = self._decisions.get(asked)
        if known is None:
            peer, scheme, *said = asked
            host, forwarded_for, forwarded_proto, forwarded_host = map(_text, said)
            decided = origin.decide(
                public_base_url=config.public_base_url,
                issuer=config.issuer,
                trusted=config.trusted_proxies,
                peer=peer,
                scheme=scheme,
                host=host,
                forwarded_for=forwarded_for,
                forwarded_proto=forwarded_proto,
                forwarded_host=forwarded_host,
            )
            known = self._decisions[asked] = (decided, decided.url)
        return known


_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_FORWARDING = frozenset({b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"})
_ASKED = (b"host", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host")
_OURS = frozenset({*_ASKED, b"forwarded"})
REQUEST_ID = b"x-request-id"
_DECISIVE = _OURS | _FORWARDING | {REQUEST_ID, b"origin"}


def _request_id(sent: bytes) -> str:
    """The id that a proxy of ours gave the request; nothing for what cannot be one."""
    said = sent.decode("latin-1")
    return said if _REQUEST_ID.fullmatch(said) else ""


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


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


def is_on_loopback(request: Any) -> bool:
    """Whether the outside sees us on this computer alone, so that no other one can come here."""
    return origin.is_loopback_host(urlsplit(issuer_of(request)).netloc)
