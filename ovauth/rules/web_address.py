"""An http or https URL, taken apart without changing a byte (RFC 3986 §3).

The standard library's `urlsplit` drops tabs and newlines, forgives everything and thinks of hosts otherwise
than browsers do. Whoever decides where a person's browser goes needs a reader that refuses what two
programs could understand differently.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address

LONGEST = 2000

_FOREIGN = re.compile(r"[^A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
# Without re.ASCII a long s (U+017F) would pass for the s of https.
_PARTS = re.compile(r"(https?)://([^/?#]*)(.*)", re.ASCII | re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::(.*))?")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*")
# What WHATWG's URL standard takes for an IPv4 address: the last label decides.
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


@dataclass(frozen=True, slots=True)
class WebAddress:
    """The parts as they were written; `rest` is path, query and fragment."""

    scheme: str
    host: str
    port: str
    rest: str

    @property
    def authority(self) -> str:
        """host[:port] in lower case, without the scheme's own port: what goes into a Host header."""
        host = self.host.lower()
        return f"{host}:{self.port}" if self.port not in ("", _DEFAULT_PORTS[self.scheme.lower()]) else host

    @property
    def origin(self) -> str:
        """scheme://host[:port] as RFC 6454 §6.2 serializes it."""
        return f"{self.scheme.lower()}://{self.authority}"


def as_people_write(host: str) -> str:
    """An internationalised host as its owner writes it (RFC 5890); empty for every other host."""
    if "xn--" not in host.lower():
        return ""
    try:
        return host.encode("ascii").decode("idna")
    except UnicodeError:
        return ""


def why_not_characters(uri: str) -> str | None:
    """Why these characters are no URI (RFC 3986 §2), as a phrase; None when they could be one."""
    if not uri:
        return "it must not be empty"
    if len(uri) > LONGEST:
        return f"it must not be longer than {LONGEST} characters"
    if _FOREIGN.search(uri):
        return "it must not contain white space, backslashes, or other characters that need percent-encoding"
    if _BROKEN_ESCAPE.search(uri):
        return "every percent sign must be followed by two hexadecimal digits"
    return None


@lru_cache(1000)
def read(url: str) -> WebAddress:
    """An absolute http(s) URL in, its parts out. Raises ValueError with a phrase fit for an answer."""
    if fault := why_not_characters(url):
        raise ValueError(fault)
    parts = _PARTS.fullmatch(url)
    if parts is None:
        raise ValueError("it must begin with https:// or http://")
    scheme, authority, rest = parts.groups()
    if "@" in authority:
        raise ValueError("it must not contain a user name or password")
    if "[" in rest or "]" in rest:
        raise ValueError("square brackets outside of an IPv6 address must be percent-encoded")
    split = _AUTHORITY.fullmatch(authority)
    if split is None:
        raise ValueError("its host is not valid")
    host, port = split.groups()
    if fault := _why_not_host(host):
        raise ValueError(fault)
    if port is not None and not (_PORT.fullmatch(port) and int(port) <= 65535):
        raise ValueError("its port must be a number from 1 to 65535")
    return WebAddress(scheme, host, port or "", rest)


def _why_not_host(host: str) -> str | None:
    if not host:
        return "it must name a host"
    if host.startswith("["):
        return None if _is_ipv6(host[1:-1]) else "its IPv6 address is not valid"
    if len(host) > 253 or not _NAME.fullmatch(host):
        return "its host is not valid"
    if _NUMBER.fullmatch(host.rpartition(".")[2]) and not _is_ipv4(host):
        # http://127.1/ and https://2130706433/ are 127.0.0.1 to a browser, and something else to a reader.
        return "an IPv4 address must be written as four decimal numbers"
    return None


def _is_ipv4(text: str) -> bool:
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True


def _is_ipv6(text: str) -> bool:
    # A zone (RFC 6874) means something on one machine only, and Python takes any text for one.
    if "%" in text:
        return False
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True
