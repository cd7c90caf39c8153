"""The connections of a serving process to PostgreSQL: Django's own pool, from psycopg, which its threads share.

A thread takes a connection when it first asks something and gives it back when nobody waits for the thread. The pool looks
whether a connection still answers before it hands it out, so a restart of PostgreSQL, or another one in its place, is
noticed by nobody who comes afterwards.
"""

import time
from contextlib import suppress
from typing import Any, Final

import psycopg
from django.db import DEFAULT_DB_ALIAS, Error, connections
from psycopg_pool import ConnectionPool

PATIENCE: Final = 10
"""Seconds that PostgreSQL may be silent; more than the `statement_timeout` of the settings, which tells more."""
WAITS: Final = 3
"""Seconds that somebody waits for a connection, also while there is no PostgreSQL; then it is a 503."""
TRIES: Final = 1
"""Seconds for which the pool tries to connect by itself. Afterwards the next one who asks makes it try again."""


class Connection(psycopg.Connection[Any]):
    """One that does not wait for ever, and that takes those with it that lie in the pool when it is found dead.

    `statement_timeout` is kept by PostgreSQL itself. One that is frozen (a stopped machine, a disk that hangs) keeps
    nothing, and its host still acknowledges every packet: only whoever asks can give up.
    """

    drained_at = 0.0

    def __init__(self, pgconn: Any) -> None:
        super().__init__(pgconn)
        self.made_at = time.monotonic()

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, PATIENCE if timeout is None else timeout)
        except psycopg.OperationalError as error:
            silent = timeout is None and type(error).__name__ == "_WaitTimeout" and not self.closed
            if silent:
                self.pgconn.finish()  # a rollback would wait as long again
            if self.closed:
                self._take_the_others_along()
            if silent:
                raise psycopg.OperationalError(f"PostgreSQL did not answer within {PATIENCE} s") from None
            raise

    def _take_the_others_along(self) -> None:
        """What ended one has ended all: whoever came next would find them dead one by one, and wait longer each time."""
        pool = self._pool
        if isinstance(pool, ConnectionPool) and self.made_at > Connection.drained_at:
            Connection.drained_at = time.monotonic()
            pool.drain()


def begin(size: int) -> None:
    """From now on the threads of this process share so many connections, at most. They call `give_back` when they rest."""
    settings = connections.settings[DEFAULT_DB_ALIAS]
    settings["CONN_MAX_AGE"] = 0
    settings["OPTIONS"]["pool"] = {
        "name": "ovauth",
        "connection_class": Connection,
        "min_size": 1,
        "max_size": size,
        "timeout": WAITS,
        "reconnect_timeout": TRIES,
    }


def give_back() -> None:
    """This thread's connection. One that is out of order is replaced by the pool."""
    with suppress(Error):  # its last rollback failed: whoever asked was told already
        connections[DEFAULT_DB_ALIAS].close()
