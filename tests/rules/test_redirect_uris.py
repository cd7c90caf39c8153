"""RFC 8252 §7, RFC 9700 §2.1 and §4.1, and what browsers make of odd URLs."""

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovauth.rules import redirect_uris

WEB = [
    "https://claude.ai/api/mcp/auth_callback",
    "https://chatgpt.com/connector/oauth/AbC-1_2",
    "https://example.com",
    "https://example.com:8443/cb?tenant=1&x=a/b?c",
    "https://xn--bcher-kva.example/cb",
    "https://my_host.example/cb",
    "https://192.0.2.1/cb",
    "https://[2001:db8::1]:8443/cb",
    "https://example.com/%7Euser/@me/cb;v=1",
    "HTTPS://Example.COM/cb",
]
LOOPBACK = [
    "http://127.0.0.1/cb",
    "http://127.0.0.1:3334/oauth/callback",
    "http://localhost:6274/oauth/callback/debug?a=1",
    "http://localhost",
    "http://[::1]:1/cb",
    "HTTP://LOCALHOST:8080/cb",
]
APPS = [
    "cursor://anysphere.cursor-mcp/oauth/callback",
    "vscode://vscode.github-authentication/did-authenticate?windowId=1",
    "vscode-insiders://dynamicauthprovider/x",
    "com.example.app:/oauth2redirect",
    "com.example.app:///oauth2redirect",
    "claude://",
    "warp://mcp/oauth2callback",
    "msauth.com.example://auth",
]
REGISTRABLE = [*WEB, *LOOPBACK, *APPS]


@pytest.mark.parametrize("uri", REGISTRABLE)
def test_what_real_clients_register_is_accepted(uri):
    assert redirect_uris.why_not_registrable(uri) is None


@pytest.mark.parametrize(
    "scheme",
    [
        "javascript", "JavaScript", "data", "vbscript", "file", "blob", "about", "filesystem",
        "view-source", "ws", "wss", "ftp", "mailto", "tel", "sms", "chrome", "chrome-extension",
        "chrome-untrusted", "moz-extension", "jar", "intent", "content", "resource",
        "ms-settings", "ms-msdt", "search-ms", "mhtml", "web+cb", "ext+cb", "livescript",
        "x-apple.systempreferences", "itms-services", "android-app", "urn", "ssh", "smb",
        "ldap", "c", "d", "shell", "devtools", "edge", "safari-web-extension", "sip",
        "facetime", "geo", "magnet", "gopher", "telnet",
    ],
)  # fmt: skip
@pytest.mark.parametrize("rest", ["alert(1)", "//host/path", "/path", "///etc/passwd", "//%0aalert(1)"])
def test_an_executable_or_foreign_scheme_is_refused(scheme, rest):
    assert redirect_uris.why_not_registrable(f"{scheme}:{rest}") is not None
    assert redirect_uris.why_not_registrable(f"{scheme.upper()}:{rest}") is not None
    assert not redirect_uris.matches(f"{scheme}:{rest}", [f"{scheme}:{rest}"])


