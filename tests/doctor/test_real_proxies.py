"""nginx and Caddy as they are shipped and as people write them: the doctor has nothing to say, or the right thing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import certifi
import pytest

from ovauth.doctor import reaching
from tests.deploy import proxies
from tests.deploy.proxies import NotHere, free_port
from tests.doctor.conftest import PUBLIC, Examination
from tests.serving import Server

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("doctor")]

HOST = "proxy_set_header Host $http_host;"
FORWARDED_HOST = "proxy_set_header X-Forwarded-Host $http_host;"
PROTO = "proxy_set_header X-Forwarded-Proto $scheme;"
CONNECTION = 'proxy_set_header Connection "";'
ROOT = "location / {\n"

NGINX: dict[str, tuple[set[str], dict[str, str]]] = {
    "as it is shipped": (set(), {}),
    "without the name": ({"issuer-local"}, {HOST: "", FORWARDED_HOST: ""}),
    "with $host": ({"issuer-port"}, {HOST: HOST.replace("http_host", "host"), FORWARDED_HOST: ""}),
    "without the scheme": ({"issuer-scheme"}, {PROTO: ""}),
    "with nginx's own body limit": ({"body-limit"}, {"client_max_body_size 4m;": ""}),
    "with buffers": (
        {"streams-buffered"},
        {"proxy_buffering off;": "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;"},
    ),
    "with /mcp alone": ({"root-not-passed"}, {ROOT: "location /health/ {\n"}),
    "with an app at the root": (
        {"html-at-well-known"},
        {ROOT: "location /.well-known/ { default_type text/html; return 200 '<html></html>'; }\n    location / {\n"},
    ),
    "without Authorization": ({"authorization-stripped"}, {CONNECTION: f'{CONNECTION} proxy_set_header Authorization "";'}),
    "with CORS of its own": (
        {"cors-twice"},
        {CONNECTION: f"{CONNECTION} add_header Access-Control-Allow-Origin * always;"},
    ),
    "without the challenge": (
        {"challenge-stripped"},
        {CONNECTION: f"{CONNECTION} proxy_hide_header WWW-Authenticate;"},
    ),
    "with GET and POST alone": (
        {"preflight-refused"},
        {"location /mcp {\n": "location /mcp {\n        limit_except GET POST { deny all; }\n"},
    ),
    "with a login": (
        {"login-wall"},
        {ROOT: "location /.well-known/ { auth_basic 'Staff'; auth_basic_user_file /dev/null; }\n    location / {\n"},
    ),
    "with a rule for slashes": (
        {"post-redirected"},
        {"location /mcp {\n": "rewrite ^(.*)/$ $1 permanent;\n    location /mcp {\n"},
    ),
}


@contextmanager
def trusted(authority: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The proxy's authority is one that everybody knows, and localhost a name in the internet."""
    with monkeypatch.context() as patched:
        patched.setattr(certifi, "where", lambda: str(authority))
        patched.setattr(reaching, "_resolve", lambda target: [PUBLIC])
        yield


@pytest.mark.parametrize("how", NGINX)
def test_nginx(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    expected, changes = NGINX[how]
    try:
        with proxies.nginx(upstream=server.url, folder=tmp_path, port=free_port(), changes=changes) as proxy:
            assert proxy.authority is not None
            with trusted(proxy.authority, monkeypatch):
                examined = Examination(proxy.origin)
    except NotHere as why:
        pytest.skip(str(why))
    assert examined.found == expected


def test_caddy(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a certificate of its own authority, which this computer alone is told of."""
    try:
        with proxies.caddy(upstream=server.url, folder=tmp_path, port=free_port(), domain="localhost") as proxy:
            monkeypatch.setenv("SSL_CERT_FILE", str(proxy.authority))
            monkeypatch.setattr(reaching, "_resolve", lambda target: [PUBLIC])
            examined = Examination(proxy.origin, server.operator_api_key)
    except NotHere as why:
        pytest.skip(str(why))
    assert examined.found == {"certificate-private-authority"}
    assert examined.lines[-1].said.endswith("revoked and refused")
