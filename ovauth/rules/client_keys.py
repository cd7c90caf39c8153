"""The public keys by which a client proves itself (RFC 7517 §5, RFC 7591 §2)."""

MOST_KEYS = 20

_SECRET_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


def why_not_key_set(value: object) -> str | None:
    """Bounded JSON in; why it is no set of public keys, as a phrase fit for an answer, or None.

    Whether a key can be used is for whoever uses it: a set may have kinds that we do not know (RFC 7517 §5).
    """
    keys = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(keys, list):
        return "it must be an object with a list of keys"
    if len(keys) > MOST_KEYS:
        return f"it must not have more than {MOST_KEYS} keys"
    if not all(isinstance(key, dict) and isinstance(key.get("kty"), str) for key in keys):
        return "every key must be an object with a kty"
    # We would store somebody's private key, and give it out again at GET /register.
    if any(_SECRET_MEMBERS & key.keys() for key in keys):
        return "it must not contain private or symmetric keys"
    return None
