"""A server waits for PostgreSQL for seconds, not for ever.

`statement_timeout` is kept by PostgreSQL itself. One that is frozen (a stopped machine, a disk that hangs) keeps nothing,
and its host still acknowledges every packet: only whoever asks can give up.
"""

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

if TYPE_CHECKING:  # 13 MB that a server on SQLite has no use for
    import psycopg

PATIENCE: Final = 10
"""Seconds; more than the `statement_timeout` of the settings, which tells more."""


def be_impatient() -> None:
    """From now on, in this process, each new connection to PostgreSQL is dropped when it is silent for too long.

    Whoever asked gets an OperationalError, and the next one a new connection.
    """
    connection_created.connect(_make_impatient, dispatch_uid="ovauth.patience")


def _make_impatient(connection: BaseDatabaseWrapper, **_: Any) -> None:
    if connection.vendor == "postgresql":
        connected = connection.connection
        connected.wait = partial(_wait, connected)


def _wait(connected: "psycopg.Connection[Any]", generator: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
    import psycopg

    try:
        return psycopg.Connection.wait(connected, generator, interval, PATIENCE if timeout is None else timeout)
    except psycopg.OperationalError as error:
        if not connected.closed and timeout is None and type(error).__name__ == "_WaitTimeout":
            connected.pgconn.finish()  # a rollback would wait as long again
            raise psycopg.OperationalError(f"PostgreSQL did not answer within {PATIENCE} s") from None
        raise
