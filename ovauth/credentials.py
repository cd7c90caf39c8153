"""Every secret of ovauth is minted, digested and sealed here: the only home of randomness and hashing.

A secret in clear is called `plain`, at rest `digest`. Long secrets carry 256 random bits, so a bare SHA-256 protects
them. Short codes that a person reads or types could be enumerated, so they are looked up by a hash under the secret key.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


class Kind(StrEnum):
    """The prefix of each kind of credential. Published, so that secret scanners find a leak."""

    ACCESS_TOKEN = "ovat_"
    REFRESH_TOKEN = "ovrt_"
    AUTHORIZATION_CODE = "ovac_"
    DEVICE_CODE = "ovdc_"
    API_KEY = "ovk_"
    CLIENT_SECRET = "ovcs_"
    REGISTRATION_TOKEN = "ovreg_"


ALPHABET: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Of codes that people read and type: nothing that is mistaken for something else."""
DISPLAY_CODE_LENGTH: Final = 6
OTP_LENGTH: Final = 10
_NONCE_BYTES: Final = 12


def mint(kind: Kind) -> str:
    """A new secret of that kind: its prefix and 256 bits of the system's randomness."""
    return kind + secrets.token_urlsafe(32)


def identifier() -> str:
    """A new public identifier: 128 random bits, hard to guess but no secret."""
    return secrets.token_urlsafe(16)


def browser() -> str:
    """The secret that tells one browser from another, in a cookie: 256 random bits."""
    return secrets.token_urlsafe(32)


def derived_client_secret(key: str, client_id: str) -> str:
    """The client secret of one client, the same whenever it is asked for: nobody without the secret key can make it.

    For the mcp package's routes, which compare a client's secret in clear (`ovauth.resource.sdk`).
    """
    derived = base64.urlsafe_b64encode(keyed_digest(key, "client secret", client_id))
    return Kind.CLIENT_SECRET + derived.decode().rstrip("=")


def secret_key() -> str:
    """A new key for Django's signatures and for the hash of short codes: 384 random bits."""
    return secrets.token_urlsafe(48)


def references() -> Iterator[str]:
    """Ids of requests, 128 random bits each. The system is asked for many at a time: for each alone, it is a call to it."""
    while True:
        block = secrets.token_hex(16 * 256)
        yield from (block[at : at + 32] for at in range(0, len(block), 32))


def digest(plain: str) -> bytes:
    """What is stored of a long secret: 32 bytes of SHA-256."""
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).digest()


def same(plain: str, stored: bytes) -> bool:
    """Whether `plain` is the secret behind the stored digest, in constant time."""
    return hmac.compare_digest(digest(plain), stored)


def keyed_digest(key: str, purpose: str, plain: str) -> bytes:
    """What is stored of a short code: 32 bytes of HMAC-SHA-256 under the secret key, apart for each purpose."""
    return hmac.digest(key.encode(), f"ovauth {purpose}\0{plain}".encode("utf-8", "surrogatepass"), "sha256")


# ------------------------------------------------------------------ sealing


def _sealing_key(under: str) -> bytes:
    return hashlib.sha256(b"ovauth seal\0" + under.encode()).digest()


def seal(plain: str, *, under: str) -> bytes:
    """`plain`, readable again only by a holder of the secret `under` (itself a long random secret).

    AES-256-GCM with a key that exists nowhere at rest: the database alone does not open it.
    """
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(_sealing_key(under)).encrypt(nonce, plain.encode(), None)


def unseal(sealed: bytes | memoryview, *, under: str) -> str | None:
    """What `seal` closed, or None when `under` is another secret."""
    stored = bytes(sealed)
    nonce, ciphertext = stored[:_NONCE_BYTES], stored[_NONCE_BYTES:]
    try:
        return AESGCM(_sealing_key(under)).decrypt(nonce, ciphertext, None).decode()
    except InvalidTag:
        return None


# ------------------------------------------------------------------ codes for people


def display_code(key: str, pending_id: str, attempt: int) -> str:
    """The six characters of one pending request: the same at every reload, stored nowhere.

    `attempt` counts up when the code of an earlier attempt is in use by another live request.
    """
    number = int.from_bytes(keyed_digest(key, "display code", f"{pending_id}\0{attempt}")[:8])
    return _spell(number, DISPLAY_CODE_LENGTH)


def one_time_password() -> str:
    """A new one-time password, in clear: ten characters (50 bits), to be typed within minutes."""
    return _spell(secrets.randbits(5 * OTP_LENGTH), OTP_LENGTH)


def normalise(typed: str, length: int) -> str | None:
    """What a person typed, in capitals and without spaces and hyphens; None if it cannot be such a code."""
    code = typed.upper().translate({ord(character): None for character in " -\u00a0\u2010\u2011\u2013\t"})
    return code if len(code) == length and set(code) <= set(ALPHABET) else None


def grouped(code: str) -> str:
    """A code as people read it: two groups with a hyphen between."""
    half = len(code) // 2
    return f"{code[:half]}-{code[half:]}"


def _spell(number: int, length: int) -> str:
    return "".join(ALPHABET[(number >> 5 * place) & 31] for place in range(length))


def password() -> str:
    """A first password: three pronounceable groups and four digits, 63 bits, easy to type on a phone."""
    consonants, vowels = "bdfghjklmnprstvz", "aeiou"
    pattern = (consonants, vowels, consonants, vowels, consonants)
    groups = ["".join(secrets.choice(letters) for letters in pattern) for _ in range(3)]
    groups.insert(2, f"{secrets.randbelow(10_000):04}")
    return "-".join(groups)
