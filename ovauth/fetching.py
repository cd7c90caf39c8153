"""The one place from which ovauth fetches what a stranger names: a small JSON document, and nothing from inside.

The URL is a stranger's, so every fetch is an attempt to make us talk to somebody else. What stands against it, in the order
in which it happens:

1. The URL is read strictly: https, a host name with a dot (an address in no spelling), port 443 or from 1024 upwards
   (below that other protocols live), no user name, no fragment.
2. The name is resolved once, as an absolute name (no search list), and *every* address must be public. One that is not
   makes the whole answer untrustworthy.
3. The connection is made to one of the addresses that were checked, as a number, so nothing is resolved again.
4. The certificate is verified for the name, against the public roots of `certifi` and nothing that an environment adds.
5. One request, one answer: status 200, `application/json`, no redirect, no compression, 16 KiB; and from the look-up of
   the name to the last byte 5 seconds in all, however slowly it drips.

The environment is not asked: there is no proxy, no `SSL_CERT_FILE`, no key log, no `.netrc`. A leaf: no Django, no
database.
"""

import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Final

import certifi
import h11

from ovauth.rules import web_address
from ovauth.rules.json_bounds import why_not_bounded
from ovauth.rules.web_address import WebAddress

Address = IPv4Address | IPv6Address

DEADLINE: Final = 5.0
"""Seconds for everything together."""
LARGEST: Final = 16 * 1024
"""Bytes of a document."""
LARGEST_ANSWER: Final = 64 * 1024
"""Bytes on the wire: the document, its header fields, and the framing around it."""
MOST_ADDRESSES: Final = 16
MOST_TRIED: Final = 4
AT_ONCE: Final = 3
MOST_WAITING: Final = 2
"""Fetches at a time in this process, and those that wait for their turn. Together fewer than the process has threads:
slow hosts cannot take all of them."""
LOOKUPS_AT_ONCE: Final = 8
NOT_REACHED: Final = "its host cannot be reached"

_PORTS: Final = range(1024, 65536)
_CHUNK: Final = 4096
_TEMPORARY: Final = frozenset({408, 425, 429})
"""What says “later” and not “no”, beside every 5xx (RFC 9110 §15.5, RFC 6585 §4, RFC 8470 §5.2)."""
_JSON: Final = re.compile(r"application/(?:json|[a-z0-9!#$&^_.-]{1,60}\+json)", re.ASCII)
_DIRECTIVE: Final = re.compile(r"\s*([A-Za-z0-9_-]+)\s*(?:=\s*(\"[^\"]*\"|[^\s,\"]*))?\s*(?:,|$)", re.ASCII)

_fetches = threading.BoundedSemaphore(AT_ONCE)
_turns = threading.BoundedSemaphore(MOST_WAITING)
_lookups = threading.BoundedSemaphore(LOOKUPS_AT_ONCE)


class NotFetched(Exception):
    """There is no document. `description` is a phrase for a stranger, `reason` for the log.

    What a name resolves to from here, and whether anybody listens there, is only in the reason: strangers would ask us for
    a map of the inside.
    """

    def __init__(self, description: str, *, reason: str = "") -> None:
        self.description = description
        self.reason = reason or description
        super().__init__(self.reason)


class Unreachable(NotFetched):
    """The network, the resolver, the certificate or a server in trouble: what was good before may still be."""


class Busy(Unreachable):
    """This process fetches as much as it may already: nothing is known about the host."""


class Invalid(NotFetched):
    """What was named may not be fetched, is missing, or is no acceptable document: what was good before has ended."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """`max_age` is for how many seconds the answer is fresh (RFC 9111 §4.2), 0 if it must not be kept, None if not said."""

    document: dict[str, Any]
    max_age: int | None


@dataclass(frozen=True, slots=True)
class TrustedForTests:
    """What a test's own https server needs: its CA's certificate (PEM), and addresses that are taken for public.

    Made and handed over by Python code, in `trusting`; no setting and no variable leads here (a test holds that).
    """

    authority: str
    addresses: frozenset[str] = field(default_factory=frozenset)

    def admits(self, address: Address) -> bool:
        return str(address) in self.addresses


_trusted: TrustedForTests | None = None


@contextmanager
def trusting(trusted: TrustedForTests) -> Iterator[None]:
    """For tests: inside, fetches accept this CA instead of the public ones, and these addresses as well."""
    global _trusted
    before, _trusted = _trusted, trusted
    try:
        yield
    finally:
        _trusted = before


class _Deadline:
    """The time that is left of a span of seconds."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds, more than none. Raises Unreachable when there are none."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise Unreachable(NOT_REACHED, reason="it took too long")
        return left


