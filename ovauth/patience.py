"""A server waits for its database for seconds, not for ever, and keeps no connection that was made in bad times.

`statement_timeout` is kept by PostgreSQL itself. One that is frozen (a stopped machine, a disk that hangs) keeps nothing,
and its host still acknowledges every packet: only whoever asks can give up.
"""

import os
import time
from functools import partial
from typing import Any, Final

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

PATIENCE: Final = 10
"""Seconds; more than the `statement_timeout` of the settings, which tells more."""


READ_ONLY_FOR: Final = 5
"""Seconds that a connection to a SQLite file is kept which may not be written: it would never write again."""


def be_impatient() -> None:
    """From now on, in this process, each new connection to PostgreSQL is dropped when it is silent for too long, and one
    to a SQLite file that may not be written when it is a few seconds old.

    Whoever asked gets an OperationalError, and the next one a new connection.
    """
    connection_created.connect(_judge, dispatch_uid="ovauth.patience")


def _judge(connection: BaseDatabaseWrapper, **_: Any) -> None:
    if connection.vendor == "postgresql":
        connected = connection.connection
        connected.wait = partial(_wait, connected)
    elif not os.access(connection.settings_dict["NAME"], os.W_OK):
        connection.close_at = time.monotonic() + READ_ONLY_FOR


def _wait(connected: psycopg.Connection[Any], generator: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
    try:
        return psycopg.Connection.wait(connected, generator, interval, PATIENCE if timeout is None else timeout)
    except psycopg.OperationalError as error:
        if not connected.closed and timeout is None and type(error).__name__ == "_WaitTimeout":
            connected.pgconn.finish()  # a rollback would wait as long again
            raise psycopg.OperationalError(f"PostgreSQL did not answer within {PATIENCE} s") from None
        raise
