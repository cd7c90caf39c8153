"""Which addresses are plausibly one household: for a warning (a signal, never a lock: RFC 10027), to count by, to reach."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

# Narrower than Python's `is_private`, which takes every special-purpose block for private.
_AT_HOME: Final = tuple(
    ip_network(network)
    for network in (
        "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "::1/128", "fc00::/7", "fe80::/10"
    )
)  # fmt: skip


def alike(one: str, other: str) -> bool:
    """Whether both addresses are equal, share a /24 (IPv6: a /64), or are both private.

    What is no address is like everything: a warning needs a reason.
    """
    try:
        first, second = _address(one), _address(other)
    except ValueError:
        return True
    if first == second or (_is_at_home(first) and _is_at_home(second)):
        return True
    return second in ip_network((first.packed, 24 if first.version == 4 else 64), strict=False)


def is_private(address: str) -> bool:
    """Whether an IP address is one that nobody reaches from the internet; False for a name."""
    try:
        return _is_at_home(_address(address))
    except ValueError:
        return False


def household(address: str) -> str:
    """What is counted by address: an IPv4 address, or with IPv6 the /64 that one household has all of.

    What is no address stays as it is.
    """
    if ":" not in address:
        return address
    try:
        found = _address(address)
    except ValueError:
        return address
    return str(found) if found.version == 4 else str(ip_network((found.packed, 64), strict=False))


def _is_at_home(address: IPv4Address | IPv6Address) -> bool:
    return any(address in network for network in _AT_HOME)


def _address(text: str) -> IPv4Address | IPv6Address:
    address = ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
