"""The four levels of the public origin, end to end: what a client is told, what a browser is sent, who is counted."""

import re
from collections.abc import Callable
from ipaddress import ip_network
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ovauth.conf import Config
from ovauth.models import AuditEvent, Client, PendingAuthorization
from tests.conftest import CALLBACK, CHALLENGE, Person
from tests.web.asking import Answer, Site
from tests.web.conftest import assert_refused

METADATA = "/.well-known/oauth-authorization-server"
FORWARDED = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "ov.example", "X-Forwarded-For": "198.51.100.4"}
PROXY = "127.0.0.1"
STRANGER = "203.0.113.7"


def issuer(site: Site, **asked: Any) -> str:
    found: str = site.get(METADATA, **asked).json()["issuer"]
    return found


def test_first_the_public_base_url_then_the_issuer(site: Site, configure: Callable[..., Config]) -> None:
    configure(public_base_url="https://first.example", issuer="https://second.example/path")
    assert issuer(site, headers=FORWARDED, peer=PROXY) == "https://first.example"
    configure(public_base_url=None)
    assert issuer(site, headers=FORWARDED, peer=PROXY) == "https://second.example/path"


def test_third_what_a_trusted_proxy_says(site: Site, db: None) -> None:
    assert issuer(site, headers=FORWARDED, peer=PROXY) == "https://ov.example"
    assert issuer(site, headers=FORWARDED, peer="::1") == "https://ov.example"


def test_fourth_the_requests_own_words(site: Site, db: None) -> None:
    assert issuer(site) == "http://testserver"
    assert issuer(site, host="127.0.0.1:1933") == "http://127.0.0.1:1933"
    assert issuer(site, host="OV.Example:443", scheme="https") == "https://ov.example"
    assert issuer(site, host="[::1]:1933") == "http://[::1]:1933"


def test_a_stranger_is_not_believed(site: Site, db: None) -> None:
    assert issuer(site, headers=FORWARDED, peer=STRANGER) == "http://testserver"


def test_whom_to_believe_is_configured(site: Site, configure: Callable[..., Config]) -> None:
    configure(trusted_proxies=(ip_network("203.0.113.0/24"),))
    assert issuer(site, headers=FORWARDED, peer=STRANGER) == "https://ov.example"
    assert issuer(site, headers=FORWARDED, peer=PROXY) == "http://testserver"
    configure(trusted_proxies=())
    assert issuer(site, headers=FORWARDED, peer=STRANGER) == "http://testserver"


def test_lists_are_read_from_the_right(site: Site, db: None) -> None:
    sent = {"X-Forwarded-Proto": "http, https", "X-Forwarded-Host": "evil.example, ov.example"}
    assert issuer(site, headers=sent, peer=PROXY) == "https://ov.example"
    twice = [("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Host", "ov.example"), ("X-Forwarded-Proto", "https")]
    assert issuer(site, headers=twice, peer=PROXY) == "https://ov.example"


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        (STRANGER, None, STRANGER),
        (STRANGER, "198.51.100.4", STRANGER),
        (PROXY, None, PROXY),
        (PROXY, "198.51.100.4", "198.51.100.4"),
        (PROXY, "6.6.6.6, 198.51.100.4", "198.51.100.4"),
        (PROXY, "6.6.6.6, 198.51.100.4, 127.0.0.2", "198.51.100.4"),
        (PROXY, "198.51.100.4, nonsense", PROXY),
        (PROXY, "2001:db8::1", "2001:db8::1"),
        ("::ffff:127.0.0.1", "198.51.100.4", "198.51.100.4"),
    ],
)
def test_the_address_that_is_noted_is_the_clients(
    site: Site, db: None, peer: str, forwarded_for: str | None, client: str
) -> None:
    headers = {"X-Forwarded-For": forwarded_for} if forwarded_for else {}
    answer = site.post_json("/register", {"redirect_uris": [CALLBACK]}, peer=peer, headers=headers)
    assert answer.status == 201
    assert AuditEvent.objects.get(event="client.registered").ip == client


@pytest.mark.parametrize(
    "asked",
    [
        {"host": "a b"},
        {"host": ""},
        {"host": "user@host"},
        {"host": "host/path"},
        {"host": "host:99999"},
        {"host": "host", "headers": [("Host", "other")]},
        {"headers": {"X-Forwarded-Host": "a b"}, "peer": PROXY},
        {"headers": {"X-Forwarded-Proto": "javascript"}, "peer": PROXY},
    ],
)
def test_a_malformed_origin_is_refused_in_shape(site: Site, db: None, asked: dict[str, Any]) -> None:
    assert_refused(site.get(METADATA, **asked), "well-known", status=400, error="invalid_request")
    assert_refused(site.ask("POST", "/token", **asked), "oauth", status=400, error="invalid_request")
    assert_refused(site.get("/api/v1/whoami", **asked), "api", status=400, error="invalid_request")
    assert_refused(site.get("/authorize", **asked), "page", status=400)
    assert site.ask("POST", "/mcp", **asked).status == 400


