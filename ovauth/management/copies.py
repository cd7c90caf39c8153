"""A consistent copy of the SQLite database while it is served: by `backup`, and by itself before every migration."""

import os
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Final

from django.utils import timezone

from ovauth.flows.restoration import COPY
from ovauth.management.failure import Failed
from ovauth.models import DatabaseMark

PATIENCE: Final = 20
"""Seconds that a copy waits for a database that is locked as a whole."""
KEPT: Final = 3
"""How many copies from before migrations stay."""


class TooOld(Exception):
    """The database is from before there were marks: the copy could not be told from the original."""


def make(source: Path, file: Path) -> None:
    """Copies the database to a file that does not exist yet (mode 600), whole or not at all. Raises Failed, TooOld."""
    _reserve(file)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        _copy(source, draft)
        draft.replace(file)
    except BaseException as fault:
        draft.unlink(missing_ok=True)
        file.unlink(missing_ok=True)
        if isinstance(fault, sqlite3.Error | OSError):
            raise Failed(f"The copy {file} could not be made ({fault}). See that the disk has room.") from None
        raise


def keep_one_from_before(source: Path, folder: Path, now: datetime) -> Path | None:
    """A copy in the folder, named after the moment; of older ones the newest two stay. None for a database that is too old.

    Raises Failed: what cannot be copied is not migrated either.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise Failed(f"{folder} cannot be made ({error.strerror}): the copy from before the upgrade goes there.") from None
    file = folder / f"before-upgrade-{now:%Y%m%dT%H%M%S%f}.sqlite3"
    try:
        make(source, file)
    except TooOld:
        return None
    for older in sorted(folder.glob("before-upgrade-*.sqlite3"))[:-KEPT]:
        older.unlink(missing_ok=True)
    return file


def _reserve(file: Path) -> None:
    """Takes the name, if nobody has it: an older copy is never written over, whoever else is at it."""
    try:
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        raise Failed(f"{file} exists already. Name a file that does not.") from None
    except OSError as error:
        raise Failed(f"{file} cannot be written ({error.strerror}). Name a file in a folder that can.") from None


def _copy(source: Path, draft: Path) -> None:
    """One read transaction: writers go on, and the copy is of one moment. It is whole and on the disk at return."""
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    moment = timezone.now()
    with closing(sqlite3.connect(source, timeout=PATIENCE)) as database:
        database.execute("VACUUM INTO ?", [str(draft)])
    with closing(sqlite3.connect(draft)) as copy, copy:
        _mark(copy, f"{COPY} {moment:%Y-%m-%d %H:%M} UTC")
        (verdict,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)
    descriptor = os.open(draft, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _mark(copy: sqlite3.Connection, home: str) -> None:
    """A start on this copy sees that it is not at home, and ends what may have been revoked meanwhile."""
    table = DatabaseMark._meta.db_table
    if not copy.execute("SELECT 1 FROM sqlite_master WHERE name = ?", [table]).fetchone():
        raise TooOld
    copy.execute(f"DELETE FROM {table}")
    copy.execute(f"INSERT INTO {table} (home) VALUES (?)", [home])
