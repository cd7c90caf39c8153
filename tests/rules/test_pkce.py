"""RFC 7636, with the words of its appendix B."""

from base64 import urlsafe_b64encode
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovauth.rules import pkce

VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_the_example_of_the_rfc_verifies():
    assert pkce.verifies(VERIFIER, CHALLENGE)


def test_a_complete_challenge_is_accepted():
    assert pkce.why_not_challenge(CHALLENGE, "S256") is None


@pytest.mark.parametrize("method", [None, "", "plain", "s256", "S256 ", "S512"])
def test_any_method_but_s256_is_refused(method):
    assert pkce.why_not_challenge(CHALLENGE, method) is not None


@pytest.mark.parametrize(
    "challenge",
    [None, "", CHALLENGE[:-1], CHALLENGE + "A", CHALLENGE[:-1] + "=", CHALLENGE[:-1] + "+", CHALLENGE + "\n"]
    + [CHALLENGE[:-1] + "٣", CHALLENGE[:-1] + "é"],
)
def test_a_malformed_challenge_is_refused_and_verifies_nothing(challenge):
    assert pkce.why_not_challenge(challenge, "S256") is not None
    assert not pkce.verifies(VERIFIER, challenge or "")


@pytest.mark.parametrize(
    "verifier",
    [None, "", VERIFIER[:-1], VERIFIER[:-1] + "l", VERIFIER + "\n", VERIFIER + "=", CHALLENGE, "\ud800" * 43],
)
def test_a_wrong_verifier_does_not_verify(verifier):
    assert not pkce.verifies(verifier, CHALLENGE)


@pytest.mark.parametrize(
    ("length", "good"), [(42, False), (43, True), (128, True), (129, False)], ids=lambda each: str(each)
)
def test_a_verifier_has_43_to_128_characters(length, good):
    verifier = "a~._-" * 30
    verifier = verifier[:length]
    assert pkce.verifies(verifier, _challenge(verifier)) is good


@given(st.one_of(st.none(), st.text()), st.text())
def test_nothing_makes_it_raise(verifier, challenge):
    assert pkce.verifies(verifier, challenge) is False


def _challenge(verifier: str) -> str:
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")
