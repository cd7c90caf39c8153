"""What a token may be used for: asked, known, granted, and never more than that (RFC 6749 §3.3 and §6)."""

import re
from collections.abc import Iterable, Mapping, Sequence

from ovauth.errors import InvalidScope

ALWAYS_DROPPED = frozenset({"openid", "profile", "email", "address", "phone", "offline_access"})
"""What clients ask for out of habit with OpenID Connect, which this server does not speak."""

_TOKEN = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+")


def parse(text: str | None) -> tuple[str, ...]:
    """The scope parameter in, its tokens out, each once and in order (RFC 6749 §3.3).

    Raises InvalidScope for a character that a scope token cannot have.
    """
    if not text:
        return ()
    tokens = tuple(dict.fromkeys(token for token in text.split(" ") if token))
    if not all(_TOKEN.fullmatch(token) for token in tokens):
        raise InvalidScope("The scope contains a character that is not allowed there.")
    return tokens


def choose(asked: str | None, *, known: Sequence[str], default: Sequence[str]) -> tuple[str, ...]:
    """The scopes that an authorization is about, in the order of `known`.

    Nothing asked, or nothing but ALWAYS_DROPPED: the defaults. Unknown ones are dropped as long as a known
    one remains, since clients ask for what other servers have; what was granted is in the answer. Raises
    InvalidScope when none remains.
    """
    wanted = _meant(asked) or tuple(default)
    chosen = tuple(scope for scope in known if scope in wanted)
    if not chosen:
        raise InvalidScope
    return chosen


def narrow(granted: Sequence[str], asked: str | None) -> tuple[str, ...]:
    """Asking for less is fine, asking for nothing means all of it, in the order of `granted` (RFC 6749 §6).

    Raises InvalidScope for anything that was not granted.
    """
    wanted = _meant(asked)
    if not wanted:
        return tuple(granted)
    if not set(wanted) <= set(granted):
        raise InvalidScope("More was asked for than was granted.")
    return tuple(scope for scope in granted if scope in wanted)


def allowed(scopes: Sequence[str], *, role: int, lowest_role: Mapping[str, int]) -> tuple[str, ...]:
    """Those whose lowest role the holder reaches; one that nobody gave a lowest role is for nobody."""
    return tuple(scope for scope in scopes if scope in lowest_role and role >= lowest_role[scope])


def joined(scopes: Iterable[str]) -> str:
    """The scope parameter of an answer (RFC 6749 §3.3)."""
    return " ".join(scopes)


def _meant(asked: str | None) -> tuple[str, ...]:
    return tuple(scope for scope in parse(asked) if scope not in ALWAYS_DROPPED)
