"""Proof Key for Code Exchange: only whoever began an authorization can redeem its code (RFC 7636)."""

import re
from base64 import urlsafe_b64encode
from hashlib import sha256
from hmac import compare_digest

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


def why_not_challenge(challenge: str | None, method: str | None) -> str | None:
    """Why an authorization request with these may not go on, as a phrase fit for an answer; None when it may.

    A missing method means `plain` (RFC 7636 §4.3), which OAuth 2.1 has no use for: whoever saw the request
    could redeem the code.
    """
    if not challenge:
        return "code_challenge is required"
    if method != "S256":
        return "code_challenge_method must be S256"
    if not _CHALLENGE.fullmatch(challenge):
        return "code_challenge must be 43 characters of the base64url alphabet"
    return None


def verifies(verifier: str | None, challenge: str) -> bool:
    """Whether the verifier is the one that this S256 challenge was made of (RFC 7636 §4.6). Never raises."""
    if verifier is None or not _VERIFIER.fullmatch(verifier) or not _CHALLENGE.fullmatch(challenge):
        return False
    return compare_digest(challenge_of(verifier), challenge)


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a verifier (RFC 7636 §4.2)."""
    return urlsafe_b64encode(sha256(verifier.encode("ascii")).digest()).rstrip(b"=").decode("ascii")
