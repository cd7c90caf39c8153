"""A consistent copy of the SQLite database, while it is served."""

from pathlib import Path
from typing import Any, ClassVar

from django.core.management.base import CommandParser
from django.db import connection

from ovauth.management import copies
from ovauth.management.command import OvauthCommand
from ovauth.management.failure import Failed


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
        try:
            copies.make(source, file)
        except copies.TooOld:
            raise Failed(
                "The database is from before this program. Copy it with the program that serves it, then upgrade."
            ) from None
        self.stdout.write(f"Copied the database to {file} ({file.stat().st_size:,} bytes).")
        self.stdout.write("Keep the secret key too (the file secret_key, or OVAUTH_SECRET_KEY): it is not in the copy.")