HOSTILE = {
    "plain http elsewhere": "http://example.com/cb",
    "loopback as user": "http://localhost@evil.com/",
    "loopback as user and port": "http://127.0.0.1:80@evil.com/",
    "empty user": "https://@example.com/cb",
    "user and password": "https://a:b@example.com/cb",
    "app with user": "cursor://user@host/cb",
    "loopback as label": "http://127.0.0.1.evil.com/",
    "localhost as label": "http://localhost.evil.com/",
    "localhost with a dot": "http://localhost./",
    "zone": "http://[::1%25eth0]/",
    "raw zone": "http://[::1%eth0]/",
    "short IPv4": "http://127.1/",
    "short IPv4 over https": "https://127.1/",
    "decimal IPv4": "https://2130706433/",
    "hexadecimal IPv4": "https://0x7f000001/",
    "octal IPv4": "https://0177.0.0.1/",
    "hexadecimal label": "https://1.2.3.0x4/",
    "other loopback": "http://127.0.0.2/",
    "unspecified": "http://0.0.0.0/cb",
    "long IPv6 loopback": "http://[0:0:0:0:0:0:0:1]/cb",
    "mapped loopback": "http://[::ffff:127.0.0.1]/cb",
    "broken IPv6": "https://[::1/cb",
    "text behind IPv6": "https://[::1]evil.com/cb",
    "full IPv6 garbage": "https://[evil.com]/cb",
    "backslash user": "https://evil.com\\@good.com",
    "backslashes": "https:\\\\evil.com/cb",
    "tab": "https://exa\tmple.com/cb",
    "newline": "https://example.com/cb\n",
    "carriage return": "\rhttps://example.com/cb",
    "NUL": "https://example.com/\0",
    "space": "https://example.com/a b",
    "leading space": " https://example.com/cb",
    "delete": "https://example.com/\x7f",
    "non-ASCII host": "https://exämple.com/cb",
    "full width": "https://ｅxample.com/cb",
    "long s": "httpſ://example.com/cb",
    "kelvin": "http://127.0.0.1/\u212a",
    "surrogate": "https://example.com/\ud800",
    "bidi": "https://example.com/\u202e",
    "fragment": "https://example.com/cb#x",
    "empty fragment": "https://example.com/cb#",
    "app fragment": "cursor://host/cb#",
    "wildcard host": "https://*.example.com/cb",
    "wildcard path": "https://example.com/*",
    "empty": "",
    "relative": "/cb",
    "scheme-relative": "//example.com/cb",
    "no host": "https:///cb",
    "no slashes": "https:example.com/cb",
    "one slash": "https:/example.com/cb",
    "only scheme": "https://",
    "host and port only": "localhost:8080/cb",
    "opaque app": "com.example.app:cb",
    "bare app": "cursor:",
    "empty port": "http://127.0.0.1:/cb",
    "port zero": "http://127.0.0.1:0/cb",
    "port too large": "http://127.0.0.1:65536/cb",
    "port of letters": "http://127.0.0.1:a/cb",
    "signed port": "https://example.com:+80/cb",
    "unicode port": "http://127.0.0.1:٨٠/cb",
    "leading zero": "https://example.com:0443/cb",
    "two ports": "http://127.0.0.1:80:80/cb",
    "percent in host": "https://good%2eexample/cb",
    "percent at": "https://good.com%40evil.com/cb",
    "broken percent": "https://example.com/%zz",
    "empty label": "https://a..example/cb",
    "comma host": "https://a,b/cb",
    "semicolon host": "https://a;b/cb",
    "quote": 'https://example.com/"',
    "angle": "https://example.com/<x>",
    "braces": "https://{tenant}.example.com/cb",
    "app with odd host": "cursor://a;b/cb",
    "app with brackets": "cursor://[::1]/cb",
    "digit scheme": "1password://cb",
    "overlong": "https://example.com/" + "a" * 2000,
}


