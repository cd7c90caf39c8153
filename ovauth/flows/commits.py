"""One commit for several requests (group commit). SQLite alone wants it: there one writes at a time, and a commit costs
nearly the same for one request as for ten.

Nobody is answered before the commit. Each request keeps its own transaction, which is a savepoint in the shared one: what
is refused, or fails, undoes its own and nothing else.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, DatabaseError, OperationalError, connection, connections, transaction

from ovauth.flows import readiness

log = logging.getLogger(__name__)

Wish = TypeVar("Wish")
Result = TypeVar("Result")


def are_shared() -> bool:
    """Whether requests that come at the same time should share a commit: PostgreSQL does the like by itself."""
    return connection.vendor == "sqlite"


def alone(do: Callable[[Wish], Result], wish: Wish) -> Result:
    """What is done, with a look at the connection behind it if something failed on it."""
    try:
        return do(wish)
    finally:
        readiness.mend_connection()


def together(do: Callable[[Wish], Result], wishes: Sequence[Wish]) -> list[Result]:
    """What is done for each of them, in their order, by one commit. `do` catches what it raises.

    If the whole cannot be committed, nothing of any of them happened. Then each is done again, by itself.
    """
    if len(wishes) > 1:
        ours = connections[DEFAULT_DB_ALIAS]
        try:
            with transaction.atomic():
                results = []
                for wish in wishes:
                    results.append(do(wish))
                    if not _is_whole(ours):  # at once: the next one would be committed by itself, and then done again
                        raise OperationalError("one of them ended the transaction")
            return results
        except DatabaseError as fault:
            log.warning("%d requests could not be committed together: %s", len(wishes), fault)
        finally:
            if ours.errors_occurred:
                readiness.begin_anew()
    return [alone(do, wish) for wish in wishes]


def _is_whole(ours: Any) -> bool:
    """Whether the open transaction still holds all that was done in it: a full disk, for one, ends it half-way."""
    return not ours.needs_rollback and bool(ours.connection.in_transaction)
