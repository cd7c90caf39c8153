"""RFC 7591 §2 and §3.2, as real clients use it and as unfriendly ones try it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovauth.errors import InvalidClientMetadata, InvalidRedirectUri
from ovauth.rules import client_metadata

WEB = "https://claude.ai/api/mcp/auth_callback"
LOOPBACK = "http://127.0.0.1:3334/cb"
APP = "cursor://anysphere.cursor-mcp/oauth/callback"

DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
SUPPORTED = {
    "known_scopes": ("mcp", "fs", "admin"),
    "default_scopes": ("mcp",),
    "grant_types": ("authorization_code", "refresh_token", "client_credentials", DEVICE),
    "auth_methods": ("none", "client_secret_basic", "client_secret_post", "private_key_jwt"),
}


def read(document=None, **members):
    sent = {"redirect_uris": [WEB], **members} if document is None else document
    return client_metadata.read(sent, **SUPPORTED)


def test_the_least_that_a_client_can_send():
    assert read() == client_metadata.ClientMetadata(
        client_name="",
        redirect_uris=(WEB,),
        grant_types=("authorization_code", "refresh_token"),
        response_types=("code",),
        token_endpoint_auth_method="client_secret_basic",
        scope="mcp",
        application_type="web",
        extra={},
    )


def test_everything_that_a_client_can_send_comes_back():
    sent = {
        "client_name": "Claude",
        "redirect_uris": [WEB, LOOPBACK],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "private_key_jwt",
        "scope": "mcp fs",
        "application_type": "web",
        "client_uri": "https://claude.ai/#about",
        "logo_uri": "https://claude.ai/logo.png",
        "tos_uri": "https://claude.ai/tos",
        "policy_uri": "https://claude.ai/policy",
        "contacts": ["help@claude.ai"],
        "software_id": "claude",
        "software_version": "1.0",
        "jwks": {"keys": [{"kty": "EC", "crv": "P-256", "x": "x", "y": "y"}]},
    }
    answer = client_metadata.document(read(sent))
    assert answer == {**sent, "application_type": "native"}
    assert client_metadata.document(read(answer)) == answer
    assert json.loads(json.dumps(answer)) == answer


def test_unknown_members_and_unset_ones_leave_no_trace():
    answer = client_metadata.document(
        read(
            client_name=None,
            client_uri="",
            scope=None,
            contacts=[],
            trusted=True,
            client_id="x",
            client_secret="x",
            software_statement="x",
            jwks=None,
            grant_types=None,
            response_types=[],
        )  # fmt: skip
    )
    assert set(answer) == {
        "redirect_uris", "grant_types", "response_types", "token_endpoint_auth_method", "scope",
        "application_type",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("uris", "method"),
    [
        ([WEB], "client_secret_basic"),
        ([LOOPBACK], "none"),
        ([APP], "none"),
        ([APP, LOOPBACK], "none"),
        ([APP, WEB], "client_secret_basic"),
    ],
)
def test_a_program_on_a_computer_is_public_unless_it_says_otherwise(uris, method):
    assert read(redirect_uris=uris).token_endpoint_auth_method == method
    assert read(redirect_uris=uris, token_endpoint_auth_method="").token_endpoint_auth_method == method
    asked = read(redirect_uris=uris, token_endpoint_auth_method="client_secret_post")
    assert asked.token_endpoint_auth_method == "client_secret_post"


def test_where_no_secret_can_be_shared_the_default_is_none():
    supported = {**SUPPORTED, "auth_methods": ("none", "private_key_jwt")}
    assert client_metadata.read({"redirect_uris": [WEB]}, **supported).token_endpoint_auth_method == "none"


@pytest.mark.parametrize("method", ["client_secret_jwt", "tls_client_auth", "NONE", "private_key_jwt", 1, ["none"]])
def test_an_unsupported_or_keyless_auth_method_is_refused(method):
    with pytest.raises(InvalidClientMetadata):
        read(token_endpoint_auth_method=method)


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        (None, "mcp"),
        ("", "mcp"),
        ("openid email", "mcp"),
        ("read write", "mcp"),
        ("fs read mcp", "mcp fs"),
    ],
)
def test_unknown_scopes_never_stop_a_registration(asked, stored):
    assert read(scope=asked).scope == stored


@pytest.mark.parametrize("scope", ['a"b', "a\tb", "é", 5, ["mcp"], "a" * 2001])
def test_a_scope_that_is_none_is_refused(scope):
    with pytest.raises(InvalidClientMetadata):
        read(scope=scope)


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        (["authorization_code"], ("authorization_code",)),
        (["refresh_token", "authorization_code", "implicit"], ("refresh_token", "authorization_code")),
        (["authorization_code", "authorization_code"], ("authorization_code",)),
        (["client_credentials"], ("client_credentials",)),
        ([DEVICE, "password"], (DEVICE,)),
    ],
)
def test_unsupported_grant_types_are_dropped(asked, stored):
    assert read(grant_types=asked).grant_types == stored


@pytest.mark.parametrize("asked", [["implicit"], ["refresh_token"], ["password", "implicit"], "authorization_code", [1]])
def test_no_grant_type_that_begins_anything_is_refused(asked):
    with pytest.raises(InvalidClientMetadata):
        read(grant_types=asked)


def test_a_public_client_gets_no_client_credentials():
    both = ["authorization_code", "client_credentials"]
    assert read(grant_types=both, token_endpoint_auth_method="none").grant_types == ("authorization_code",)
    with pytest.raises(InvalidClientMetadata):
        read(grant_types=["client_credentials"], token_endpoint_auth_method="none")


def test_a_client_without_redirects_needs_no_redirect_uri_and_is_confidential():
    machine = read({"grant_types": ["client_credentials"]})
    assert machine.redirect_uris == ()
    assert machine.response_types == ()
    assert machine.token_endpoint_auth_method == "client_secret_basic"
    assert "redirect_uris" not in client_metadata.document(machine)


@pytest.mark.parametrize(("asked", "good"), [(["code", "token"], True), (["token"], False), (["code token"], False)])
def test_only_the_response_type_code_is_kept(asked, good):
    if good:
        assert read(response_types=asked).response_types == ("code",)
    else:
        with pytest.raises(InvalidClientMetadata):
            read(response_types=asked)


@pytest.mark.parametrize(
    "uris",
    [
        None,
        [],
        "",
        WEB,
        {"0": WEB},
        [None],
        [1],
        [[WEB]],
        [""],
        [WEB, "javascript:alert(1)"],
        ["http://evil.example/"],
        [f"https://a.example/{number}" for number in range(21)],
    ],
)
def test_bad_redirect_uris_are_refused(uris):
    with pytest.raises(InvalidRedirectUri):
        read(redirect_uris=uris)


def test_a_bad_redirect_uri_is_named_by_its_place_and_not_repeated():
    with pytest.raises(InvalidRedirectUri, match="number 2") as refused:
        read(redirect_uris=[WEB, "https://secret.example/#"])
    assert "secret" not in refused.value.description


def test_redirect_uris_are_stored_once_in_order_byte_for_byte():
    uris = ["HTTPS://B.example/%7e", APP, WEB, APP]
    assert read(redirect_uris=uris).redirect_uris == ("HTTPS://B.example/%7e", APP, WEB)
    assert len(read(redirect_uris=[f"https://a.example/{number}" for number in range(20)]).redirect_uris) == 20


@pytest.mark.parametrize(
    ("asked", "uris", "stored"),
    [
        ("web", [APP], "native"),
        ("web", [LOOPBACK], "native"),
        ("web", [WEB], "web"),
        ("native", [WEB], "native"),
        (None, [APP, LOOPBACK], "native"),
        (None, [APP, WEB], "web"),
        ("spa", [WEB], "web"),
    ],
)
def test_the_redirect_uris_say_what_kind_of_application_it_is(asked, uris, stored):
    assert read(application_type=asked, redirect_uris=uris).application_type == stored


def test_a_name_is_cleaned_and_bounded():
    assert read(client_name=" Cl\u202eaude\n\x00".replace("\x00", "")).client_name == "Claude"
    assert read(client_name="a" * 200).client_name == "a" * 200
    with pytest.raises(InvalidClientMetadata):
        read(client_name="a" * 201)


@pytest.mark.parametrize("member", ["client_uri", "logo_uri", "tos_uri", "policy_uri", "jwks_uri"])
@pytest.mark.parametrize(
    "link",
    [
        "javascript:alert(1)",
        "data:image/png,x",
        "http://a.example/",
        "http://localhost/",
        "//a.example",
        "https://",
    ]
    + [
        "https://a@b.example/",
        "https://a.example/\n",
        "https://a.example/" + "a" * 2000,
        7,
        {},
        ["https://a.example"],
    ],
)
def test_a_link_is_https_or_refused(member, link):
    with pytest.raises(InvalidClientMetadata) as refused:
        read(**{member: link})
    assert member in refused.value.description


@pytest.mark.parametrize(
    "members",
    [
        {"client_name": 5},
        {"client_name": ["x"]},
        {"software_id": {}},
        {"software_version": 1},
        {"software_version": "a\nb"},
        {"software_id": "a" * 201},
        {"contacts": "me@example.com"},
        {"contacts": [1]},
        {"contacts": ["a\r\nb"]},
        {"contacts": ["a"] * 11},
        {"application_type": 1},
        {"response_types": "code"},
        {"grant_types": ["authorization_code"] * 21},
    ],
)
def test_every_member_has_its_type_and_its_bound(members):
    with pytest.raises(InvalidClientMetadata):
        read(**members)


@pytest.mark.parametrize(
    "jwks",
    [
        "x",
        [],
        {},
        {"keys": {}},
        {"keys": ["x"]},
        {"keys": [{}]},
        {"keys": [{"kty": 1}]},
        {"keys": [{"kty": "EC", "d": "private"}]},
        {"keys": [{"kty": "oct", "k": "secret"}]},
        {"keys": [{"kty": "EC"}] * 21},
    ],
)
def test_a_key_set_is_one_of_public_keys(jwks):
    with pytest.raises(InvalidClientMetadata):
        read(jwks=jwks)


def test_keys_come_from_one_place():
    keys = {"keys": [{"kty": "EC"}]}
    assert read(jwks=keys).extra == {"jwks": keys}
    with pytest.raises(InvalidClientMetadata):
        read(jwks=keys, jwks_uri="https://a.example/keys")


def nested(depth):
    return {"x": nested(depth - 1)} if depth else 1


@pytest.mark.parametrize("document", [None, [], "x", 1, [{"redirect_uris": [WEB]}]])
def test_what_is_no_object_is_refused(document):
    with pytest.raises(InvalidClientMetadata):
        client_metadata.read(document, **SUPPORTED)


@pytest.mark.parametrize(
    "value",
    [
        nested(8),
        nested(500),
        list(range(1001)),
        {str(number): 1 for number in range(501)},
        "a" * 8193,
        {"a" * 8193: 1},
        "nul\0",
        "\ud800",
        {"\udfff": 1},
        float("nan"),
        float("inf"),
        10**30,
        b"bytes",
    ],
    ids=lambda value: f"{type(value).__name__}",
)
def test_too_much_is_refused_even_where_it_would_be_ignored(value):
    with pytest.raises(InvalidClientMetadata):
        read(unknown=value)


def test_much_is_not_too_much():
    read(unknown=nested(7))
    read(unknown=list(range(900)))
    read(unknown="a" * 8192)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
MEMBERS = [
    "client_name", "redirect_uris", "grant_types", "response_types", "token_endpoint_auth_method", "scope",
    "application_type", "client_uri", "logo_uri", "contacts", "software_id", "jwks", "jwks_uri", "other",
]  # fmt: skip


@given(st.dictionaries(st.sampled_from(MEMBERS), json_values), st.booleans())
def test_any_json_is_read_or_refused_in_words_that_may_travel(members, with_redirect):
    document = {**members, "redirect_uris": [WEB]} if with_redirect else members
    try:
        metadata = read(document)
    except (InvalidClientMetadata, InvalidRedirectUri) as refusal:
        spoken = refusal.description
    else:
        spoken = ""
        answer = client_metadata.document(metadata)
        assert None not in answer.values()
        assert "" not in answer.values()
        assert read(answer) == metadata
    assert spoken.isascii()
    assert spoken.isprintable()
    assert not {'"', "\\"} & set(spoken)
