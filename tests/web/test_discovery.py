"""RFC 8414 and RFC 9728: how a client finds its way, and what it must never be told."""

from collections.abc import Callable
from typing import Any

import pytest

from ovauth.conf import Config
from ovauth.flows import progress
from ovauth.provenance import Provenance
from ovauth.web import discovery
from tests.conftest import ISSUER, Person
from tests.web.asking import Site
from tests.web.conftest import assert_refused

AUTHORIZATION_SERVER = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"
RESOURCE = "/.well-known/oauth-protected-resource"
EVERYWHERE = (AUTHORIZATION_SERVER, OPENID, RESOURCE, f"{RESOURCE}/mcp", f"{RESOURCE}/mcp/")


def test_the_authorization_server_says_exactly_what_is_built(site: Site) -> None:
    document = site.get(AUTHORIZATION_SERVER).json()
    assert document["issuer"] == ISSUER
    assert document["authorization_endpoint"] == f"{ISSUER}/authorize"
    assert document["token_endpoint"] == f"{ISSUER}/token"
    assert document["revocation_endpoint"] == f"{ISSUER}/revoke"
    assert document["registration_endpoint"] == f"{ISSUER}/register"
    assert document["response_types_supported"] == ["code"]
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert document["authorization_response_iss_parameter_supported"] is True
    assert {"none", "client_secret_basic", "client_secret_post"} <= set(document["token_endpoint_auth_methods_supported"])
    assert {"authorization_code", "refresh_token"} <= set(document["grant_types_supported"])
    assert "offline_access" not in document["scopes_supported"]


def test_every_endpoint_that_is_advertised_answers(site: Site) -> None:
    document = site.get(AUTHORIZATION_SERVER).json()
    endpoints = [value for name, value in document.items() if name.endswith("_endpoint")]
    assert len(endpoints) >= 4
    for url in endpoints:
        path = url.removeprefix(ISSUER)
        assert site.ask("POST", path).status != 404, path


def test_the_openid_name_has_the_same_document(site: Site) -> None:
    assert site.get(OPENID).json() == site.get(AUTHORIZATION_SERVER).json()


@pytest.mark.parametrize("path", [RESOURCE, f"{RESOURCE}/mcp", f"{RESOURCE}/mcp/"])
def test_the_resource_metadata_is_at_both_places(site: Site, path: str) -> None:
    document = site.get(path).json()
    assert document["resource"] == f"{ISSUER}/mcp"
    assert document["authorization_servers"] == [ISSUER]
    assert document["bearer_methods_supported"] == ["header"]
    assert document["scopes_supported"] == ["mcp", "fs", "admin"]


@pytest.mark.parametrize("path", EVERYWHERE)
def test_metadata_may_be_cached_and_read_by_every_page(site: Site, path: str) -> None:
    answer = site.get(path, headers={"Origin": "https://inspector.example"})
    assert answer.status == 200
    assert answer.headers["cache-control"] == "public, max-age=3600"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
    assert "set-cookie" not in answer.headers
    assert "cookie" not in answer.headers["vary"].lower()


@pytest.mark.parametrize("path", EVERYWHERE)
def test_head_is_answered_like_get_without_the_body(site: Site, path: str) -> None:
    by_get, by_head = site.get(path), site.ask("HEAD", path)
    assert by_head.status == 200
    assert by_head.body == b""
    assert by_head.headers["content-length"] == str(len(by_get.body))


@pytest.mark.parametrize("path", EVERYWHERE)
def test_nothing_in_metadata_is_null_or_empty(site: Site, path: str) -> None:
    assert all(value not in (None, "", [], {}) for value in site.get(path).json().values())


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
@pytest.mark.parametrize(
    "path",
    [
        "/.well-known/",
        "/.well-known",
        "/.well-known/anything",
        "/.well-known/jwks.json",
        "/.well-known/deeper/still/",
        "/.well-known/oauth-protected-resources",
        "/.well-known//oauth-protected-resource",
        "/.well-known/\0",
        "/.well-known/../console/",
    ],
)
def test_anything_else_below_well_known_is_a_json_404(site: Site, path: str, method: str) -> None:
    answer = site.ask(method, path)
    assert answer.status == 404
    if method != "HEAD":
        assert answer.json() == {"error": "not_found"}
        assert_refused(answer, "well-known", status=404)


@pytest.mark.parametrize(
    "path",
    [
        f"{AUTHORIZATION_SERVER}/mcp",
        f"{OPENID}/mcp",
        f"{RESOURCE}/other",
        f"{RESOURCE}/mcp/other",
        f"{RESOURCE}//mcp",
        f"{RESOURCE}/MCP",
    ],
)
def test_another_path_is_another_issuer_or_resource(site: Site, path: str) -> None:
    assert_refused(site.get(path), "well-known", status=404, error="not_found")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_metadata_is_only_read(site: Site, method: str) -> None:
    answer = site.ask(method, AUTHORIZATION_SERVER)
    assert_refused(answer, "well-known", status=405, error="method_not_allowed")
    assert {"GET", "HEAD"} <= {name.strip() for name in answer.headers["allow"].split(",")}


