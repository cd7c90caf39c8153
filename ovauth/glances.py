"""Reading in the event loop itself, where that waits for nobody. On SQLite alone: a reader of WAL waits for no writer, and
a short query takes less than the way to a thread and back.

A glance answers, or says that somebody should look who may wait: the database is locked or cannot be read, something would
have to be written, or glances were slow a moment ago.
"""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from django.db import connection

from ovauth import sql

SLOW: Final = 0.050
"""Seconds. Two glances in a row that took longer met a slow disk, and the event loop stood still meanwhile."""
LOOK_AWAY: Final = 1.0
"""Seconds for which threads look in its place, then. On a disk that stays slow the loop so stands still once a second; on a
machine that was merely busy it does not cost much."""

Result = TypeVar("Result")


def are_possible() -> bool:
    return connection.vendor == "sqlite" and not connection.is_in_memory_db()  # type: ignore[attr-defined]


class Glances:
    """A connection of one event loop that only reads. A fault or slowness sends whoever asks to a thread for a while."""

    def __init__(self) -> None:
        self._connection: sqlite3.Connection | None = None
        self._looks_again_at = 0.0
        self._was_slow = False

    def look(self, ask: Callable[[], Result]) -> Result | None:
        """What `ask` returns or raises, its statements asked here; None when a thread has to do it."""
        started = time.monotonic()
        if started < self._looks_again_at:
            return None
        try:
            with sql.ReadingFrom(self._connection or self._opened()):
                return ask()
        except sql.NotByReading as why:
            if why.fault is not None:
                self._failed(started)
            return None
        except sqlite3.Error:
            self._failed(started)
            return None
        finally:
            self._took(started)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            # `rw`, since a reader of WAL takes part in its shared memory; that it writes nothing is said by query_only.
            address = f"{Path(connection.settings_dict['NAME']).absolute().as_uri()}?mode=rw"
            # One event loop at a time looks, which need not be in the thread of the first.
            self._connection = sqlite3.connect(address, uri=True, timeout=0, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA query_only = ON")
        return self._connection

    def _failed(self, started: float) -> None:
        self.close()
        self._looks_again_at = started + LOOK_AWAY

    def _took(self, started: float) -> None:
        if time.monotonic() - started <= SLOW:
            self._was_slow = False
        elif self._was_slow:
            self._looks_again_at = started + LOOK_AWAY
        else:
            self._was_slow = True  # once may be a busy machine that gave the processor to somebody else
