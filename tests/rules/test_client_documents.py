"""What the URL of a client's document looks like, and what the document must say."""

from typing import Any

import pytest

from ovauth.errors import InvalidClientMetadata, InvalidRedirectUri
from ovauth.rules import client_documents

URL = "https://app.example.com/oauth/client.json"
KEYS = {"keys": [{"kty": "EC", "crv": "P-256", "x": "x", "y": "y"}]}


def document(**changes: Any) -> dict[str, Any]:
    """A good document; a change to None leaves the member out."""
    members = {
        "client_id": URL,
        "client_name": "Example",
        "redirect_uris": ["https://app.example.com/callback"],
        "token_endpoint_auth_method": "none",
    } | changes
    return {name: value for name, value in members.items() if value is not None}


def read(found: object, client_id: str = URL) -> Any:
    return client_documents.read(found, client_id=client_id, known_scopes=("mcp", "fs"), default_scopes=("mcp",))


# ------------------------------------------------------------------ the URL


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "https://app.example.com/c",
        "https://app.example.com:8443/c",
        "https://app.example.com/client.json/",
        "https://app.example.com/...",
        "https://app.example.com/.well-known/client",
        "https://app.example.com/a%2Fb",
        "https://xn--bcher-kva.example/client",
        "https://app.example.com/" + "a" * 231,
    ],
)
def test_an_https_url_with_a_path_can_be_a_client_id(url: str) -> None:
    assert client_documents.why_not_client_id(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "client",
        "http://app.example.com/client.json",
        "HTTPS://app.example.com/client.json",
        "https://app.example.com",
        "https://app.example.com/",
        "https://app.example.com?client",
        "https://app.example.com/client.json?v=1",
        "https://app.example.com/client.json?",
        "https://app.example.com/client.json#top",
        "https://app.example.com/client.json#",
        "https://me@app.example.com/client.json",
        "https://me:secret@app.example.com/client.json",
        "https://@app.example.com/client.json",
        "https://app.example.com/./client.json",
        "https://app.example.com/a/../client.json",
        "https://app.example.com/a/..",
        "https://app.example.com/.",
        "https://app.example.com/a/%2e%2E/client.json",
        "https://app.example.com/a/.%2e/client.json",
        "https://app.example.com/%2E",
        "https://app.example.com:0/client.json",
        "https://app.example.com:/client.json",
        "https://app.example.com/clïent.json",
        "https://app.example.com/client .json",
        "https://app.example.com\\client.json",
        "https://app.example.com/%zz",
        "https://app.example.com/" + "a" * 232,
    ],
)
def test_everything_else_cannot(url: str) -> None:
    assert client_documents.why_not_client_id(url)


def test_its_host_is_named_as_settings_name_hosts() -> None:
    assert client_documents.host("https://App.Example.com:443/c") == "app.example.com"
    assert client_documents.host("https://app.example.com:8443/c") == "app.example.com:8443"
    for good in ("claude.ai", "app.example.com:8443", "xn--bcher-kva.example"):
        assert client_documents.why_not_host(good) is None
    for bad in ("", "Claude.ai", "claude.ai/", "claude.ai:443", "https://claude.ai", "*.ai", "me@a.b", "true", "a b.c"):
        assert client_documents.why_not_host(bad)


@pytest.mark.parametrize(
    ("redirect_uri", "vouched"),
    [
        ("https://app.example.com/callback", True),
        ("https://APP.example.com:443/callback", True),
        ("https://app.example.com:8443/callback", False),
        ("https://example.com/callback", False),
        ("https://sub.app.example.com/callback", False),
        ("http://localhost:3000/callback", False),
        ("http://127.0.0.1/callback", False),
        ("example://app.example.com/callback", False),
        ("https://app.example.com@evil.example/callback", False),
        ("", False),
    ],
)
def test_a_host_vouches_for_redirects_to_itself_alone(redirect_uri: str, vouched: bool) -> None:
    assert client_documents.vouches(URL, redirect_uri) is vouched


def test_an_identifier_that_is_no_url_vouches_for_nothing() -> None:
    assert not client_documents.vouches("client", "https://app.example.com/callback")


