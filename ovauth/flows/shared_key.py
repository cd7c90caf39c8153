"""All nodes of one database sign with the same secret key: a session or a code of one works at every other.

The database keeps a hash of a fixed word under the key that signs. Whoever cannot make it has another key.
"""

from collections.abc import Sequence

from django.db import transaction

from ovauth import credentials
from ovauth.models import DatabaseMark


def agree(*, keys: Sequence[str], replaced: bool) -> bool:
    """Whether this node, with these keys (the first signs, the others verify), may join the others.

    The first node decides. One that signs with a new key and still verifies the old one is in the middle of a rotation,
    and one whose operator has `replaced` the key on purpose begins anew: both are followed from then on.
    """
    marks = _marks(keys)
    with transaction.atomic():
        found = DatabaseMark.objects.select_for_update().get()
        known = None if found.key_digest is None else bytes(found.key_digest)
        if known not in (None, *marks) and not replaced:
            return False
        if known != marks[0]:
            DatabaseMark.objects.filter(pk=found.pk).update(key_digest=marks[0])
    return True


def fits(*, keys: Sequence[str]) -> bool:
    """Whether `agree` would be content with these keys; nothing is changed."""
    known = DatabaseMark.objects.values_list("key_digest", flat=True).first()
    return known is None or bytes(known) in _marks(keys)


def _marks(keys: Sequence[str]) -> list[bytes]:
    return [credentials.keyed_digest(key, "key of the nodes", "") for key in keys]
