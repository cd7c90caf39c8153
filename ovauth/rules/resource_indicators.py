"""Which protected resource a token is for (RFC 8707).

A resource has one canonical spelling, which is stored and enforced. Clients write it in others: the
accepted ones are those that RFC 3986 §6.2 calls equivalent, with or without a slash at the end, and the
bare origin.
"""

from collections.abc import Sequence

from ovauth.errors import InvalidTarget
from ovauth.rules import web_address


def canonical(asked: Sequence[str], *, resources: Sequence[str], issuer: str) -> str:
    """All `resource` parameters of a request in, the canonical resource out; none: the first of `resources`.

    A parameter without a value counts as not sent (RFC 6749 §3.1). Raises InvalidTarget when one is not
    served here, or when they mean more than one resource.
    """
    spellings = {_normal(web_address.read(issuer).origin): resources[0]}
    spellings |= {_normal(resource): resource for resource in resources}
    meant: set[str] = set()
    for each in filter(None, asked):
        if (found := spellings.get(_normal(each))) is None:
            raise InvalidTarget(reason=f"resource={each[:200]!a}")
        meant.add(found)
    if len(meant) > 1:
        raise InvalidTarget("A token is for one resource only.")
    return meant.pop() if meant else resources[0]


def same(asked: Sequence[str], *, granted: str, resources: Sequence[str], issuer: str) -> bool:
    """Whether a token request stays with what was granted: by naming none, or the same (RFC 8707 §2.2)."""
    if all(each in ("", granted) for each in asked):
        return True  # nearly every client repeats it as it was granted
    try:
        return canonical(asked, resources=resources, issuer=issuer) == granted
    except InvalidTarget:
        return False


def _normal(uri: str) -> str:
    """What equivalent spellings share; what cannot be read or has a fragment equals itself only."""
    try:
        address = web_address.read(uri)
    except ValueError:
        return uri
    return uri if "#" in address.rest else address.origin + address.rest.removesuffix("/")