# ------------------------------------------------------------------ the document


def test_a_good_document_says_who_the_client_is() -> None:
    said = read(document(logo_uri="https://app.example.com/logo.svg", unknown_member=1))
    assert said.client_name == "Example"
    assert said.redirect_uris == ("https://app.example.com/callback",)
    assert said.token_endpoint_auth_method == "none"
    assert said.grant_types == ("authorization_code", "refresh_token")
    assert said.scope == "mcp"
    assert said.extra == {"logo_uri": "https://app.example.com/logo.svg"}


@pytest.mark.parametrize(
    "client_id",
    [
        None,
        "",
        1,
        [URL],
        {"url": URL},
        URL + "/",
        URL + "?",
        URL + "#",
        URL.upper(),
        "HTTPS" + URL[5:],
        URL.replace("app.example.com", "App.example.com"),
        URL.replace("app.example.com", "app.example.com:443"),
        URL.replace("client", "%63lient"),
        "http" + URL[5:],
        f" {URL}",
    ],
)
def test_a_document_that_names_another_url_even_an_equivalent_one_is_refused(client_id: object) -> None:
    with pytest.raises(InvalidClientMetadata, match="client_id must be exactly"):
        read(document(client_id=client_id))


@pytest.mark.parametrize("found", [None, [], "text", 1, [document()]])
def test_what_is_no_object_is_no_document(found: object) -> None:
    with pytest.raises(InvalidClientMetadata):
        read(found)


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "client_secret_jwt"])
def test_a_secret_that_everybody_can_read_is_none(method: str) -> None:
    with pytest.raises(InvalidClientMetadata, match="shared secret"):
        read(document(token_endpoint_auth_method=method))


@pytest.mark.parametrize("member", ["client_secret", "client_secret_expires_at"])
@pytest.mark.parametrize("value", ["s3cret", "", 0, False])
def test_a_document_with_a_secret_inside_is_refused(member: str, value: object) -> None:
    with pytest.raises(InvalidClientMetadata, match="client_secret"):
        read(document(**{member: value}))


@pytest.mark.parametrize("method", ["tls_client_auth", "attest_jwt_client_auth", "None", 1, ["none"]])
def test_other_ways_to_authenticate_are_refused(method: object) -> None:
    with pytest.raises(InvalidClientMetadata):
        read(document(token_endpoint_auth_method=method))


def test_a_document_that_names_no_method_is_that_of_a_public_client() -> None:
    assert read(document(token_endpoint_auth_method=None)).token_endpoint_auth_method == "none"


def test_private_key_jwt_comes_with_keys_or_with_their_address_and_not_with_both() -> None:
    method = {"token_endpoint_auth_method": "private_key_jwt"}
    assert read(document(**method, jwks=KEYS)).extra == {"jwks": KEYS}
    assert "jwks_uri" in read(document(**method, jwks_uri="https://app.example.com/keys")).extra
    for wrong in (
        {},
        {"jwks": KEYS, "jwks_uri": "https://app.example.com/keys"},
        {"jwks": {"keys": [{"kty": "EC", "d": "private"}]}},
        {"jwks_uri": "http://app.example.com/keys"},
        {"jwks_uri": "file:///etc/passwd"},
    ):
        with pytest.raises(InvalidClientMetadata):
            read(document(**method, **wrong))


def test_a_document_without_redirect_uris_or_with_dangerous_ones_is_refused() -> None:
    for uris in (None, [], ["javascript:alert(1)"], ["http://app.example.com/callback"], ["https://*.example.com/cb"]):
        with pytest.raises(InvalidRedirectUri):
            read(document(redirect_uris=uris))


def test_a_document_without_a_name_names_its_host() -> None:
    for nothing in (None, ""):
        assert read(document(client_name=nothing)).client_name == "app.example.com"


def test_a_document_cannot_make_its_client_a_machine_of_an_operator() -> None:
    said = read(document(grant_types=["client_credentials", "authorization_code"]))
    assert said.grant_types == ("authorization_code",)
    with pytest.raises(InvalidClientMetadata):
        read(document(grant_types=["client_credentials"]))
