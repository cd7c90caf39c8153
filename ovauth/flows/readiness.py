"""Can this process do its work? The database answers, and its schema is that of the program."""

from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor

_migrated = False


def faults() -> dict[str, str]:
    """What is wrong, by the name of the check; nothing when everything is well."""
    try:
        if pending_migrations():
            return {"migrations": "the database is older than the program; run migrate"}
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        connection.close()
        return {"database": "does not answer"}
    return {}


def pending_migrations() -> bool:
    """Whether the program has migrations that the database has not; asked once the answer is no, never again."""
    global _migrated
    if not _migrated:
        executor = MigrationExecutor(connection)
        _migrated = not executor.migration_plan(executor.loader.graph.leaf_nodes())
    return not _migrated
