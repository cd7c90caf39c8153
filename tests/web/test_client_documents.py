"""Clients that are described by a document at their own https address, the whole way over HTTP.

The document comes from a real https server on loopback with a CA of its own (`tests.fetching.https`).
"""

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from ovauth import fetching
from ovauth.conf import Config
from ovauth.models import Client, ClientOrigin, Grant
from tests.clients.recorded.documents import DOCUMENTS
from tests.conftest import CHALLENGE, ISSUER, VERIFIER, Person, works
from tests.fetching.https import HOST, Authority, HttpsServer, Resolver, authority, reply, resolver, server, trusted
from tests.web.asking import Answer, Site
from tests.web.conftest import assert_refused

__all__ = ["authority", "resolver", "server"]

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
KEY = ec.generate_private_key(ec.SECP256R1())
JWKS = {"keys": [json.loads(ECAlgorithm.to_jwk(KEY.public_key())) | {"kid": "one"}]}


@pytest.fixture(autouse=True)
def _admitted(authority: Authority) -> Iterator[None]:
    with fetching.trusting(trusted(authority)):
        yield


class ClientSite:
    """What the client's own site serves: by path."""

    def __init__(self, server: HttpsServer) -> None:
        self.client_id = server.url("/client.json")
        self.keys_url = server.url("/keys.json")
        self.callback = f"https://{HOST}:{server.port}/callback"
        self.files: dict[str, object] = {}
        self.describe()

        def answer(connection: Any) -> None:
            path = server.requests[-1].split(b" ")[1].decode()
            known = path in self.files
            body = json.dumps(self.files[path]).encode() if known else b"{}"
            reply(body, status="200 OK" if known else "404 Not Found")(connection)

        server.answer = answer

    def describe(self, **changes: object) -> None:
        self.files["/client.json"] = {
            "client_id": self.client_id,
            "client_name": "Example",
            "redirect_uris": [self.callback],
        } | changes


@pytest.fixture
def app(server: HttpsServer, resolver: Resolver) -> ClientSite:
    return ClientSite(server)


def authorize(site: Site, app: ClientSite, **changes: str) -> Answer:
    query = {
        "response_type": "code",
        "client_id": app.client_id,
        "redirect_uri": app.callback,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "state": "s",
    } | changes
    return site.get("/authorize", query=query)


def code(site: Site, app: ClientSite, person: Person, **changes: str) -> str:
    begun = authorize(site, app, **changes)
    assert begun.status == 302, begun
    pending_id = parse_qs(urlsplit(begun.headers["location"]).query)["pending"][0]
    cookie = "; ".join(f"{name}={value}" for name, value in begun.cookies.items())
    decision = {"pending_id": pending_id, "decision": "approve"}
    assert site.post_json("/api/v1/auth/oauth-verify", decision, key=person.api_key).status == 200
    told = site.get("/oauth/authorize/page/status", query={"pending": pending_id}, headers={"Cookie": cookie})
    answer = parse_qs(urlsplit(told.json()["redirect_url"]).query)
    assert answer["iss"] == [ISSUER]
    return answer["code"][0]


def redeem(site: Site, app: ClientSite, granted: str, **fields: str) -> Answer:
    good = {"grant_type": "authorization_code", "code": granted, "redirect_uri": app.callback, "code_verifier": VERIFIER}
    return site.post_form("/token", good | {"client_id": app.client_id} | fields)


def assertion(app: ClientSite, *, key: Any = KEY) -> dict[str, str]:
    return signed(app, key, algorithm="ES256", kid="one")


def signed(app: ClientSite, key: Any, *, algorithm: str, kid: str) -> dict[str, str]:
    claims = {
        "iss": app.client_id,
        "sub": app.client_id,
        "aud": f"{ISSUER}/token",
        "exp": int(time.time()) + 60,
        "jti": str(time.monotonic_ns()),
    }
    return {"client_assertion_type": TYPE, "client_assertion": jwt.encode(claims, key, algorithm, {"kid": kid})}


