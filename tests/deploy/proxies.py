"""Caddy and nginx as they are shipped, in front of a real server. What differs is where they listen and where files lie."""

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
DEADLINE = 30


class NotHere(Exception):
    """This machine has no such proxy. The message says so."""


@dataclass(frozen=True)
class Proxy:
    """A running proxy: where people reach it, and the certificate authority that they have to trust, if any."""

    origin: str
    authority: Path | None = None


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def caddy(*, upstream: str, folder: Path, port: int, domain: str = "") -> Iterator[Proxy]:
    """deploy/Caddyfile. Without a domain plain http, as compose.yaml starts it; with one https."""
    where = program("caddy")
    data = folder / "caddy"
    site = f"{domain}:{port}" if domain else f":{port}"
    env = {
        "SITE": site,
        "UPSTREAM": upstream.removeprefix("http://"),
        "ADMIN": f"127.0.0.1:{free_port()}",
        "HTTP_PORT": str(free_port()),
        "HOME": str(folder),
        "XDG_DATA_HOME": str(data),
        "XDG_CONFIG_HOME": str(data),
        "PATH": "",  # so that it finds no means to put its authority among those that this machine trusts
    }
    command = [where, "run", "--adapter", "caddyfile", "--config", str(DEPLOY / "Caddyfile")]
    proxy = Proxy(f"http://127.0.0.1:{port}")
    if domain:
        proxy = Proxy(f"https://{domain}:{port}", data / "caddy/pki/authorities/local/root.crt")
    with _running(command, env=env, log=folder / "caddy.log", proxy=proxy):
        yield proxy


@contextlib.contextmanager
def nginx(*, upstream: str, folder: Path, port: int, changes: dict[str, str] | None = None) -> Iterator[Proxy]:
    """deploy/nginx.conf, where its first lines say what to change; http { } around it is the machine's part."""
    where = program("nginx")
    authority, key = certificate(folder)
    http_port = free_port()
    text = (DEPLOY / "nginx.conf").read_text()
    for old, new in {
        "server 127.0.0.1:1933;": f"server {upstream.removeprefix('http://')};",
        "listen 80;": f"listen 127.0.0.1:{http_port};",
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "https://ov.example.com$request_uri": f"https://localhost:{port}$request_uri",
        "server_name ov.example.com": "server_name localhost",
        "/etc/letsencrypt/live/ov.example.com/fullchain.pem": str(authority),
        "/etc/letsencrypt/live/ov.example.com/privkey.pem": str(key),
        "/var/log/nginx/ovauth.log": str(folder / "access.log"),
        **(changes or {}),
    }.items():
        assert old in text, f"deploy/nginx.conf has no {old!r} any more"
        text = text.replace(old, new)
    (folder / "ovauth.conf").write_text(text)
    main = folder / "nginx.conf"
    paths = "".join(
        f"    {kind}_temp_path {folder / kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;\n" if os.geteuid() == 0 else ""
    main.write_text(
        f"{user}worker_processes 1;\npid {folder / 'nginx.pid'};\nevents {{}}\n"
        f"http {{\n{paths}    include {folder / 'ovauth.conf'};\n}}\n"
    )
    command = [where, "-p", str(folder), "-c", str(main), "-e", str(folder / "error.log"), "-g", "daemon off;"]
    proxy = Proxy(f"https://localhost:{port}", authority)
    with _running(command, env={"PATH": os.environ["PATH"]}, log=folder / "nginx.log", proxy=proxy):
        yield proxy


def program(name: str) -> str:
    """Where a program is. Raises NotHere."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise NotHere(f"{name} is not installed (apt-get install {name})")
    return found


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    files = folder / "fullchain.pem", folder / "privkey.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


@contextlib.contextmanager
def _running(command: list[str], *, env: dict[str, str], log: Path, proxy: Proxy) -> Iterator[None]:
    """The program, from the moment when it passes requests on until the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + DEADLINE
        while not _answers(proxy):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)  # between two questions
        yield
    finally:
        process.terminate()
        process.wait(DEADLINE)


def _answers(proxy: Proxy) -> bool:
    """Whether a request comes through; a certificate that is being made takes a moment longer than the port."""
    with contextlib.suppress(OSError, httpx2.HTTPError):
        verify = True if proxy.authority is None else ssl.create_default_context(cafile=str(proxy.authority))
        return httpx2.get(f"{proxy.origin}/health/live", verify=verify).status_code == 200
    return False
