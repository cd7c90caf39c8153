"""A consistent copy of the SQLite database, while it is served."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

from django.core.management.base import CommandParser
from django.db import connection
from django.utils import timezone

from ovauth.flows.restoration import COPY
from ovauth.management.command import OvauthCommand
from ovauth.management.failure import Failed
from ovauth.models import DatabaseMark


class Command(OvauthCommand):
    help = "Copies the SQLite database to FILE while it is served. Holds no usable token; the secret key is not in it."
    prepares: ClassVar[bool] = False  # a copy before an upgrade is one of the old schema

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE", help="a file that does not exist yet")

    def perform(self, *, file: Path, **options: Any) -> None:
        if connection.vendor != "sqlite":
            raise Failed('The database is PostgreSQL. Copy it by its own means: pg_dump --format=custom "$DATABASE_URL"')
        source = Path(connection.settings_dict["NAME"])
        if not source.exists():
            raise Failed(f"There is no database at {source} yet. See that OVAUTH_DATA_DIR names the folder that is served.")
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
        self.stdout.write(f"Copied the database to {file} ({file.stat().st_size:,} bytes).")
        self.stdout.write("Keep the secret_key of the data folder too: it is not in the copy.")


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
    with closing(sqlite3.connect(source, timeout=20)) as database:
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
    try:
        copy.execute(f"DELETE FROM {table}")
        copy.execute(f"INSERT INTO {table} (home) VALUES (?)", [home])
    except sqlite3.OperationalError:
        raise Failed(
            "The database is from before this program. Copy it with the program that serves it, then upgrade."
        ) from None
