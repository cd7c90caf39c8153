"""Where we are and who is asking; RFC 7239 §8 on why forwarded words are only as good as who forwards."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovauth.errors import InvalidRequest
from ovauth.rules import origin

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
PROXIES = (*LOOPBACK, ip_network("10.0.0.0/8"))


def decide(**given_):
    facts = {
        "public_base_url": None,
        "issuer": None,
        "trusted": LOOPBACK,
        "peer": "127.0.0.1",
        "scheme": "http",
        "host": "localhost:1933",
        "forwarded_for": None,
        "forwarded_proto": None,
        "forwarded_host": None,
    }
    return origin.decide(**{**facts, **given_})


FORWARDED = {"forwarded_for": "198.51.100.7", "forwarded_proto": "https", "forwarded_host": "ov.example.com"}


def test_the_request_itself_is_the_last_resort():
    assert decide().url == "http://localhost:1933"
    assert decide().client == "127.0.0.1"


def test_a_trusted_proxy_is_believed():
    found = decide(**FORWARDED)
    assert found == origin.Origin("https", "ov.example.com", "198.51.100.7", "", behind_proxy=True)


@pytest.mark.parametrize("peer", ["203.0.113.9", "2001:db8::1", None, "", "testclient"])
def test_a_stranger_is_not_believed(peer):
    found = decide(peer=peer, **FORWARDED)
    assert found.url == "http://localhost:1933"
    assert found.client == (peer if peer and peer != "testclient" else "")


def test_the_public_base_url_comes_first_and_the_issuer_second():
    both = {"public_base_url": "https://public.example", "issuer": "https://issuer.example/auth"}
    assert decide(**both, **FORWARDED).url == "https://public.example"
    assert decide(issuer=both["issuer"], **FORWARDED).url == "https://issuer.example/auth"
    assert decide(issuer=both["issuer"]).base_path == "/auth"


def test_the_client_address_follows_the_proxies_at_every_level():
    assert decide(public_base_url="https://public.example", **FORWARDED).client == "198.51.100.7"
    assert decide(public_base_url="https://public.example", peer="203.0.113.9", **FORWARDED).client == "203.0.113.9"


def test_a_configured_origin_needs_no_host():
    assert decide(public_base_url="https://public.example", host=None).host == "public.example"


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("1.1.1.1, 198.51.100.7", "198.51.100.7"),
        ("1.1.1.1, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
        ("1.1.1.1,198.51.100.7 ,10.0.0.2,10.0.0.3", "198.51.100.7"),
        ("10.0.0.1, 10.0.0.2", "10.0.0.1"),
        ("198.51.100.7, nonsense", "127.0.0.1"),
        ("198.51.100.7, nonsense, 10.0.0.2", "10.0.0.2"),
        ("198.51.100.7,,10.0.0.2", "10.0.0.2"),
        ("198.51.100.7:4711", "198.51.100.7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("2001:DB8::7", "2001:db8::7"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("1.1.1.1, ::ffff:10.0.0.2", "1.1.1.1"),
        ("fe80::1%<script>", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("unknown", "127.0.0.1"),
        ("", "127.0.0.1"),
        (None, "127.0.0.1"),
    ],
)
def test_the_chain_is_read_from_the_right(chain, client):
    assert decide(trusted=PROXIES, forwarded_for=chain).client == client


def test_a_mapped_peer_is_its_ipv4_self():
    assert decide(peer="::ffff:127.0.0.1", **FORWARDED).host == "ov.example.com"
    assert decide(peer="::ffff:203.0.113.9").client == "203.0.113.9"


def test_the_last_proxy_has_the_last_word_on_scheme_and_host():
    found = decide(forwarded_proto="http, https", forwarded_host="evil.example, ov.example.com")
    assert found.url == "https://ov.example.com"


def test_half_of_the_forwarded_headers_leaves_the_other_half_alone():
    assert decide(forwarded_proto="https").url == "https://localhost:1933"
    assert decide(forwarded_host="ov.example.com").url == "http://ov.example.com"


@pytest.mark.parametrize(
    ("scheme", "host", "url"),
    [
        ("http", "EXAMPLE.com:80", "http://example.com"),
        ("https", "example.com:443", "https://example.com"),
        ("https", "example.com:80", "https://example.com:80"),
        ("http", "[::1]:1933", "http://[::1]:1933"),
        ("http", "my_service:8000", "http://my_service:8000"),
        ("HTTP", "192.0.2.1", "http://192.0.2.1"),
    ],
)
def test_the_host_is_written_in_one_way(scheme, host, url):
    assert decide(scheme=scheme, host=host).url == url


BAD_HOSTS = [
    None, "", " ", "a b", "a/b", "a?b", "a#b", "a@b", "user:p@b", "a\\b", "a\n", "a\r\nX: y", "a,b", "a:",
    "a:0",
    "a:65536", "a:x", "a:80:80", "a:\u0668\u0660", "é.example", "[::1", "[::1%25eth0]", "[evil]", "a..b", ".",
    "a'b", 'a"b', "a<b>", "a;b", "a%2eb", "*",
]  # fmt: skip


@pytest.mark.parametrize("host", BAD_HOSTS)
def test_a_host_that_is_none_is_refused(host):
    with pytest.raises(InvalidRequest) as refused:
        decide(host=host)
    assert refused.value.reason.isprintable()


@pytest.mark.parametrize("host", ["a/b", "user@b", "ok.example, a@b", "a:0"])
def test_a_proxy_may_not_forward_such_a_host_either(host):
    with pytest.raises(InvalidRequest):
        decide(forwarded_host=host)


def test_an_unknown_scheme_is_refused():
    with pytest.raises(InvalidRequest):
        decide(forwarded_proto="javascript")


@given(st.text(), st.text(), st.text())
def test_no_forwarded_text_makes_anything_but_an_origin_or_a_refusal(chain, proto, host):
    try:
        found = decide(forwarded_for=chain, forwarded_proto=proto, forwarded_host=host)
    except InvalidRequest:
        return
    assert origin.why_not_base(found.url.replace("http://", "https://"), path_allowed=False) is None
    assert found.client


@pytest.mark.parametrize(
    ("url", "path_allowed", "good"),
    [
        ("https://ov.example.com", False, True),
        ("https://ov.example.com:8443", False, True),
        ("http://127.0.0.1:1933", False, True),
        ("http://localhost", False, True),
        ("http://[::1]:1933", False, True),
        ("https://ov.example.com/auth", True, True),
        ("https://ov.example.com/a/b", True, True),
        ("https://ov.example.com/auth", False, False),
        ("https://ov.example.com/", True, False),
        ("https://ov.example.com/auth/", True, False),
        ("https://ov.example.com//auth", True, False),
        ("https://ov.example.com/../auth", True, False),
        ("https://ov.example.com/%61uth", True, False),
        ("https://ov.example.com?", False, False),
        ("https://ov.example.com/a?b", True, False),
        ("https://ov.example.com#", False, False),
        ("https://user@ov.example.com", False, False),
        ("http://ov.example.com", False, False),
        ("http://localhost.evil.com", False, False),
        ("http://localhost@evil.com", False, False),
        ("ov.example.com", False, False),
        ("ftp://ov.example.com", False, False),
        ("", False, False),
        ("https://", False, False),
        (" https://ov.example.com", False, False),
    ],
)
def test_a_base_is_an_exact_string(url, path_allowed, good):
    assert (origin.why_not_base(url, path_allowed=path_allowed) is None) is good


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("LOCALHOST:80", True),
        ("127.0.0.1:1", True),
        ("127.9.9.9", True),
        ("[::1]", True),
        ("[::1]:8000", True),
        ("localhost.", False),
        ("localhost.evil.com", False),
        ("127.0.0.1.evil.com", False),
        ("localhost@evil.com", False),
        ("localhost/x", False),
        ("127.1", False),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("[::2]", False),
        ("", False),
    ],
)
def test_loopback_is_known_by_its_spelling(host, loopback):
    assert origin.is_loopback_host(host) is loopback


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False),
        ("localhost", False),
    ]
    + [("", False), ("::", False)],
)
def test_a_loopback_address_is_an_address(address, loopback):
    assert origin.is_loopback_address(address) is loopback