def fetch_json(url: str, *, deadline: float = DEADLINE) -> Fetched:
    """The JSON object at that URL. `deadline` is in seconds, from the look-up of the name to the last byte.

    Raises Unreachable (Busy among them) and Invalid.
    """
    address = _read(url)
    until = _Deadline(deadline)
    _take_turn(until)
    try:
        return _fetch(address, until, _trusted)
    finally:
        _fetches.release()


def _take_turn(deadline: _Deadline) -> None:
    """Takes one of the places, to be released. Raises Busy."""
    if _fetches.acquire(blocking=False):
        return
    if not _turns.acquire(blocking=False):
        raise Busy("too many documents are being fetched at this moment")
    try:
        if not _fetches.acquire(timeout=deadline.left()):
            raise Busy("too many documents are being fetched at this moment")
    finally:
        _turns.release()


def _fetch(url: WebAddress, deadline: _Deadline, trusted: TrustedForTests | None) -> Fetched:
    host, port = url.host.lower(), int(url.port or "443")
    addresses = _public_addresses(host, port, deadline, trusted)
    try:
        with (
            _connected(addresses, port, deadline) as plain,
            _secured(plain, host, deadline, trusted) as connection,
        ):
            return _ask(connection, url, deadline)
    except TimeoutError:
        raise Unreachable(NOT_REACHED, reason="it took too long") from None
    except ssl.SSLCertVerificationError as fault:
        raise Unreachable(NOT_REACHED, reason=f"its certificate is not good: {fault.verify_message}") from None
    except (OSError, ValueError) as fault:
        raise Unreachable(NOT_REACHED, reason=f"the connection failed: {type(fault).__name__}") from None


# ------------------------------------------------------------------ the URL


def _read(url: str) -> WebAddress:
    """The URL, taken apart. Raises Invalid."""
    try:
        address = web_address.read(url)
    except ValueError as fault:
        raise Invalid(f"its URL is not acceptable: {fault}") from None
    if why := why_not_fetchable(address):
        raise Invalid(f"its URL is not acceptable: {why}")
    return address


def why_not_fetchable(address: WebAddress) -> str | None:
    """Why nothing is fetched from there, whatever it resolves to, as a phrase fit for an answer; None when it may be."""
    if address.scheme != "https":
        return "it must begin with https://"
    if "#" in address.rest:
        return "it must not contain a fragment"
    # A last label of digits alone is an address, and `web_address` let it pass only as four decimal numbers.
    if address.host.startswith("[") or "." not in address.host or address.host.rpartition(".")[2].isdigit():
        return "its host must be a full name"
    if address.port not in ("", "443") and int(address.port) not in _PORTS:
        return "its port must be 443, or 1024 and above"
    return None


# ------------------------------------------------------------------ the addresses

_NOT_PUBLIC_V4: Final = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' NAT
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local; metadata services of clouds
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and the broadcast address
        "168.63.129.16/32",  # Azure's platform, inside every virtual machine there
    )
)
_GLOBAL_UNICAST: Final = ip_network("2000::/3")
"""Everything else is none, today: mapped and compatible IPv4, NAT64, unique local, link-local, site-local, multicast."""
_NOT_PUBLIC_V6: Final = tuple(
    ip_network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, benchmarking, ORCHID and others
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address inside
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE, 0x01005EFE, 0x03005EFE})


def is_public(address: Address) -> bool:
    """Whether the address is that of a host on the public internet, and holds no other address inside.

    Narrower than Python's `is_global`, which takes multicast for global, and what is translated to IPv4 on the way.
    """
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    if address not in _GLOBAL_UNICAST or any(address in network for network in _NOT_PUBLIC_V6):
        return False
    # ISATAP (RFC 5214 §6.1) may use any prefix; the interface identifier tells it.
    return (int(address) >> 32) & 0xFFFFFFFF not in _ISATAP