def test_registration_is_advertised_only_while_it_is_open(site: Site, configure: Callable[..., Config]) -> None:
    configure(registration="off")
    assert "registration_endpoint" not in site.get(AUTHORIZATION_SERVER).json()
    configure(registration="token")
    assert "registration_endpoint" in site.get(AUTHORIZATION_SERVER).json()


@pytest.mark.parametrize("path", EVERYWHERE)
def test_switched_off_there_is_nothing_to_discover(site: Site, configure: Callable[..., Config], path: str) -> None:
    configure(enabled=False)
    assert_refused(site.get(path), "well-known", status=404, error="not_found")


@pytest.mark.parametrize(
    ("configured", "issuer", "inserted"),
    [
        ({"public_base_url": "https://ov.example"}, "https://ov.example", ""),
        ({"issuer": "https://ov.example"}, "https://ov.example", ""),
        ({"issuer": "https://ov.example/auth"}, "https://ov.example/auth", "/auth"),
        ({"issuer": "https://ov.example/a/b"}, "https://ov.example/a/b", "/a/b"),
        ({"issuer": "https://ov.example:8443/auth"}, "https://ov.example:8443/auth", "/auth"),
    ],
)
def test_the_issuer_is_one_string_everywhere(
    site: Site, configure: Callable[..., Config], configured: dict[str, Any], issuer: str, inserted: str
) -> None:
    configure(**configured)
    server = site.get(f"{AUTHORIZATION_SERVER}{inserted}").json()
    assert server["issuer"] == issuer
    assert site.get(f"{OPENID}{inserted}").json() == server
    resource = site.get(f"{RESOURCE}{inserted}/mcp").json()
    assert resource["authorization_servers"] == [issuer]
    assert resource["resource"] == f"{issuer}/mcp"
    challenge = site.ask("POST", f"{inserted}/mcp").headers["www-authenticate"]
    origin = issuer.removesuffix(inserted)
    assert f'resource_metadata="{origin}{RESOURCE}{inserted}/mcp"' in challenge
    assert site.get(f"{inserted}{OPENID}").json() == server  # appended, as OpenID Connect Discovery §4 does


# ------------------------------------------------------------------ the second time


def same(one: Any, other: Any) -> bool:
    def said(answer: Any) -> Any:
        return answer.status, [header for header in answer.header_list if header[0] != "x-request-id"], answer.body

    return bool(said(one) == said(other))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", EVERYWHERE)
@pytest.mark.parametrize("headers", [{}, {"Origin": "https://inspector.example"}])
def test_asked_again_the_same_is_answered_without_django(
    site: Site, monkeypatch: pytest.MonkeyPatch, method: str, path: str, headers: dict[str, str]
) -> None:
    first = site.ask(method, path, headers=headers)
    monkeypatch.setattr("ovauth.web.protocol.Protocol._answer", None)
    again = site.ask(method, path, headers=headers)
    assert again.status == 200
    assert same(first, again)
    assert first.headers["x-request-id"] != again.headers["x-request-id"]


@pytest.mark.parametrize("path", EVERYWHERE)
def test_each_issuer_has_its_own_documents(site: Site, path: str) -> None:
    for host in ("testserver", "127.0.0.1:4711", "testserver", "127.0.0.1:4711"):
        document = site.get(path, host=host).json()
        assert f"http://{host}" in (document.get("issuer"), *document.get("authorization_servers", ()))


@pytest.mark.parametrize("path", EVERYWHERE)
def test_what_is_refused_is_refused_after_an_answer_as_well(
    site: Site, configure: Callable[..., Config], path: str
) -> None:
    assert site.get(path).status == 200
    assert_refused(site.get(path, query=b"x=%00"), "well-known", status=400, error="invalid_request")
    assert_refused(site.ask("GET", path, body=b"x" * 200_000), "well-known", status=413)
    assert_refused(site.get(path, host="not a host"), "well-known", status=400)
    assert_refused(site.ask("POST", path), "well-known", status=405)
    configure(enabled=False)
    assert_refused(site.get(path), "well-known", status=404, error="not_found")


def test_whoever_chooses_hosts_fills_no_memory(site: Site) -> None:
    kept = discovery.Kept()
    for number in range(3 * discovery.MOST_KEPT):
        scope: dict[str, Any] = {"method": "GET", "path": RESOURCE, "query_string": b"", "headers": []}
        scope |= {"ovauth.issuer": f"https://{number}.example", "ovauth.provenance": Provenance(route="/here")}
        kept.keep(scope, (200, [], b"{}"))
        assert kept.again(scope) == (200, [], b"{}")
        assert len(kept._answers) <= discovery.MOST_KEPT


def test_who_finds_the_server_is_noted_whether_or_not_the_answer_is_kept(
    site: Site, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "LOOK_AGAIN", 0)
    site.get(RESOURCE)
    for ip in ("203.0.113.80", "203.0.113.81"):
        progress.of(member_pk=alice.member.pk, ip=ip, watch=True)
        assert not progress.of(member_pk=alice.member.pk, ip=ip).found
        site.get(RESOURCE, peer=ip)
        assert progress.of(member_pk=alice.member.pk, ip=ip).found
