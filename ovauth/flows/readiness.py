"""Can this process do its work? The database answers and takes writes, and its schema is that of the program."""

import os
from pathlib import Path

from django.db import DatabaseError, Error, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor

_migrated = False


def faults() -> dict[str, str]:
    """What is wrong, by the name of the check; nothing when everything is well."""
    try:
        if pending_migrations():
            return {"migrations": "the database is older than the program; run migrate"}
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        if not _takes_writes():
            return {"database": "cannot be written"}
    except Error:
        connection.close()
        return {"database": "does not answer"}
    return {}


def is_database_fault(fault: Exception) -> bool:
    """Whether the database refused or did not answer: locked, full, read-only, gone. Nobody's request is wrong then."""
    return isinstance(fault, DatabaseError | InterfaceError)


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