def test_behind_https_cookies_are_secure_and_the_issuer_goes_with_every_answer(site: Site, client_app: Client) -> None:
    answer = begin(site, client_app, headers=FORWARDED, peer=PROXY)
    cookie = next(value for name, value in answer.header_list if name == "set-cookie")
    assert cookie.startswith("__Host-ovauth_browser=")
    assert "Secure" in cookie
    assert PendingAuthorization.objects.get().resource == "https://ov.example/mcp"
    assert PendingAuthorization.objects.get().ip == "198.51.100.4"
    faulty = begin(site, client_app, headers=FORWARDED, peer=PROXY, scope="unknown")
    assert parse_qs(urlsplit(faulty.headers["location"]).query)["iss"] == ["https://ov.example"]


def begin(site: Site, client: Client, path: str = "/authorize", scope: str = "mcp", **asked: Any) -> Answer:
    query = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": CALLBACK,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "scope": scope,
    }
    return site.get(path, query=query, **asked)


# ------------------------------------------------------------------ an issuer with a path


@pytest.fixture
def below(configure: Callable[..., Config]) -> str:
    configure(issuer="https://host.example/auth")
    return "https://host.example/auth"


@pytest.mark.parametrize("prefix", ["/auth", ""], ids=["passed on", "cut off by the proxy"])
def test_below_a_path_everything_is_served_and_says_so(
    site: Site, below: str, prefix: str, client_app: Client, alice: Person
) -> None:
    made = site.post_json(f"{prefix}/register", {"redirect_uris": [CALLBACK]})
    assert made.status == 201
    assert made.json()["registration_client_uri"].startswith(f"{below}/register/")
    assert site.get(f"{prefix}/api/v1/whoami", key=alice.api_key).status == 200
    assert site.get(f"{prefix}/health/live").status == 200
    page = begin(site, client_app, f"{prefix}/authorize")
    assert page.headers["location"].startswith("/auth/oauth/authorize/page?pending=")
    faulty = begin(site, client_app, f"{prefix}/authorize", scope="unknown")
    assert parse_qs(urlsplit(faulty.headers["location"]).query)["iss"] == [below]
    challenge = site.ask("POST", f"{prefix}/mcp").headers["www-authenticate"]
    assert "https://host.example/.well-known/oauth-protected-resource/auth/mcp" in challenge
    assert_refused(site.ask("POST", f"{prefix}/token"), "oauth", status=415)
    assert_refused(site.get(f"{prefix}/api/v1/nothing"), "api", status=404)
    assert_refused(site.get(f"{prefix}/nothing"), "page", status=404)


@pytest.mark.parametrize("path", ["/auth", "/auth/", "/"])
def test_the_path_itself_leads_to_the_console_below_it(site: Site, below: str, path: str) -> None:
    answer = site.get(path)
    assert (answer.status, answer.headers["location"]) == (302, "/auth/console/")


def test_only_whole_segments_are_the_path(site: Site, below: str) -> None:
    assert_refused(site.get("/authx/health/live"), "page", status=404)


def test_well_known_names_stand_at_the_root_with_the_path_inserted(site: Site, below: str) -> None:
    assert site.get(f"{METADATA}/auth").json()["issuer"] == below
    assert site.get("/.well-known/oauth-protected-resource/auth/mcp").json()["resource"] == f"{below}/mcp"
    assert_refused(site.get(f"{METADATA}/other"), "well-known", status=404)
    assert_refused(site.get("/auth/.well-known/nothing"), "well-known", status=404)


@pytest.mark.parametrize("path", ["/token", "/auth/token"])
def test_below_a_path_browsers_may_still_read(site: Site, below: str, path: str) -> None:
    answer = site.ask("POST", path, headers={"Origin": "https://a.example"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-origin" not in site.get("/auth/authorize", headers={"Origin": "https://a.b"}).headers


def test_a_request_id_is_taken_from_a_trusted_proxy_alone(site: Site) -> None:
    sent = {"X-Request-Id": "chosen-outside"}
    assert site.get("/health/live", peer="127.0.0.1", headers=sent).headers["x-request-id"] == "chosen-outside"
    made = site.get("/health/live", peer="203.0.113.7", headers=sent).headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", made)
    refused = site.get("/authorize", query={"client_id": "nobody"}, peer="203.0.113.7")
    assert refused.headers["x-request-id"] in refused.text
