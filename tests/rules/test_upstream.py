"""What goes on to an upstream and what comes back: nothing that could pass for our word, nothing that is for one hop."""

import pytest

from ovauth.rules import upstream


def onward(*headers: tuple[bytes, bytes], own: bytes = b"Authorization") -> list[bytes]:
    return [name for name, _ in upstream.onward(headers, own=own)]


@pytest.mark.parametrize(
    "name",
    [
        b"X-Ovauth-User",
        b"x_ovauth_user",
        b"X-Ovauth_Anything",
        b"Authorization",
        b"X-Api-Key",
        b"x_api_key",
        b"Cookie",
        b"Proxy-Authorization",
        b"Host",
        b"Content-Length",
        b"Transfer-Encoding",
        b"Upgrade",
        b"TE",
        b"Origin",
        b"Forwarded",
        b"X-Forwarded-For",
        b"X_Forwarded_Host",
        b"Expect",
    ],
)
def test_it_does_not_go_on(name: bytes) -> None:
    assert onward((name, b"1"), (b"Accept", b"*/*")) == [b"accept"]


@pytest.mark.parametrize(
    "name", [b"mcp-session-id", b"mcp-protocol-version", b"mcp-method", b"last-event-id", b"user-agent"]
)
def test_it_goes_on(name: bytes) -> None:
    assert onward((name, b"1")) == [name]


def test_headers_that_connection_names_are_for_this_hop() -> None:
    assert onward((b"Connection", b"close, X-Hop"), (b"x-hop", b"1"), (b"x-own", b"1")) == [b"x-own"]


def test_the_name_that_carries_the_upstreams_key_is_ours() -> None:
    assert onward((b"X-Notes-Key", b"mine"), (b"x_notes_key", b"mine"), own=b"x-notes-key") == []


def test_what_the_upstream_says_about_its_own_origin_stays_there() -> None:
    sent = [
        (b"Set-Cookie", b"a=b"),
        (b"WWW-Authenticate", b"Basic"),
        (b"Access-Control-Allow-Origin", b"*"),
        (b"Connection", b"x-hop"),
        (b"X-Hop", b"1"),
        (b"Content-Type", b"text/event-stream"),
        (b"Mcp-Session-Id", b"s"),
    ]
    assert upstream.back(sent) == [(b"content-type", b"text/event-stream"), (b"mcp-session-id", b"s")]


@pytest.mark.parametrize(
    ("challenge", "missed"),
    [
        ('Bearer error="insufficient_scope", scope="a b"', ("a", "b")),
        ('Bearer scope="a", error=insufficient_scope, resource_metadata="x"', ("a",)),
        ('Bearer error="insufficient_scope"', ()),
        ('Bearer error="invalid_token", scope="a"', ()),
        ("Basic", ()),
    ],
)
def test_an_upstream_asks_for_scopes_as_rfc_6750_says(challenge: str, missed: tuple[str, ...]) -> None:
    assert upstream.missed_scopes([challenge]) == missed


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Authorization: Bearer", ("Authorization", "Bearer")),
        ("X-Api-Key", ("X-Api-Key", "")),
        ("Cookie", ("Cookie", "")),
    ],
)
def test_a_header_for_the_key_is_a_name_or_a_name_and_a_scheme(text: str, read: tuple[str, str]) -> None:
    assert upstream.why_not_header(text) is None
    assert upstream.read_header(text) == read


@pytest.mark.parametrize("text", ["", ": Bearer", "a b", "X-Key: a b", "X-Ovauth-User", "Mcp-Session-Id", "Host", "Accept"])
def test_other_headers_cannot_carry_the_key(text: str) -> None:
    assert upstream.why_not_header(text)


@pytest.mark.parametrize("url", ["ftp://a/mcp", "http://u:p@a/mcp", "http://a/mcp#x", "/mcp", "http://a b/mcp"])
def test_it_is_no_url_of_an_upstream(url: str) -> None:
    assert upstream.why_not_url(url)


def test_a_query_may_hold_a_key_and_is_not_shown() -> None:
    assert upstream.why_not_url("https://a.example/mcp?key=1") is None
    assert upstream.shown("https://a.example/mcp?key=1") == "https://a.example/mcp"
