"""What of a request goes on to an upstream MCP server, and what of its answer comes back: headers as raw pairs.

Hop-by-hop headers end here (RFC 9110 §7.6.1). So does whatever the upstream could take for our word: who calls, where the
request came from, the caller's own credentials; also when it is spelled with underscores, which many servers read alike.
"""

import re
from collections.abc import Iterable
from typing import Final

from ovauth.rules import web_address

Headers = list[tuple[bytes, bytes]]

IDENTITY: Final = b"x-ovauth-"
"""How the headers begin that say who calls."""
SESSION: Final = b"mcp-session-id"

_HOP_BY_HOP: Final = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate te trailer transfer-encoding upgrade".split()
)
_NOT_ONWARD: Final = _HOP_BY_HOP | frozenset(
    b"host content-length expect authorization proxy-authorization x-api-key cookie origin referer".split()
    + b"forwarded via x-real-ip".split()
)
_NOT_BACK: Final = _HOP_BY_HOP | frozenset(
    b"set-cookie www-authenticate server date alt-svc strict-transport-security".split()
)
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE: Final = re.compile(r"[\x21-\x7E]+")


def why_not_url(url: str) -> str | None:
    """Why there cannot be an upstream at this URL, as a phrase; None when there can."""
    try:
        address = web_address.read(url)
    except ValueError as fault:
        return str(fault)
    return "it must not contain a fragment" if "#" in address.rest else None


def shown(url: str) -> str:
    """The URL without its query, which may hold a key."""
    return url.partition("?")[0]


def why_not_header(text: str) -> str | None:
    """Why a key cannot be sent by this header, as a phrase; None when it can."""
    name, scheme = read_header(text)
    if not _TOKEN.fullmatch(name) or (scheme and not _TOKEN.fullmatch(scheme)):
        return "write the name of a header, or `Name: Scheme` such as `Authorization: Bearer`"
    plain = _plain(name.encode())
    taken = (_NOT_ONWARD - {b"authorization", b"x-api-key", b"cookie"}) | {b"accept", b"content-type", b"accept-encoding"}
    if plain in taken or plain.startswith((IDENTITY, b"mcp-", b"x-forwarded-")):
        return f"the header {name} has another meaning"
    return None


def why_not_key(key: str) -> str | None:
    """Why this key cannot be sent, as a phrase; None when it can."""
    return None if _VALUE.fullmatch(key) else "it must be printable ASCII without blanks"


def read_header(text: str) -> tuple[str, str]:
    """`Authorization: Bearer` as its name and its scheme; the latter is empty where the key stands alone."""
    name, _, scheme = text.partition(":")
    return name.strip(), scheme.strip()


def onward(headers: Iterable[tuple[bytes, bytes]], *, own: bytes) -> Headers:
    """What the upstream may read of the caller's headers. `own`: the name by which the upstream's key is sent."""
    sent = [(name.lower(), value) for name, value in headers]
    dropped = _NOT_ONWARD | _named_by_connection(sent) | {_plain(own)}
    return [
        (name, value)
        for name, value in sent
        if (plain := _plain(name)) not in dropped and not plain.startswith((IDENTITY, b"x-forwarded-"))
    ]


def back(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """What the caller may read of the upstream's headers: its cookies, its challenges and its CORS are not ours."""
    sent = [(name.lower(), value) for name, value in headers]
    dropped = _NOT_BACK | _named_by_connection(sent)
    return [(name, value) for name, value in sent if name not in dropped and not name.startswith(b"access-control-")]


def missed_scopes(challenges: Iterable[str]) -> tuple[str, ...]:
    """The scopes that an upstream misses, when its challenge says `insufficient_scope` (RFC 6750 §3.1)."""
    for challenge in challenges:
        if re.search(r'\berror="?insufficient_scope\b', challenge):
            named = re.search(r'\bscope="([^"]*)"', challenge)
            return tuple(named[1].split()) if named else ()
    return ()


def _plain(name: bytes) -> bytes:
    return name.lower().replace(b"_", b"-")


def _named_by_connection(headers: Headers) -> frozenset[bytes]:
    values = b",".join(value for name, value in headers if name == b"connection")
    return frozenset(token.strip().lower() for token in values.split(b","))