def test_a_public_client_connects_without_registering(site: Site, app: ClientSite, bob: Person) -> None:
    answer = redeem(site, app, code(site, app, bob))
    assert answer.status == 200
    assert works(answer.json()["access_token"])
    assert Client.objects.get().origin == ClientOrigin.DOCUMENT


def test_one_document_stands_for_many_installations(site: Site, app: ClientSite, bob: Person, alice: Person) -> None:
    first = redeem(site, app, code(site, app, bob)).json()
    second = redeem(site, app, code(site, app, bob)).json()
    third = redeem(site, app, code(site, app, alice)).json()
    assert all(works(tokens["access_token"]) for tokens in (first, second, third))
    assert Grant.objects.count() == 3


@pytest.mark.parametrize("inline", [True, False])
def test_a_client_with_a_key_has_to_use_it(site: Site, app: ClientSite, bob: Person, inline: bool) -> None:
    keys: dict[str, object] = {"jwks": JWKS} if inline else {"jwks_uri": app.keys_url}
    app.files["/keys.json"] = JWKS
    app.describe(token_endpoint_auth_method="private_key_jwt", **keys)
    granted = code(site, app, bob)
    assert_refused(redeem(site, app, granted), "oauth", status=401, error="invalid_client")
    forged = assertion(app, key=ec.generate_private_key(ec.SECP256R1()))
    assert_refused(redeem(site, app, granted, **forged), "oauth", status=401, error="invalid_client")
    answer = redeem(site, app, granted, **assertion(app))
    assert answer.status == 200, answer
    assert works(answer.json()["access_token"])


RSA_KEY = rsa.generate_private_key(65537, 2048)


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_a_recorded_client_connects_by_its_document_and_stays_connected(
    site: Site, app: ClientSite, bob: Person, name: str
) -> None:
    """What each says and sends, and from where that is known, stands in `tests.clients.recorded.documents`."""
    recorded = DOCUMENTS[name]
    keys = {"keys": [json.loads(RSAAlgorithm.to_jwk(RSA_KEY.public_key())) | {"kid": "cimd", "use": "sig"}]}
    app.files["/keys.json"] = keys
    said = json.loads(json.dumps(recorded.says).replace("{keys}", app.keys_url))
    app.files["/client.json"] = {"client_id": app.client_id, **said}
    app.callback = recorded.redirect_uri

    def proof() -> dict[str, str]:
        return signed(app, RSA_KEY, algorithm="RS256", kid="cimd") if recorded.signs else {}

    first = redeem(site, app, code(site, app, bob, **recorded.authorize), **proof())
    assert first.status == 200, first
    assert first.json()["scope"] == "mcp"
    again = {"grant_type": "refresh_token", "refresh_token": first.json()["refresh_token"], "client_id": app.client_id}
    second = site.post_form("/token", again | proof())
    assert second.status == 200, second
    assert works(second.json()["access_token"])
    row = Client.objects.get()
    assert (row.origin, row.name) == (ClientOrigin.DOCUMENT, recorded.says["client_name"])


def test_another_redirect_uri_than_the_documents_is_a_page_and_no_redirect(site: Site, app: ClientSite) -> None:
    assert_refused(authorize(site, app, redirect_uri="https://evil.example/callback"), "page", status=400)


def test_a_document_that_speaks_of_another_client_is_refused(site: Site, app: ClientSite) -> None:
    app.describe(client_id="https://other.example/client.json")
    assert_refused(authorize(site, app), "page", status=400)


def test_an_address_that_is_not_public_is_never_asked(site: Site, app: ClientSite, server: HttpsServer) -> None:
    before = len(server.requests)
    for address in ("https://127.0.0.1/client.json", "https://localhost/client.json", "http://app.example.com/x"):
        assert_refused(authorize(site, app, client_id=address), "page", status=400)
    assert len(server.requests) == before


def test_switched_off_it_is_neither_done_nor_advertised(site: Site, app: ClientSite, configure: Any) -> None:
    config: Config = configure(cimd="off")
    assert config.cimd == "off"
    assert_refused(authorize(site, app), "page", status=400)
    metadata = site.get("/.well-known/oauth-authorization-server").json()
    assert "client_id_metadata_document_supported" not in metadata
