"""A real https server on loopback with a CA of its own, that answers as a test wants, however badly."""

import ipaddress
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ovauth.fetching import TrustedForTests

HOST = "client.ovauth.test"
Answer = Callable[[ssl.SSLSocket], None]

_LONG_AGO, _FAR_AHEAD = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


class Authority:
    """A CA, made anew: its certificate in PEM, and server contexts for names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Test CA {id(self)}")])
        certificate = (
            self._builder(self._name, self._key, _FAR_AHEAD)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
        self.file = folder / f"ca-{id(self)}.pem"
        self.file.write_text(self.pem)

    def context(self, host: str = HOST, *, until: datetime = _FAR_AHEAD, self_signed: bool = False) -> ssl.SSLContext:
        """What a server of that name needs; `until` in the past is an expired certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        builder = self._builder(subject, key, until, issuer=subject if self_signed else None)
        certificate = builder.add_extension(x509.SubjectAlternativeName([_alternative_name(host)]), critical=False).sign(
            key if self_signed else self._key, hashes.SHA256()
        )
        file = self._folder / f"{id(key)}.pem"
        file.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, until: datetime, issuer: x509.Name | None = None
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_LONG_AGO)
            .not_valid_after(until)
        )


def _alternative_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


class HttpsServer:
    """Answers every connection on 127.0.0.1 with `answer`, on a thread of its own."""

    def __init__(self, context: ssl.SSLContext, answer: Answer | None = None) -> None:
        self.answer: Answer = answer or reply(b"{}")
        self.requests: list[bytes] = []
        self.stopped = threading.Event()
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []

    def url(self, path: str = "/client.json", host: str = HOST) -> str:
        return f"https://{host}:{self.port}{path}"

    def __enter__(self) -> "HttpsServer":
        self._start(self._accept)
        return self

    def __exit__(self, *exception: object) -> None:
        self.stopped.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _start(self, target: Callable[..., None], *given: Any) -> None:
        thread = threading.Thread(target=target, args=given, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                self._start(self._serve, plain)

    def _serve(self, plain: socket.socket) -> None:
        plain.settimeout(5)
        with suppress(OSError), plain, self._context.wrap_socket(plain, server_side=True) as connection:
            received = b""
            while b"\r\n\r\n" not in received:
                data = connection.recv(4096)
                if not data:
                    return
                received += data
            self.requests.append(received)
            self.answer(connection)
            with suppress(OSError, ValueError):  # ValueError: the answer ended the connection itself
                connection.unwrap()


def reply(
    body: bytes,
    *,
    status: str = "200 OK",
    content_type: str | None = "application/json",
    headers: tuple[str, ...] = (),
    length: int | None = None,
) -> Answer:
    """An answer with that body; `length` is what it claims to have."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
    if content_type is not None:
        lines.append(f"Content-Type: {content_type}")
    return say("\r\n".join([*lines, "", ""]).encode() + body)


def say(everything: bytes) -> Answer:
    """An answer of exactly these bytes."""

    def answer(connection: ssl.SSLSocket) -> None:
        connection.sendall(everything)

    return answer


# ------------------------------------------------------------------ names, and who is connected to


@dataclass
class Resolver:
    """Stands for the world's DNS: answers by name, one after the other, the last one for ever. Whoever asks is noted."""

    answers: dict[str, list[list[str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def getaddrinfo(self, host: Any, port: Any, *arguments: Any, **options: Any) -> list[Any]:
        self.asked.append(host)
        answers = self.answers.get(str(host).rstrip("."))
        if not answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [_row(address, port) for address in found]


def _row(address: str, port: int) -> Any:
    if ":" in address:
        return (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))


_connections: list[Any] | None = None
_hooked = False


@contextmanager
def watching_connections() -> Iterator[list[Any]]:
    """Every address that this process connects to inside, as the operating system is told it."""
    global _connections, _hooked
    if not _hooked:
        sys.addaudithook(_note)  # never to be taken away again
        _hooked = True
    _connections = []
    try:
        yield _connections
    finally:
        _connections = None


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and _connections is not None:
        _connections.append(arguments[1])


# ------------------------------------------------------------------ fixtures, for every room that fetches


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    """The only names that exist, for the whole process."""
    stand_in = Resolver({HOST: [["127.0.0.1"]]})
    monkeypatch.setattr(socket, "getaddrinfo", stand_in.getaddrinfo)
    return stand_in


@pytest.fixture
def server(authority: Authority, resolver: Resolver) -> Iterator[HttpsServer]:
    with HttpsServer(authority.context()) as running:
        yield running


def trusted(authority: Authority, *addresses: str) -> TrustedForTests:
    return TrustedForTests(authority=authority.pem, addresses=frozenset(addresses or ("127.0.0.1",)))
