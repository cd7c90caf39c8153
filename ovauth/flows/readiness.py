"""Can this process do its work? The database answers and takes writes, and its schema is that of the program."""

import os
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from django.apps import apps
from django.db import DatabaseError, Error, InterfaceError, OperationalError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.models.functions import Now

from ovauth.models import DatabaseMark

OK = "ok"

ROOM: Final = 1024 * 1024
"""Bytes. With less left on its disk SQLite is about to fail."""
TURN_PATIENCE: Final = 750
"""Milliseconds; whoever asks whether we are ready waits for a second."""

_migrated = False


def checks() -> dict[str, str]:
    """What was looked at, and `ok` or what is wrong with it."""
    found = {"database": OK, "migrations": OK, "folder": OK}
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        if pending_migrations():
            found["migrations"] = "the database is older than the program; run migrate"
        if (why := _why_not_written()) is not None:
            begin_anew()
            found["database"] = f"cannot be written: {why}"
    except Error:
        begin_anew()
        return {"database": "does not answer"}
    if not _takes_writes():
        found["folder"] = "the database, or the folder that it is in, cannot be written"
    return found


def is_ready(found: dict[str, str]) -> bool:
    """Whether nothing that `checks` looked at is wrong."""
    return all(said == OK for said in found.values())


def is_database_fault(fault: Exception) -> bool:
    """Whether the database refused or did not answer: locked, full, read-only, gone. Nobody's request is wrong then."""
    return isinstance(fault, DatabaseError | InterfaceError)


def begin_anew() -> None:
    """Gives up this thread's connection after a fault: one that was opened while nobody could write stays read-only."""
    if connection.in_atomic_block:
        return
    if connection.vendor == "postgresql" and connection.connection is not None:
        connection.connection.close()  # a pool would keep it
    connection.close()


def _why_not_written() -> str | None:
    """What stands in the way of a write: found out by asking for one and taking it back."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SHOW transaction_read_only")
            return "it takes no writes, as a standby" if cursor.fetchone() == ("on",) else None
        if connection.in_atomic_block or connection.is_in_memory_db():  # type: ignore[attr-defined]
            return None
        if shutil.disk_usage(Path(connection.settings_dict["NAME"]).parent).free < ROOM:
            return "the disk is full"
        return _why_no_turn(cursor)


def _why_no_turn(cursor: Any) -> str | None:
    patience = cursor.execute("PRAGMA busy_timeout").fetchone()[0]
    cursor.execute(f"PRAGMA busy_timeout = {TURN_PATIENCE}")
    try:
        cursor.execute("BEGIN IMMEDIATE")
        cursor.execute("ROLLBACK")
    except OperationalError as error:
        return str(error)
    finally:
        cursor.execute(f"PRAGMA busy_timeout = {int(patience)}")
    return None


def _takes_writes() -> bool:
    """SQLite writes beside its file too, so the folder counts."""
    if connection.vendor != "sqlite" or connection.is_in_memory_db():  # type: ignore[attr-defined]
        return True
    file = Path(connection.settings_dict["NAME"])
    return os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)


def pending_migrations() -> bool:
    """Whether the program has migrations that the database has not; asked once the answer is no, never again."""
    global _migrated
    if not _migrated:
        executor = MigrationExecutor(connection)
        _migrated = not executor.migration_plan(executor.loader.graph.leaf_nodes())
    return not _migrated


def newer_migrations() -> list[str]:
    """What the database has of our apps and the program has not: a newer program migrated it."""
    loader = MigrationLoader(connection)
    ours = {config.label for config in apps.get_app_configs()}
    unknown = set(loader.applied_migrations) - set(loader.disk_migrations)
    return sorted(f"{app}.{name}" for app, name in unknown if app in ours)


def database_time() -> datetime | None:
    """What time it is where the database is; None while it is empty."""
    found: datetime | None = DatabaseMark.objects.values_list(Now(), flat=True).first()
    return found


def mend_connection() -> None:
    """Closes the connection of this thread if something failed on it and it no longer answers; what comes next opens a new
    one, or takes one from the pool."""
    if connection.errors_occurred:
        connection.close_if_unusable_or_obsolete()
