"""Who we are to the outside and who is asking: public origin and client address, decided once per request.

Four levels: the public base URL, the issuer, what a trusted proxy says, the request's own words. Lists that
grow at every hop are read from the right, since only their right end was written by someone we know.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from ovauth.errors import InvalidRequest
from ovauth.rules import web_address

_Address = IPv4Address | IPv6Address
_Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Origin:
    """Where we are, and for whom.

    `host` is a lower-case host[:port] without the scheme's own port, `client` an IP address or "" when
    unknown, `base_path` is "" or like /auth. `behind_proxy`: a trusted one handed the request on.
    """

    scheme: str
    host: str
    client: str
    base_path: str
    behind_proxy: bool = False

    @property
    def url(self) -> str:
        """The issuer, byte for byte wherever it is written; no trailing slash (RFC 8414 §2)."""
        return f"{self.scheme}://{self.host}{self.base_path}"


def decide(
    *,
    public_base_url: str | None,
    issuer: str | None,
    trusted: Sequence[_Network],
    peer: str | None,
    scheme: str,
    host: str | None,
    forwarded_for: str | None,
    forwarded_proto: str | None,
    forwarded_host: str | None,
) -> Origin:
    """The settings and what came in the request in, the public origin out.

    `peer` is the address at the other end of the connection, None on a Unix socket; the `forwarded_*` are
    the X-Forwarded-* headers, several of one name joined by commas. They count only when the peer is
    trusted. Raises InvalidRequest when the host or scheme that would have to be used is missing or malformed.
    The settings have passed `why_not_base`.
    """
    nearest = _address(peer or "")
    behind_proxy = nearest is not None and _is_trusted(nearest, trusted)
    client = _client(nearest, forwarded_for if behind_proxy else None, trusted)
    if configured := public_base_url or issuer:
        address = web_address.read(configured)
        return Origin(address.scheme.lower(), address.authority, client, address.rest.rstrip("/"), behind_proxy)
    if behind_proxy:
        scheme = _rightmost(forwarded_proto) or scheme
        host = _rightmost(forwarded_host) or host
    return _as_asked(scheme.lower(), host, client, behind_proxy)


def why_not_base(url: str, *, path_allowed: bool) -> str | None:
    """Why this cannot be the public origin or the issuer (RFC 8414 §2), as a phrase; None when it can."""
    try:
        address = web_address.read(url)
    except ValueError as fault:
        return str(fault)
    if address.scheme.lower() == "http" and not is_loopback_host(address.host):
        return "it must begin with https:// (http:// is for loopback only)"
    if "?" in address.rest or "#" in address.rest:
        return "it must not contain a query or a fragment"
    if address.rest.endswith("/"):
        return "it must not end with a slash"
    if address.rest and not path_allowed:
        return "it must not contain a path"
    # A browser folds these away, and the issuer would be two strings.
    if any(segment in ("", ".", "..") for segment in address.rest.split("/")[1:]) or "%" in address.rest:
        return "its path must not contain empty segments, dot segments or percent signs"
    return None


def is_loopback_host(host: str) -> bool:
    """Whether host[:port], an IPv6 address in brackets, is this computer by its spelling alone."""
    try:
        address = web_address.read(f"http://{host}")
    except ValueError:
        return False
    name = address.host.lower()
    return not address.rest and (name == "localhost" or is_loopback_address(name.strip("[]")))


def is_loopback_address(address: str) -> bool:
    """Whether an IP address is this computer's; False for anything else, a name included."""
    parsed = _address(address)
    return parsed is not None and parsed.is_loopback


def _as_asked(scheme: str, host: str | None, client: str, behind_proxy: bool) -> Origin:
    if scheme not in ("http", "https"):
        raise InvalidRequest("The request came by an unknown scheme.", reason=f"scheme={scheme[:40]!a}")
    try:
        address = web_address.read(f"{scheme}://{host or ''}")
    except ValueError as fault:
        raise InvalidRequest(
            "The Host header is missing or not valid.", reason=f"host={(host or '')[:80]!a}: {fault}"
        ) from None
    if address.rest:
        raise InvalidRequest("The Host header is missing or not valid.", reason=f"host={(host or '')[:80]!a}")
    return Origin(scheme, address.authority, client, "", behind_proxy)


def _client(nearest: _Address | None, forwarded_for: str | None, trusted: Sequence[_Network]) -> str:
    """The first address from the right that is no proxy of ours; a malformed entry ends what is believed."""
    if nearest is None:
        return ""
    for entry in reversed(forwarded_for.split(",") if forwarded_for else []):
        if not _is_trusted(nearest, trusted):
            break
        further = _forwarded_address(entry.strip())
        if further is None:
            break
        nearest = further
    return str(nearest)


def _forwarded_address(entry: str) -> _Address | None:
    # Some proxies write the port too: 192.0.2.1:4711 or [2001:db8::1]:4711.
    if entry.startswith("["):
        entry = entry[1:].partition("]")[0]
    elif entry.count(":") == 1:
        entry = entry.partition(":")[0]
    # Python takes any text behind a percent sign for a zone, and this text comes from a stranger.
    return None if "%" in entry else _address(entry)


def _rightmost(values: str | None) -> str:
    return (values or "").rpartition(",")[2].strip()


def _address(text: str) -> _Address | None:
    """An IPv4 address that came in IPv6 clothes is an IPv4 address; a zone is left out."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _is_trusted(address: _Address, trusted: Sequence[_Network]) -> bool:
    return any(address in network for network in trusted)
