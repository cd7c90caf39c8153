"""Client authentication by a signed assertion, `private_key_jwt` (RFC 7523 §3, OpenID Connect Core §9): is it good?

The signature is PyJWT's affair, what the claims must say is ours. Pure: keys and time are handed in; that an assertion is
used once is for whoever stores its `jti`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Asymmetric ones only: with a symmetric one our public keys would be a password, and `none` would be no proof."""
LONGEST: Final = 8192
LONGEST_LIFE: Final = timedelta(minutes=10)
"""How far ahead an assertion may expire; so long its `jti` has to be remembered."""
LEEWAY: Final = timedelta(seconds=60)
MOST_CANDIDATES: Final = 4


class NotProven(Exception):
    """The assertion proves nothing. The message is for the log."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What has to be remembered of an assertion that was accepted."""

    jti: str
    expires_at: datetime


def claimed_client_id(assertion: str) -> str | None:
    """The client that the assertion says it is from, unproven; None when it cannot be read (RFC 7521 §4.2)."""
    if len(assertion) > LONGEST:
        return None
    try:
        claims = jwt.decode(assertion, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        return None
    subject = claims.get("sub")
    return subject if isinstance(subject, str) and subject else None


def verify(
    assertion: str,
    *,
    keys: Sequence[Mapping[str, Any]],
    client_id: str,
    audiences: Collection[str],
    now: datetime,
) -> Proof:
    """The proof that whoever holds one of the `keys` (JWKs) speaks as that client, to one of the `audiences`.

    Raises NotProven.
    """
    if len(assertion) > LONGEST:
        raise NotProven("the assertion is too long")
    claims = _signed_claims(assertion, keys)
    if claims.get("iss") != client_id or claims.get("sub") != client_id:
        raise NotProven("iss and sub are not both the client_id")
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    if not any(isinstance(one, str) and one in audiences for one in named):
        raise NotProven("aud names neither the issuer nor the token endpoint")
    expires_at, not_before = _moment(claims, "exp"), _moment(claims, "nbf")
    if expires_at is None or expires_at <= now - LEEWAY:
        raise NotProven("it has expired, or does not say when it does")
    if expires_at > now + LONGEST_LIFE + LEEWAY:
        raise NotProven("it lives for more than ten minutes")
    if not_before is not None and not_before > now + LEEWAY:
        raise NotProven("it is not valid yet")
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= 256:
        raise NotProven("jti is missing")
    return Proof(jti, expires_at + LEEWAY)


def _signed_claims(assertion: str, keys: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    try:
        header = jwt.get_unverified_header(assertion)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise NotProven("it is no JWT") from None
    algorithm, key_id = header.get("alg"), header.get("kid")
    if algorithm not in ALGORITHMS:
        raise NotProven(f"the algorithm {algorithm!r} is not accepted")
    candidates = [key for key in keys if key_id is None or key.get("kid") in (None, key_id)]
    for key in candidates[:MOST_CANDIDATES]:
        claims = _claims(assertion, key, algorithm)
        if claims is not None:
            return claims
    raise NotProven("no key of the client signed it")


def _claims(assertion: str, key: Mapping[str, Any], algorithm: str) -> dict[str, Any] | None:
    if key.get("use") not in (None, "sig") or key.get("alg") not in (None, algorithm):
        return None
    options: Any = dict.fromkeys(("verify_aud", "verify_iss", "verify_exp", "verify_nbf", "verify_iat"), False)
    try:
        public = jwt.PyJWK.from_dict(dict(key), algorithm)
        return jwt.decode(assertion, public, algorithms=[algorithm], options=options)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        return None


def _moment(claims: Mapping[str, Any], name: str) -> datetime | None:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