def _public_addresses(host: str, port: int, deadline: _Deadline, trusted: TrustedForTests | None) -> tuple[Address, ...]:
    """The addresses of the host, in the resolver's order. Raises Invalid when one of them is not public."""
    found = _resolved(host, port, deadline)
    if not found:
        raise Unreachable(NOT_REACHED, reason="its host has no address")
    if len(found) > MOST_ADDRESSES:
        raise Invalid(NOT_REACHED, reason="its host has too many addresses")
    for address in found:
        if not is_public(address) and not (trusted is not None and trusted.admits(address)):
            raise Invalid(NOT_REACHED, reason=f"its host is not on the public internet: {address}")
    return found


def _resolved(host: str, port: int, deadline: _Deadline) -> tuple[Address, ...]:
    """One look-up, on a thread of its own: the system's resolver knows no deadline. Raises Unreachable.

    A look-up that is abandoned keeps its place until the resolver gives up, so that they cannot pile up.
    """
    if not _lookups.acquire(blocking=False):
        raise Busy("too many names are being resolved at this moment")
    answers: list[tuple[Address, ...] | OSError | ValueError] = []

    def look_up() -> None:
        try:
            # The dot at the end: this very name, and none that a search list makes of it.
            rows = socket.getaddrinfo(f"{host}.", port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
            answers.append(tuple(dict.fromkeys(ip_address(row[4][0]) for row in rows)))
        except (OSError, ValueError) as fault:
            answers.append(fault)
        finally:
            _lookups.release()

    thread = threading.Thread(target=look_up, name="ovauth-lookup", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        _lookups.release()
        raise Busy("no thread is left to resolve the name") from None
    thread.join(deadline.left())
    if not answers:
        raise Unreachable(NOT_REACHED, reason="its host took too long to resolve")
    answer = answers[0]
    if isinstance(answer, Exception):
        raise Unreachable(NOT_REACHED, reason=f"its host cannot be resolved: {answer}")
    return answer


# ------------------------------------------------------------------ the connection


def _connected(addresses: Sequence[Address], port: int, deadline: _Deadline) -> socket.socket:
    """A connection to the first of these addresses that answers; each has its share of the time. Raises OSError."""
    tried = addresses[:MOST_TRIED]
    last: OSError = TimeoutError()
    for place, address in enumerate(tried):
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        plain = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            plain.settimeout(deadline.left() / (len(tried) - place))
            plain.connect((str(address), port))
        except OSError as failed:
            plain.close()
            last = failed
        except BaseException:
            plain.close()
            raise
        else:
            return plain
    raise last


def _secured(plain: socket.socket, host: str, deadline: _Deadline, trusted: TrustedForTests | None) -> ssl.SSLSocket:
    """TLS over the connection, for that name and no other. Raises OSError."""
    # Not `create_default_context`: that one reads SSL_CERT_FILE, SSL_CERT_DIR and SSLKEYLOGFILE.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if trusted is None:
        context.load_verify_locations(cafile=certifi.where())
    else:
        context.load_verify_locations(cadata=trusted.authority)
    # Python counts the whole handshake, and each send and receive, against one timeout.
    plain.settimeout(deadline.left())
    return context.wrap_socket(plain, server_hostname=host, suppress_ragged_eofs=False)


# ------------------------------------------------------------------ the answer


def _ask(connection: ssl.SSLSocket, url: WebAddress, deadline: _Deadline) -> Fetched:
    """One GET and its answer. Raises OSError, Unreachable, Invalid."""
    wire = h11.Connection(h11.CLIENT, max_incomplete_event_size=LARGEST)
    request = h11.Request(
        method="GET",
        target=url.rest if url.rest.startswith("/") else f"/{url.rest}",
        headers=[
            ("Host", url.authority),
            ("User-Agent", "ovauth"),
            ("Accept", "application/json"),
            ("Accept-Encoding", "identity"),
            ("Connection", "close"),
        ],
    )
    connection.settimeout(deadline.left())
    connection.sendall((wire.send(request) or b"") + (wire.send(h11.EndOfMessage()) or b""))
    try:
        return _read_answer(wire, _receiver(connection, deadline))
    except h11.RemoteProtocolError:
        raise Unreachable("its answer is not HTTP") from None


def _receiver(connection: ssl.SSLSocket, deadline: _Deadline) -> Callable[[], bytes]:
    """Gives the next bytes, nothing at the end; never later than the deadline, never more than LARGEST_ANSWER in all."""
    received = 0

    def receive() -> bytes:
        nonlocal received
        connection.settimeout(deadline.left())
        data = connection.recv(_CHUNK)
        received += len(data)
        if received > LARGEST_ANSWER:
            raise Invalid("its answer is too large")
        return data

    return receive


def _read_answer(wire: h11.Connection, receive: Callable[[], bytes]) -> Fetched:
    max_age: int | None = None
    body = bytearray()
    while True:
        match wire.next_event():
            case h11.NEED_DATA:
                wire.receive_data(receive())
            case h11.Response(status_code=status, headers=headers):
                named = _fields(headers)
                _judge(status, named)
                max_age = freshness(named, datetime.now(UTC))
            case h11.Data(data=data):
                body += data
                if len(body) > LARGEST:
                    raise Invalid(f"it is larger than {LARGEST // 1024} KiB")
            case h11.EndOfMessage():
                return Fetched(_parsed(bytes(body)), max_age)
            case h11.ConnectionClosed() | h11.PAUSED:
                raise Unreachable("its answer is not complete")
            case _:
                pass  # an interim answer (RFC 9110 §15.2): the real one is still to come


def _fields(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Header fields by their name in lower case; what comes more than once is joined as RFC 9110 §5.3 says."""
    named: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("ascii"), raw_value.decode("latin-1").strip()
        named[name] = f"{named[name]}, {value}" if name in named else value
    return named


def _judge(status: int, named: Mapping[str, str]) -> None:
    """Raises Unreachable or Invalid, unless an acceptable document follows."""
    if status in _TEMPORARY or status >= 500:
        raise Unreachable(f"its server answered {status}")
    if status != 200:
        raise Invalid(f"its server answered {status} instead of 200")
    if named.get("content-encoding", "identity").lower() != "identity":
        raise Invalid("it is compressed, although we asked for it as it is")
    media_type, *parameters = (part.strip().lower() for part in named.get("content-type", "").split(";"))
    if not _JSON.fullmatch(media_type):
        raise Invalid("its content type is not application/json")
    charsets = [part.removeprefix("charset=").strip('"') for part in parameters if part.startswith("charset=")]
    if any(charset not in ("utf-8", "utf8") for charset in charsets):
        raise Invalid("it is not in UTF-8")
    length = named.get("content-length", "")
    if length.isdecimal() and int(length[:12]) > LARGEST:
        raise Invalid(f"it is larger than {LARGEST // 1024} KiB")


def _parsed(body: bytes) -> dict[str, Any]:
    """The JSON object: UTF-8, nothing named twice, of bounded depth and count. Raises Invalid."""
    try:
        document = json.loads(body.decode("utf-8"), object_pairs_hook=_no_twins)
    except (ValueError, RecursionError):
        raise Invalid("it is not JSON in UTF-8 in which nothing is named twice") from None
    if not isinstance(document, dict):
        raise Invalid("it is not a JSON object")
    if fault := why_not_bounded(document):
        raise Invalid(f"it is not acceptable: {fault}")
    return document


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a member is named twice")
    return document


# ------------------------------------------------------------------ how long it may be kept


def freshness(named: Mapping[str, str], now: datetime) -> int | None:
    """For how many seconds an answer with these header fields (names in lower case) is fresh, as RFC 9111 §4.2 counts.

    0 when it must not be kept or cannot be understood, None when it says nothing. Many people's requests are answered from
    it, so this is a shared cache.
    """
    age = _seconds(named.get("age", "0"))
    if "cache-control" in named:
        directives = _directives(named["cache-control"])
        if directives is None or directives.keys() & {"no-store", "no-cache", "private"}:
            return 0
        for name in ("s-maxage", "max-age"):
            if name in directives:
                return max(0, _seconds(directives[name]) - age)
    if "expires" in named:
        expires, sent = _moment(named["expires"]), _moment(named.get("date", "")) or now
        return 0 if expires is None else max(0, int((expires - sent).total_seconds()) - age)
    return None


def _directives(text: str) -> dict[str, str] | None:
    """The directives of a Cache-Control field; of one that is repeated the first (RFC 9111 §4.2.1). None if unreadable."""
    directives: dict[str, str] = {}
    place = 0
    while place < len(text):
        found = _DIRECTIVE.match(text, place)
        if found is None:
            return None
        directives.setdefault(found[1].lower(), (found[2] or "").strip('"'))
        place = found.end()
    return directives


def _seconds(text: str) -> int:
    """RFC 9111 §1.2.2; what cannot be read is 0."""
    return min(int(text[:12]), 2**31) if text.isascii() and text.isdecimal() else 0


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
