"""From an empty folder to one that can be worked with: the schema and the collected static files.

Two starts at once take turns: on one machine by a locked file, on one PostgreSQL by an advisory lock.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import django
from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.db import OperationalError, connection
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from ovauth.conf import VERSION
from ovauth.flows import readiness, restoration, shared_key
from ovauth.flows.restoration import Restored
from ovauth.management import copies
from ovauth.management.failure import Failed
from ovauth.models import DatabaseMark

ADVISORY_LOCK: Final = 0x6F76_6175  # “ovau”
COLLECTED: Final = ".collected"
TOLD: Final = "restored"
"""A file of this name in the data folder is the operator's word that the database was restored."""
MOVED: Final = "moved"
"""One of this name, that it is in another PostgreSQL with nothing lost: moved there while nobody served."""
REPLACED: Final = "replaced_secret_key"
"""And that the secret key is another one on purpose."""
BACKUPS: Final = "backups"
TABLE_PATIENCE: Final = 10
"""Seconds that a migration waits for a table, while everybody else waits behind it."""
LOCK_NOT_AVAILABLE: Final = "55P03"
TABLE_IN_USE: Final = (
    "The database could not be brought up to date: another program holds one of its tables (a dump, perhaps). "
    "Nothing was changed half-way; start again when it is done."
)


@contextmanager
def turn() -> Iterator[None]:
    """Inside, no other process prepares this data folder or this database."""
    descriptor = os.open(settings.OVAUTH.data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor)
        if connection.vendor != "postgresql":
            yield
            return
        with connection.cursor() as cursor:
            # Whoever is first may have a large table to change: the others wait as long as it takes.
            cursor.execute("SET statement_timeout = 0")
            cursor.execute("SET lock_timeout = 0")
            cursor.execute("SELECT pg_advisory_lock(%s)", [ADVISORY_LOCK])
            try:
                yield
            finally:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [ADVISORY_LOCK])
                cursor.execute("RESET statement_timeout")
                cursor.execute("RESET lock_timeout")
    finally:
        os.close(descriptor)  # which gives the lock back, as the end of the process does


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def migrate() -> bool:
    """Brings the schema up to the program; False when there was nothing to do. Raises Failed for a newer one."""
    if not readiness.pending_migrations():
        _refuse_newer()
        return False
    with turn():
        _refuse_newer()
        _copy_first()
        try:
            with _without_waiting_for_ever():
                call_command("migrate", verbosity=0, interactive=False, skip_checks=True)
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", None) == LOCK_NOT_AVAILABLE:
                raise Failed(TABLE_IN_USE) from None
            raise
    return True


def _copy_first() -> None:
    """The SQLite database as the previous program left it, in `backups` of the data folder."""
    if connection.vendor != "sqlite" or connection.is_in_memory_db() or not _is_behind():  # type: ignore[attr-defined]
        return
    copies.keep_one_from_before(Path(connection.settings_dict["NAME"]), settings.OVAUTH.data_dir / BACKUPS, timezone.now())


def _is_behind() -> bool:
    """Whether there is a database, and it is still to be migrated: another start may have done it meanwhile."""
    applied = set(MigrationLoader(connection).applied_migrations)
    return bool(applied) and not set(MigrationLoader(connection).disk_migrations) <= applied


@contextmanager
def _without_waiting_for_ever() -> Iterator[None]:
    """A change of a table waits for whoever reads it (a dump takes minutes), and everybody else waits behind it."""
    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = %s", [f"{TABLE_PATIENCE}s"])
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET lock_timeout")


def _refuse_newer() -> None:
    if newer := readiness.newer_migrations():
        raise Failed(
            f"The database is newer than this program (it has {newer[-1]}; this is ovauth {VERSION}). "
            "Start the version that migrated it, or restore the copy from before."
        )


def settle() -> Restored | None:
    """Ends what a restored database holds, before anybody is answered; None when it was not restored.

    A copy made by `backup` is recognised, and so is a PostgreSQL dump. Other ways leave no trace: there the operator tells.
    """
    restored, moved = settings.OVAUTH.data_dir / TOLD, settings.OVAUTH.data_dir / MOVED
    with turn():
        home, before = _home()
        ended = restoration.settle(home=home, before=before, told=restored.exists(), moved=moved.exists())
        restored.unlink(missing_ok=True)
        moved.unlink(missing_ok=True)
    return ended


def agree_on_the_key() -> None:
    """Raises Failed where other nodes of this PostgreSQL sign with a key that is unknown here."""
    if connection.vendor != "postgresql":
        return  # a SQLite database has one node, and its key lies beside it
    word = settings.OVAUTH.data_dir / REPLACED
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    with turn():
        if not shared_key.agree(keys=keys, replaced=word.exists()):
            raise Failed(
                "The other nodes of this database have another secret key: sessions and codes would work on one alone. "
                f"Give this one theirs (OVAUTH_SECRET_KEY, or {settings.OVAUTH.secret_key_path}). "
                f"If you replaced the key on purpose: touch {word}"
            )
        word.unlink(missing_ok=True)


def _home() -> tuple[str, str]:
    """Stays the same when a data folder moves; differs after `pg_restore`, which makes its tables anew. And how it was
    written before it named the server.

    Tables are numbered from the same number in every new server. What no other has is its system identifier, which a
    standby shares.
    """
    if connection.vendor != "postgresql":
        return connection.vendor, ""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT has_function_privilege('pg_control_system()', 'execute'), %s::regclass::oid,"
            " (SELECT oid FROM pg_database WHERE datname = current_database())",
            [DatabaseMark._meta.db_table],
        )
        may_ask, table, database = cursor.fetchone()
        server = "unknown"
        if may_ask:  # as everybody may, unless somebody took it away
            cursor.execute("SELECT system_identifier FROM pg_control_system()")
            (server,) = cursor.fetchone()
    return f"postgresql {server}, database {database}, table {table}", f"postgresql, table {table}"


def collect_static() -> bool:
    """Collects the static files where the server reads them; False when they are there already."""
    listing = _static_listing()
    mark = Path(settings.STATIC_ROOT) / COLLECTED
    if mark.exists() and mark.read_text() == listing:
        return False
    with turn():
        Path(settings.STATIC_ROOT).mkdir(exist_ok=True)
        call_command("collectstatic", verbosity=0, interactive=False, skip_checks=True)
        mark.write_text(listing)
    return True


def _static_listing() -> str:
    lines = [f"ovauth {VERSION}, Django {django.get_version()}"]
    for finder in get_finders():
        for path, storage in finder.list([]):
            state = Path(storage.path(path)).stat()
            lines.append(f"{path} {state.st_size} {state.st_mtime_ns}")
    return "\n".join(lines) + "\n"
