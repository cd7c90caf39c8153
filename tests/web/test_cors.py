"""CORS: open to every web page where browser clients need it, without credentials; closed for everything with a face."""

import pytest

from tests.conftest import Person
from tests.web.asking import Answer, Site

ORIGIN = {"Origin": "https://inspector.example"}
OPEN = (
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
    "/.well-known/oauth-protected-resource",
    "/.well-known/oauth-protected-resource/mcp",
    "/.well-known/nothing",
    "/register",
    "/register/unknown",
    "/token",
    "/revoke",
    "/introspect",
    "/device_authorization",
    "/mcp",
    "/mcp/",
)
CLOSED = (
    "/",
    "/authorize",
    "/oauth/authorize/page",
    "/oauth/authorize/page/status",
    "/api/v1/whoami",
    "/api/v1/auth/oauth-verify",
    "/api/v1/auth/otp",
    "/console/",
    "/console/login",
    "/console/verify",
    "/admin/",
    "/health/live",
    "/tokens",
    "/mcp-elsewhere",
    "/registered",
    "/nothing",
)
LISTED = "Authorization, Content-Type, Mcp-Protocol-Version, Mcp-Session-Id, Mcp-Method, Mcp-Name, Last-Event-ID"
EXPOSED = {"WWW-Authenticate", "Mcp-Session-Id", "Mcp-Protocol-Version", "Retry-After"}


def preflight(site: Site, path: str, *, method: str = "POST", headers: str | None = None) -> Answer:
    asked = ORIGIN | {"Access-Control-Request-Method": method}
    if headers is not None:
        asked |= {"Access-Control-Request-Headers": headers}
    return site.ask("OPTIONS", path, headers=asked)


def listed(answer: Answer, name: str) -> set[str]:
    return {part.strip().lower() for part in answer.headers[name].split(",")}


@pytest.mark.parametrize("path", OPEN)
def test_every_answer_may_be_read_errors_included(site: Site, db: None, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = site.ask(method, path, headers=ORIGIN)
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers
        assert listed(answer, "access-control-expose-headers") == {name.lower() for name in EXPOSED}


@pytest.mark.parametrize("path", OPEN)
def test_a_preflight_names_the_headers_that_clients_need(site: Site, db: None, path: str) -> None:
    answer = preflight(site, path, headers=LISTED)
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
    assert {name.strip().lower() for name in LISTED.split(",")} <= listed(answer, "access-control-allow-headers")
    assert {"get", "post", "put", "delete"} <= listed(answer, "access-control-allow-methods")
    assert int(answer.headers["access-control-max-age"]) > 0


def test_a_preflight_without_headers_is_fine_and_one_for_others_is_not(site: Site, db: None) -> None:
    assert preflight(site, "/token").status == 200
    assert preflight(site, "/token", headers="X-Evil").status == 400
    assert preflight(site, "/token", headers="Authorization, X-Evil").status == 400
    assert preflight(site, "/token", method="PATCH").status == 400


def test_a_cookie_changes_nothing(site: Site, db: None) -> None:
    answer = site.ask("POST", "/token", headers=ORIGIN | {"Cookie": "sessionid=x"})
    assert answer.headers["access-control-allow-origin"] == "*"


def test_without_an_origin_nothing_is_said(site: Site, db: None) -> None:
    assert "access-control-allow-origin" not in site.ask("POST", "/token").headers


@pytest.mark.parametrize("path", CLOSED)
def test_pages_and_the_api_are_never_open(site: Site, alice: Person, path: str) -> None:
    for answer in (
        site.get(path, headers=ORIGIN),
        site.ask("POST", path, headers=ORIGIN),
        site.get(path, headers=ORIGIN, key=alice.api_key),
        preflight(site, path, headers=LISTED),
        site.ask("GET", path, headers=ORIGIN, body=b"x" * 200_000),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control-")], path


def test_what_is_refused_before_the_endpoint_may_be_read_too(site: Site, db: None) -> None:
    too_large = site.ask("POST", "/token", headers=ORIGIN, body=b"x" * 200_000)
    assert (too_large.status, too_large.headers["access-control-allow-origin"]) == (413, "*")
    unreadable = site.ask("POST", "/token", headers=ORIGIN, query=b"\xff")
    assert (unreadable.status, unreadable.headers["access-control-allow-origin"]) == (400, "*")
    no_host = site.ask("POST", "/token", headers=ORIGIN, host="not a host")
    assert (no_host.status, no_host.headers["access-control-allow-origin"]) == (400, "*")