@pytest.mark.parametrize("uri", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_could_mislead_is_refused_and_never_matches_itself(uri):
    fault = redirect_uris.why_not_registrable(uri)
    assert fault is not None
    assert fault.isascii()
    assert fault.isprintable()
    assert not {'"', "\\"} & set(fault)
    assert not redirect_uris.matches(uri, [uri])
    assert redirect_uris.destination(uri) == ""
    assert redirect_uris.origin(uri) is None
    assert not redirect_uris.is_loopback(uri)
    assert not redirect_uris.is_private_use(uri)


def test_the_longest_acceptable_uri_has_2000_characters():
    uri = "https://example.com/".ljust(2000, "a")
    assert redirect_uris.why_not_registrable(uri) is None
    assert redirect_uris.why_not_registrable(uri + "a") is not None


@pytest.mark.parametrize("uri", REGISTRABLE)
def test_a_registered_uri_matches_itself(uri):
    assert redirect_uris.matches(uri, ["https://other.example/", uri])
    assert not redirect_uris.matches(uri, [])


@pytest.mark.parametrize(
    ("asked", "registered"),
    [
        ("http://127.0.0.1:5000/cb", "http://127.0.0.1/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:5000/cb"),
        ("http://127.0.0.1:5000/cb?a=1", "http://127.0.0.1:9/cb?a=1"),
        ("http://localhost:5000", "http://localhost"),
        ("http://[::1]:5000/cb", "http://[::1]:6000/cb"),
    ],
)
def test_on_loopback_any_port_matches(asked, registered):
    assert redirect_uris.matches(asked, [registered])


@pytest.mark.parametrize(
    ("asked", "registered"),
    [
        ("http://127.0.0.1:5000/cb", "http://localhost/cb"),
        ("http://localhost:5000/cb", "http://LOCALHOST/cb"),
        ("http://[::1]/cb", "http://127.0.0.1/cb"),
        ("http://127.0.0.1/cb/", "http://127.0.0.1/cb"),
        ("http://127.0.0.1/CB", "http://127.0.0.1/cb"),
        ("http://127.0.0.1/a/../cb", "http://127.0.0.1/cb"),
        ("http://127.0.0.1/%63b", "http://127.0.0.1/cb"),
        ("http://127.0.0.1/cb?a=1", "http://127.0.0.1/cb"),
        ("http://127.0.0.1/cb?", "http://127.0.0.1/cb"),
        ("http://127.0.0.1/", "http://127.0.0.1"),
        ("https://127.0.0.1:5000/cb", "https://127.0.0.1/cb"),
        ("https://127.0.0.1/cb", "http://127.0.0.1/cb"),
        ("https://example.com:8443/cb", "https://example.com/cb"),
        ("https://example.com:443/cb", "https://example.com/cb"),
        ("https://Example.com/cb", "https://example.com/cb"),
        ("https://example.com/cb/x", "https://example.com/cb"),
        ("https://example.com/cb?x", "https://example.com/cb"),
        ("cursor://host:1/cb", "cursor://host:2/cb"),
        ("cursor://Host/cb", "cursor://host/cb"),
        ("http://127.0.0.1:99999/cb", "http://127.0.0.1/cb"),
    ],
)
def test_anything_else_that_differs_does_not_match(asked, registered):
    assert not redirect_uris.matches(asked, [registered])


def test_a_string_instead_of_a_list_matches_nothing():
    assert not redirect_uris.matches("https://example.com/cb", "https://example.com/cb?evil")


@pytest.mark.parametrize("uri", REGISTRABLE)
def test_every_uri_is_of_exactly_one_kind(uri):
    assert redirect_uris.is_loopback(uri) is (uri in LOOPBACK)
    assert redirect_uris.is_private_use(uri) is (uri in APPS)


def test_https_on_loopback_is_loopback_too():
    assert redirect_uris.is_loopback("https://localhost:8443/cb")
    assert not redirect_uris.is_loopback("https://localhost.evil.com/cb")


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://Claude.AI/api/cb?x=evil.com", "claude.ai"),
        ("https://example.com:443/cb", "example.com"),
        ("https://example.com:8443/cb", "example.com:8443"),
        ("https://[2001:DB8::1]:8443/cb", "[2001:db8::1]:8443"),
        ("http://127.0.0.1:3334/cb", "127.0.0.1"),
        ("http://LOCALHOST:3334", "localhost"),
        ("http://[::1]:3334/cb", "[::1]"),
        ("Cursor://claude.ai/cb", "cursor://"),
        ("com.example.app:/cb", "com.example.app:"),
        ("claude://", "claude://"),
    ],
)
def test_the_destination_is_what_a_person_can_judge(uri, shown):
    assert redirect_uris.destination(uri) == shown


@pytest.mark.parametrize(
    ("uri", "origin"),
    [
        ("https://Claude.AI/api/cb", "https://claude.ai"),
        ("https://example.com:443", "https://example.com"),
        ("HTTP://localhost:80/cb", "http://localhost"),
        ("http://localhost:443/cb", "http://localhost:443"),
        ("cursor://host/cb", None),
    ],
)
def test_only_web_uris_have_an_origin(uri, origin):
    assert redirect_uris.origin(uri) == origin


