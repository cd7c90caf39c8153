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
from django.apps import apps
from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from ovauth.conf import VERSION
from ovauth.flows import readiness, restoration
from ovauth.flows.restoration import Restored
from ovauth.management.failure import Failed
from ovauth.models import DatabaseMark

ADVISORY_LOCK: Final = 0x6F76_6175  # “ovau”
COLLECTED: Final = ".collected"
TOLD: Final = "restored"
"""A file of this name in the data folder is the operator's word that the database was restored."""


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
            cursor.execute("SELECT pg_advisory_lock(%s)", [ADVISORY_LOCK])
            try:
                yield
            finally:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [ADVISORY_LOCK])
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
        call_command("migrate", verbosity=0, interactive=False, skip_checks=True)
    return True


def _refuse_newer() -> None:
    loader = MigrationLoader(connection)
    ours = {config.label for config in apps.get_app_configs()}
    known = set(loader.disk_migrations)
    newer = sorted(f"{app}.{name}" for app, name in set(loader.applied_migrations) - known if app in ours)
    if newer:
        raise Failed(
            f"The database is newer than this program (it has {newer[-1]}; this is ovauth {VERSION}). "
            "Start the version that migrated it, or restore the copy from before."
        )


def settle() -> Restored | None:
    """Ends what a restored database holds, before anybody is answered; None when it was not restored.

    A copy made by `backup` is recognised, and so is a PostgreSQL dump. Other ways leave no trace: there the operator tells.
    """
    word = settings.OVAUTH.data_dir / TOLD
    with turn():
        restored = restoration.settle(home=_home(), told=word.exists())
        word.unlink(missing_ok=True)
    return restored


def _home() -> str:
    """Stays the same when a data folder moves; differs after `pg_restore`, which makes its tables anew."""
    if connection.vendor != "postgresql":
        return connection.vendor
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::regclass::oid", [DatabaseMark._meta.db_table])
        (table,) = cursor.fetchone()
    return f"postgresql, table {table}"


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
