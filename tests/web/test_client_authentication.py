"""Clients that prove themselves by a key (private_key_jwt, RFC 7523) over HTTP."""

import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from ovauth.flows import clients
from ovauth.models import Client
from tests.conftest import CALLBACK, ISSUER, VERIFIER, Person, approved, works
from tests.web.asking import Answer, Site
from tests.web.conftest import assert_refused

KEY = ec.generate_private_key(ec.SECP256R1())
JWKS = {"keys": [json.loads(ECAlgorithm.to_jwk(KEY.public_key()))]}
TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@pytest.fixture
def keyed(db: None) -> Client:
    document = {"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "private_key_jwt", "jwks": JWKS}
    made = clients.register(document=document)
    assert made.client_secret is None
    return Client.objects.get(client_id=made.client_id)


def assertion(client: Client, *, key: Any = KEY, **changes: Any) -> str:
    claims = {
        "iss": client.client_id,
        "sub": client.client_id,
        "aud": ISSUER,
        "exp": int(time.time()) + 60,
        "jti": f"once {time.monotonic_ns()}",
    }
    return jwt.encode(claims | changes, key, "ES256")


def redeem(site: Site, code: str, **fields: str | None) -> Answer:
    good = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
        "client_assertion_type": TYPE,
    }
    return site.post_form("/token", {name: value for name, value in (good | fields).items() if value is not None})


@pytest.mark.parametrize("audience", [ISSUER, f"{ISSUER}/token"])
def test_a_client_is_known_by_its_key_and_needs_no_client_id(
    site: Site, keyed: Client, alice: Person, audience: str
) -> None:
    answer = redeem(site, approved(keyed, alice.by_key), client_assertion=assertion(keyed, aud=audience))
    assert answer.status == 200
    assert works(answer.json()["access_token"])


def test_an_assertion_is_accepted_once_and_a_refused_one_spends_no_code(site: Site, keyed: Client, alice: Person) -> None:
    code = approved(keyed, alice.by_key)
    proof = assertion(keyed)
    refresh = {"grant_type": "refresh_token", "client_assertion_type": TYPE, "client_assertion": proof}
    assert_refused(site.post_form("/token", refresh), "oauth", status=400, error="invalid_request")
    again = redeem(site, code, client_assertion=proof)
    assert_refused(again, "oauth", status=401, error="invalid_client")
    assert redeem(site, code, client_assertion=assertion(keyed)).status == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"client_assertion": None},
        {"client_assertion": "nonsense"},
        {"client_assertion_type": "urn:something:else"},
        {"client_assertion_type": None},
        {"client_id": "another"},
    ],
)
def test_what_proves_nothing_is_refused(site: Site, keyed: Client, alice: Person, fields: dict[str, str | None]) -> None:
    sent = {"client_assertion": assertion(keyed)} | fields
    if sent["client_assertion"] is None:
        sent["client_id"] = keyed.client_id  # the id alone is no proof
    answer = redeem(site, approved(keyed, alice.by_key), **sent)
    assert_refused(answer, "oauth", status=401, error="invalid_client")


def test_a_strangers_key_proves_nothing(site: Site, keyed: Client, alice: Person) -> None:
    forged = assertion(keyed, key=ec.generate_private_key(ec.SECP256R1()))
    answer = redeem(site, approved(keyed, alice.by_key), client_assertion=forged)
    assert_refused(answer, "oauth", status=401, error="invalid_client")


def test_two_ways_at_once_are_refused(site: Site, keyed: Client, alice: Person) -> None:
    code = approved(keyed, alice.by_key)
    answer = redeem(site, code, client_assertion=assertion(keyed), client_secret="ovcs_x")
    assert_refused(answer, "oauth", status=400, error="invalid_request")


def test_a_client_without_a_key_cannot_use_one(site: Site, client_app: Client, alice: Person) -> None:
    answer = redeem(site, approved(client_app, alice.by_key), client_assertion=assertion(client_app))
    assert_refused(answer, "oauth", status=401, error="invalid_client")


def test_the_method_is_advertised(site: Site) -> None:
    metadata = site.get("/.well-known/oauth-authorization-server").json()
    assert "private_key_jwt" in metadata["token_endpoint_auth_methods_supported"]
    assert "ES256" in metadata["token_endpoint_auth_signing_alg_values_supported"]
    assert metadata["client_id_metadata_document_supported"] is True