@pytest.mark.parametrize(
    ("uri", "gone_on"),
    [
        ("https://a.example", "https://a.example?code=x"),
        ("https://a.example/cb?", "https://a.example/cb?code=x"),
        ("https://a.example/cb?b", "https://a.example/cb?b&code=x"),
        ("https://a.example/cb?b=%7e&", "https://a.example/cb?b=%7e&code=x"),
        ("com.example.app:/cb", "com.example.app:/cb?code=x"),
    ],
)
def test_parameters_join_the_query(uri, gone_on):
    assert redirect_uris.with_parameters(uri, {"code": "x"}) == gone_on
    assert redirect_uris.with_parameters(uri, {}) == uri


@given(
    st.sampled_from(REGISTRABLE),
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
        st.text(st.characters(exclude_categories=["Cs"])),
    ),
)
def test_parameters_leave_every_byte_and_arrive_as_they_were(uri, parameters):
    gone_on = redirect_uris.with_parameters(uri, parameters)
    assert gone_on.startswith(uri)
    assert not {"\r", "\n", " ", "#"} & set(gone_on)
    before = parse_qsl(urlsplit(uri).query, keep_blank_values=True)
    after = parse_qsl(urlsplit(gone_on).query, keep_blank_values=True)
    assert after == before + list(parameters.items())


URIS = st.text(st.sampled_from("htps:/[]@.?#%\\*127ab%2f \n\tcursor-é"), max_size=30)
WEB_LIKE = st.builds(
    "{}://{}{}".format,
    st.sampled_from(["http", "https", "HTTP", "app"]),
    st.text(st.sampled_from("127.0locahst[]:@%-_e\\\t"), max_size=15),
    st.sampled_from(["", "/", "/cb", "?x", "\\@good.com"]),
)


@given(st.one_of(URIS, WEB_LIKE, st.sampled_from(REGISTRABLE)))
def test_matching_is_reflexive_on_exactly_the_registrable(uri):
    assert redirect_uris.matches(uri, [uri]) is (redirect_uris.why_not_registrable(uri) is None)


@given(WEB_LIKE)
def test_an_http_uri_that_is_accepted_goes_nowhere_but_to_loopback(uri):
    if uri.lower().startswith("http:") and redirect_uris.why_not_registrable(uri) is None:
        assert urlsplit(uri).hostname in {"127.0.0.1", "localhost", "::1"}
        assert redirect_uris.is_loopback(uri)


@given(st.sampled_from(LOOPBACK), st.integers(1, 65535))
def test_the_port_on_loopback_never_matters(uri, port):
    parts = urlsplit(uri)
    host = parts.netloc.rpartition(":")[0] if parts.port else parts.netloc
    asked = uri.replace(parts.netloc, f"{host}:{port}", 1)
    assert redirect_uris.matches(asked, [uri])
    assert redirect_uris.matches(uri, [asked])


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("http://app.example/cb", "scheme"),
        ("https://other.example/cb", "host"),
        ("https://app.example:8443/cb", "port"),
        ("https://app.example/other", "path"),
        ("https://app.example/cb?x=1", "query"),
        ("cursor://cb", "scheme"),
    ],
)
def test_a_developer_is_told_in_which_part_an_address_differs(asked: str, part: str) -> None:
    assert redirect_uris.difference(asked, ["https://app.example/cb"]) == f"it differs in the {part}"


def test_two_addresses_are_cut_where_they_part() -> None:
    (same, other), registered = redirect_uris.parted("https://a.example/x", ["https://a.example/y", "https://b.example/"])
    assert (same, other) == ("https://a.example/", "x")
    assert registered == [("https://a.example/", "y"), ("https://", "b.example/")]
    assert redirect_uris.difference("https://a.example/x", []) == "none is registered"
