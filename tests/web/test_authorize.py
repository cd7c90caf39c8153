"""The authorization endpoint (OAuth 2.1 §4.1.1, RFC 9207): to the page, to the client, or to nobody."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest

from ovauth.conf import Config
from ovauth.models import Client, PendingAuthorization
from ovauth.web.authorize import may_wait_for_others
from tests.conftest import CALLBACK, CHALLENGE, ISSUER, RESOURCE, registered
from tests.web.asking import FORM, Answer, Site
from tests.web.conftest import CHARSET, Rows, assert_refused

Fields = dict[str, Any]


def request_of(client: Client, **changes: Any) -> Fields:
    fields = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": client.redirect_uris[0],
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "state": "st",
    } | changes
    return {name: value for name, value in fields.items() if value is not None}


def authorize(site: Site, client: Client, **changes: Any) -> Answer:
    return site.get("/authorize", query=request_of(client, **changes))


def told_to_client(answer: Answer, redirect_uri: str = CALLBACK) -> dict[str, str]:
    """The parameters of a redirect that goes to the client, byte for byte to the address that was asked for."""
    assert answer.status == 302, answer
    location = answer.headers["location"]
    assert location.startswith(redirect_uri)
    assert answer.headers["cache-control"] == "no-store"
    query = urlsplit(location).query
    assert "" not in dict(parse_qsl(query, keep_blank_values=True)).values()
    parameters = {name: values[0] for name, values in parse_qs(query).items()}
    assert parameters["iss"] == ISSUER
    assert "access-control-allow-origin" not in answer.headers
    return parameters


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_valid_request_goes_to_the_page_and_waits(site: Site, client_app: Client, method: str) -> None:
    fields = request_of(client_app, resource=RESOURCE, prompt="consent", ui_locales="zh-Hans en", nonce="n")
    answer = authorize(site, client_app) if method == "GET" else site.post_form("/authorize", fields)
    assert answer.status == 302
    pending = PendingAuthorization.objects.get()
    assert answer.headers["location"].partition("&")[0] == f"/oauth/authorize/page?pending={pending.public_id}"
    assert answer.headers["cache-control"] == "no-store"
    assert pending.redirect_uri == CALLBACK
    assert pending.state == "st"
    assert pending.resource == RESOURCE
    assert pending.scope == "mcp"


def test_the_browser_is_told_apart_by_a_cookie_that_scripts_and_other_sites_do_not_get(
    site: Site, client_app: Client
) -> None:
    answer = authorize(site, client_app)
    cookie = next(value for name, value in answer.header_list if name == "set-cookie")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert "Domain" not in cookie
    assert "Secure" not in cookie  # http on loopback
    secure = site.get("/authorize", query=request_of(client_app), scheme="https")
    cookie = next(value for name, value in secure.header_list if name == "set-cookie")
    assert cookie.startswith("__Host-")
    assert "Secure" in cookie


def test_a_second_request_of_the_same_browser_keeps_the_first(site: Site, client_app: Client) -> None:
    cookies = authorize(site, client_app).cookies
    again = site.get(
        "/authorize",
        query=request_of(client_app),
        headers={"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())},
    )
    assert again.cookies == cookies


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code token"}, "unsupported_response_type"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge": CHALLENGE + "="}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": "s256"}, "invalid_request"),
        ({"scope": "unknown"}, "invalid_scope"),
        ({"scope": 'mcp "quoted"'}, "invalid_scope"),
        ({"resource": "https://elsewhere.example/mcp"}, "invalid_target"),
        ({"resource": [RESOURCE, "https://elsewhere.example/mcp"]}, "invalid_target"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"response_mode": "form_post"}, "invalid_request"),
        ({"state": "x" * 5000}, "invalid_request"),
        ({"scope": ["mcp", "fs"]}, "invalid_request"),
        ({"code_challenge": [CHALLENGE, CHALLENGE]}, "invalid_request"),
        ({"“quoted” name": ["1", "2"]}, "invalid_request"),
        ({'a"b\\c\r\n': ["1", "2"]}, "invalid_request"),
        ({"n" * 3000: ["1", "2"]}, "invalid_request"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_fault_travels_to_the_client_with_state_and_issuer(
    site: Site, client_app: Client, rows: Callable[[], Rows], changes: Fields, error: str, method: str
) -> None:
    before = rows()
    fields = request_of(client_app, **changes)
    answer = site.get("/authorize", query=fields) if method == "GET" else site.post_form("/authorize", fields)
    told = told_to_client(answer)
    assert told["error"] == error
    assert CHARSET.fullmatch(told["error_description"])
    assert len(told["error_description"]) <= 300
    assert told["state"] == (changes.get("state") or "st")
    assert rows() == before


def test_a_repeated_state_is_no_state(site: Site, client_app: Client) -> None:
    told = told_to_client(authorize(site, client_app, state=["a", "b"]))
    assert told["error"] == "invalid_request"
    assert "state" not in told


def test_a_client_without_the_code_grant_is_told_so(site: Site, client_app: Client) -> None:
    client_app.grant_types = ["client_credentials"]
    client_app.save()
    assert told_to_client(authorize(site, client_app))["error"] == "unauthorized_client"


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "cursor://anysphere.cursor-retrieval/oauth/callback",
        "com.example.app:/callback",
        "https://app.example/cb?tenant=7",
        "http://[::1]:5000/cb",
    ],
)
def test_a_redirect_keeps_the_registered_address_byte_for_byte(site: Site, redirect_uri: str) -> None:
    client = registered(redirect_uris=[redirect_uri])
    told = told_to_client(authorize(site, client, scope="unknown"), redirect_uri)
    assert told["error"] == "invalid_scope"


@pytest.mark.parametrize("asked", ["http://127.0.0.1:1/callback", "http://127.0.0.1:65535/callback"])
def test_any_port_on_loopback_will_do(site: Site, client_app: Client, asked: str) -> None:
    assert authorize(site, client_app, redirect_uri=asked).status == 302
    assert PendingAuthorization.objects.get().redirect_uri == asked


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": None},
        {"client_id": "unknown"},
        {"client_id": "<script>alert(1)</script>"},
        {"client_id": ["a", "b"]},
        {"redirect_uri": "https://evil.example/callback"},
        {"redirect_uri": CALLBACK + "/"},
        {"redirect_uri": CALLBACK + "?x=1"},
        {"redirect_uri": CALLBACK.upper()},
        {"redirect_uri": "http://localhost:33418/callback"},
        {"redirect_uri": "https://127.0.0.1:33418/callback"},
        {"redirect_uri": "javascript:alert(1)"},
        {"redirect_uri": "//evil.example"},
        {"redirect_uri": CALLBACK + "\r\nSet-Cookie: a=b"},
        {"redirect_uri": [CALLBACK, "https://evil.example/"]},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unproven_client_or_address_gets_a_page_and_never_a_redirect(
    site: Site, client_app: Client, rows: Callable[[], Rows], changes: Fields, method: str
) -> None:
    before = rows()
    fields = request_of(client_app, **changes)
    answer = site.get("/authorize", query=fields) if method == "GET" else site.post_form("/authorize", fields)
    assert_refused(answer, "page", status=400)
    assert "<script>alert" not in answer.text
    assert "content-security-policy" in answer.headers
    assert rows() == before


def test_a_blocked_client_is_not_answered_at_its_address(site: Site, client_app: Client) -> None:
    from django.utils import timezone

    client_app.blocked_at = timezone.now()
    client_app.save()
    assert_refused(authorize(site, client_app), "page", status=400)


@pytest.mark.parametrize(
    "query",
    [
        b"client_id=%FF",
        b"client_id=\xff",
        b"client_id=%00",
        b"client_id=a%00b&redirect_uri=x",
        "client_id=é".encode(),
        b"&".join(b"a%d=1" % n for n in range(100)),
        b"client_id=" + b"x" * 70_000,
    ],
)
def test_a_query_that_cannot_be_read_gets_a_page(site: Site, client_app: Client, query: bytes) -> None:
    more = b"&" + urlencode(request_of(client_app, client_id=None)).encode()
    assert_refused(site.ask("GET", "/authorize", query=query + more), "page")
    assert not PendingAuthorization.objects.exists()


@pytest.mark.parametrize("content_type", [None, "application/json", "text/plain", "multipart/form-data; boundary=x"])
def test_a_post_is_a_form(site: Site, client_app: Client, content_type: str | None) -> None:
    body = urlencode(request_of(client_app)).encode()
    assert_refused(site.ask("POST", "/authorize", body=body, content_type=content_type), "page", status=415)


def test_a_post_with_its_parameters_in_the_query_has_none(site: Site, client_app: Client) -> None:
    answer = site.ask("POST", "/authorize", query=request_of(client_app), content_type=FORM)
    assert_refused(answer, "page", status=400)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_get_a_page(site: Site, db: None, method: str) -> None:
    assert_refused(site.ask(method, "/authorize"), "page", status=405)


def test_a_flood_of_one_client_from_one_address_is_stopped_with_a_time(
    site: Site, client_app: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ovauth.flows import limits

    monkeypatch.setattr(limits, "PENDING_BY_CLIENT_AND_ADDRESS", limits.Limit("test", 2, 600))
    assert [authorize(site, client_app).status for _ in range(3)] == [302, 302, 429]
    assert int(authorize(site, client_app).headers["retry-after"]) > 0
    site.peer = "198.51.100.9"
    assert authorize(site, client_app).status == 302


def test_switched_off_nobody_is_asked(site: Site, client_app: Client, configure: Callable[..., Config]) -> None:
    configure(enabled=False)
    answer = authorize(site, client_app)
    assert_refused(answer, "page", status=404)
    assert "content-security-policy" in answer.headers
    assert not PendingAuthorization.objects.exists()


# ------------------------------------------------------------------ on which threads


@pytest.mark.parametrize(
    ("method", "path", "query", "waits"),
    [
        ("GET", "/authorize", b"client_id=Zm9v-_&state=x", False),
        ("GET", "/oauth/authorize", b"state=x&client_id=Zm9v-_", False),
        ("GET", "/auth/authorize", b"client_id=Zm9v", False),
        ("GET", "/authorize", b"client_id=https%3A%2F%2Fapp.example%2Fclient", True),
        ("GET", "/authorize", b"client_id=https://app.example/client", True),
        ("GET", "/authorize", b"client_id=%68ttps%3A%2F%2Fapp.example%2Fclient", True),
        ("GET", "/authorize", b"client%5Fid=https%3A%2F%2Fapp.example%2Fclient", True),
        ("GET", "/authorize", b"xclient_id=abc&client%5Fid=https%3A%2F%2Fapp.example", True),
        ("GET", "/authorize", b"client_id=abc;https", True),
        ("GET", "/authorize", b"", True),
        ("POST", "/authorize", b"client_id=Zm9v", True),
        ("GET", "/oauth/authorize/page", b"pending=x", False),
        ("GET", "/console/", b"client_id=https%3A%2F%2Fapp.example", False),
    ],
)
def test_only_an_app_that_is_surely_registered_shares_the_threads_of_the_pages(
    method: str, path: str, query: bytes, waits: bool
) -> None:
    assert may_wait_for_others({"method": method, "path": path, "query_string": query}) is waits
