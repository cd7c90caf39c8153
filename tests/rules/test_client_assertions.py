"""private_key_jwt: only a fresh assertion, signed by the client's key and meant for us, proves anything."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from ovauth.rules.client_assertions import NotProven, claimed_client_id, verify

CLIENT = "https://client.example/metadata.json"
ISSUER = "https://ov.example.com"
NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
STRANGER = ec.generate_private_key(ec.SECP256R1())

KEYS: dict[str, tuple[Any, dict[str, Any]]] = {
    "RS256": (RSA, json.loads(RSAAlgorithm.to_jwk(RSA.public_key()))),
    "PS256": (RSA, json.loads(RSAAlgorithm.to_jwk(RSA.public_key()))),
    "ES256": (EC, json.loads(ECAlgorithm.to_jwk(EC.public_key()))),
    "EdDSA": (ED, json.loads(OKPAlgorithm.to_jwk(ED.public_key()))),
}
PUBLIC = KEYS["ES256"][1]


def claims(**changes: Any) -> dict[str, Any]:
    good = {
        "iss": CLIENT,
        "sub": CLIENT,
        "aud": ISSUER,
        "exp": int((NOW + timedelta(minutes=5)).timestamp()),
        "jti": "once",
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def signed(algorithm: str = "ES256", key: Any = None, headers: dict[str, Any] | None = None, **changes: Any) -> str:
    return jwt.encode(claims(**changes), key or KEYS[algorithm][0], algorithm, headers=headers)


def judged(assertion: str, keys: Any = (PUBLIC,), now: datetime = NOW) -> Any:
    return verify(assertion, keys=list(keys), client_id=CLIENT, audiences={ISSUER, f"{ISSUER}/token"}, now=now)


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_good_assertion_is_a_proof(algorithm: str) -> None:
    proof = judged(signed(algorithm), [KEYS[algorithm][1]])
    assert proof.jti == "once"
    assert proof.expires_at > NOW


@pytest.mark.parametrize("audience", [f"{ISSUER}/token", [ISSUER], ["https://other.example", ISSUER]])
def test_it_may_name_the_issuer_or_the_token_endpoint(audience: Any) -> None:
    assert judged(signed(aud=audience)).jti == "once"


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "https://other.example"},
        {"aud": None},
        {"aud": f"{ISSUER}/"},
        {"iss": "https://evil.example/metadata.json"},
        {"sub": "https://evil.example/metadata.json"},
        {"exp": None},
        {"exp": int((NOW - timedelta(minutes=2)).timestamp())},
        {"exp": int((NOW + timedelta(hours=1)).timestamp())},
        {"exp": 10**30},
        {"nbf": int((NOW + timedelta(minutes=5)).timestamp())},
        {"jti": None},
        {"jti": ""},
        {"jti": "x" * 257},
        {"jti": 7},
    ],
)
def test_a_claim_that_is_wrong_or_missing_proves_nothing(changes: dict[str, Any]) -> None:
    with pytest.raises((NotProven, TypeError)):
        judged(signed(**changes))


def test_another_key_proves_nothing() -> None:
    with pytest.raises(NotProven):
        judged(signed(key=STRANGER))


@pytest.mark.parametrize(
    "forge",
    [
        lambda: jwt.encode(claims(), None, "none"),  # type: ignore[arg-type]
        lambda: jwt.encode(claims(), "a shared secret of more than thirty-two bytes", "HS256"),
        lambda: "no.jwt.atall",
        lambda: "",
        lambda: "x" * 9000,
    ],
)
def test_unsigned_symmetric_and_unreadable_ones_prove_nothing(forge: Callable[[], str]) -> None:
    with pytest.raises(NotProven):
        judged(forge())


def test_a_key_for_something_else_proves_nothing() -> None:
    for member in ({"use": "enc"}, {"alg": "RS256"}):
        with pytest.raises(NotProven):
            judged(signed(), [PUBLIC | member])


def test_the_key_is_chosen_by_its_id_where_one_is_given() -> None:
    assertion = signed(headers={"kid": "second"})
    others = [KEYS["RS256"][1] | {"kid": f"other {number}"} for number in range(9)]
    assert judged(assertion, [*others, PUBLIC | {"kid": "second"}]).jti == "once"
    with pytest.raises(NotProven):
        judged(assertion, [PUBLIC | {"kid": "first"}])


def test_the_client_can_be_read_before_it_is_proven() -> None:
    assert claimed_client_id(signed(key=STRANGER)) == CLIENT
    assert claimed_client_id("nonsense") is None


@given(st.text(max_size=300))
def test_nothing_else_than_a_refusal_comes_of_anything(text: str) -> None:
    assert claimed_client_id(text) is None
    with pytest.raises(NotProven):
        judged(text)
