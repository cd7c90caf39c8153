"""RFC 8707 §2."""

import pytest

from ovauth.errors import InvalidTarget
from ovauth.rules import resource_indicators

ISSUER = "https://ov.example.com"
MCP = f"{ISSUER}/mcp"
FILES = "https://files.example.com:8443/mcp"


def canonical(*asked, resources=(MCP, FILES), issuer=ISSUER):
    return resource_indicators.canonical(asked, resources=resources, issuer=issuer)


@pytest.mark.parametrize(
    "asked",
    [
        (),
        ("",),
        (MCP,),
        (MCP + "/",),
        (MCP, MCP + "/"),
        (ISSUER,),
        (ISSUER + "/",),
        ("https://ov.example.com:443/mcp",),
        ("HTTPS://OV.Example.com/mcp",),
    ],
)
def test_every_equivalent_spelling_means_the_default(asked):
    assert canonical(*asked) == MCP


def test_a_further_resource_is_found():
    assert canonical("https://FILES.example.com:8443/mcp/") == FILES


@pytest.mark.parametrize(
    "asked",
    [
        "https://evil.example/mcp",
        "http://ov.example.com/mcp",
        "https://ov.example.com:8443/mcp",
        "https://ov.example.com/MCP",
        "https://ov.example.com/mcp//",
        "https://ov.example.com/mcp/x",
        "https://ov.example.com/x/../mcp",
        "https://ov.example.com/%6dcp",
        "https://ov.example.com/mcp?x=1",
        "https://ov.example.com/mcp?",
        "https://ov.example.com/mcp#",
        "https://ov.example.com/mcp#x",
        "https://ov.example.com#",
        "https://user@ov.example.com/mcp",
        "https://ov.example.com@evil.example/mcp",
        "https://ov.example.com./mcp",
        "https://ov.example.com:/mcp",
        "https://ov.example.com:٤٤٣/mcp",
        "https://ov.exampl\u0435.com/mcp",
        "http\u017f://ov.example.com/mcp",
        " https://ov.example.com/mcp",
        "https://ov.example.com/mcp\n",
        "https://ov.exa\tmple.com/mcp",
        "https:\\\\ov.example.com\\mcp",
        "//ov.example.com/mcp",
        "/mcp",
        "mcp",
        "https://files.example.com:8443",
    ],
)
def test_anything_else_is_refused(asked):
    with pytest.raises(InvalidTarget) as refused:
        canonical(asked)
    assert refused.value.reason.isprintable()
    with pytest.raises(InvalidTarget):
        canonical(MCP, asked)


def test_two_resources_at_once_are_refused():
    with pytest.raises(InvalidTarget):
        canonical(MCP, FILES)


def test_a_kelvin_sign_is_no_k():
    with pytest.raises(InvalidTarget):
        canonical("https://\u212a.example/mcp", resources=("https://k.example/mcp",))


def test_the_origin_of_an_issuer_with_a_path_means_the_default():
    assert canonical("https://x.example", resources=("https://x.example/auth/mcp",), issuer="https://x.example/auth")


def test_a_resource_that_is_the_bare_origin_is_itself():
    assert canonical(ISSUER + "/", resources=(MCP, ISSUER)) == ISSUER


def test_a_resource_that_is_no_web_address_does_not_open_the_door_to_others():
    assert canonical("urn:x:y", resources=(MCP, "urn:x:y")) == "urn:x:y"
    with pytest.raises(InvalidTarget):
        canonical("urn:x:z", resources=(MCP, "urn:x:y"))


@pytest.mark.parametrize(
    ("asked", "same"),
    [((), True), (("",), True), ((FILES,), True), ((FILES + "/",), True), ((MCP,), False), (("x",), False)]
    + [((FILES, MCP), False)],
)
def test_a_token_request_stays_with_what_was_granted(asked, same):
    assert resource_indicators.same(asked, granted=FILES, resources=(MCP, FILES), issuer=ISSUER) is same
