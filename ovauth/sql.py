"""SQL by hand, for what runs at every request: one text for SQLite and PostgreSQL, on the connection of this thread.

The ORM takes ten times as long over such a statement as the database does. Here a statement goes straight to the driver,
inside of whatever transaction Django has open on the connection; faults of the driver come out as Django's. The texts are
in `ovauth.statements`, and what is inserted is made of the models, so that the two cannot differ.
"""

import json
import re
import threading
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

_NAMED: Final = re.compile(r"(?<!:):([a-z_]+)")

Row = tuple[Any, ...]

_of_this_thread = threading.local()


def _connection() -> BaseDatabaseWrapper:
    """Django's connection of this thread, found without Django's way there, which costs as much as a short statement."""
    try:
        return _of_this_thread.connection
    except AttributeError:
        _of_this_thread.connection = connections[DEFAULT_DB_ALIAS]
        return _of_this_thread.connection


class Statement:
    """One statement, with `:named` parameters. Moments go in as they are; what comes out is what the driver makes of it."""

    def __init__(self, text: str) -> None:
        self.sqlite = text
        self.postgresql = _NAMED.sub(r"%(\1)s", text)

    def row(self, **parameters: Any) -> Row | None:
        """The first row, or None. Raises django.db.DatabaseError.

        The connection of a long-lived thread may be from before a restart of the database. What only reads begins again
        on a new one, unless it is part of a transaction.
        """
        connection = _connection()
        try:
            return self._execute(connection, parameters).fetchone()
        except (InterfaceError, OperationalError):
            if connection.in_atomic_block:
                raise
            connection.close()
            return self._execute(connection, parameters).fetchone()

    def run(self, **parameters: Any) -> int:
        """How many rows it changed. Raises django.db.DatabaseError."""
        return int(self._execute(_connection(), parameters).rowcount)

    def run_returning(self, **parameters: Any) -> Any:
        """The first value of what it returns. Raises django.db.DatabaseError."""
        return self._execute(_connection(), parameters).fetchone()[0]

    def _execute(self, connection: BaseDatabaseWrapper, parameters: dict[str, Any]) -> Any:
        if connection.connection is None:
            connection.ensure_connection()
        if connection.execute_wrappers or connection.force_debug_cursor:
            cursor = connection.cursor()  # somebody listens to what Django asks: let them hear this too
            cursor.execute(self.postgresql, for_sqlite(parameters) if connection.vendor == "sqlite" else parameters)
            return cursor
        try:
            if connection.vendor == "sqlite":
                return connection.connection.execute(self.sqlite, for_sqlite(parameters))
            cursor = connection.connection.cursor()
            cursor.execute(self.postgresql, parameters)
            return cursor
        except connection.Database.Error:  # type: ignore[attr-defined]
            with connection.wrap_database_errors:
                raise


class Insert:
    """The insertion of one row of a model; a field that is not given has its default."""

    def __init__(self, model: type[models.Model]) -> None:
        fields = [field for field in model._meta.concrete_fields if not field.primary_key]
        self._defaults = {field.attname: field.get_default for field in fields}
        self._in_json = frozenset(field.attname for field in fields if isinstance(field, models.JSONField))
        columns = ", ".join(f'"{field.column}"' for field in fields)
        values = ", ".join(f":{field.attname}" for field in fields)
        self.statement = Statement(f'INSERT INTO "{model._meta.db_table}" ({columns}) VALUES ({values}) RETURNING id')

    def __call__(self, **values: Any) -> int:
        """The primary key of the new row. Raises django.db.DatabaseError, IntegrityError among them."""
        for name, default in self._defaults.items():
            if name not in values:
                values[name] = default()
        for name in self._in_json:
            values[name] = json.dumps(values[name])
        return int(self.statement.run_returning(**values))

    def of(self, row: models.Model) -> int:
        """The same, of an instance that is not stored yet."""
        return self(**{name: getattr(row, name) for name in self._defaults})


def for_sqlite(parameters: dict[str, Any]) -> dict[str, Any]:
    """SQLite knows no moments: they are stored as text, as Django writes it."""
    return {name: _as_text(value) if isinstance(value, datetime) else value for name, value in parameters.items()}


@lru_cache(maxsize=64)
def _as_text(moment: datetime) -> str:
    """As `adapt_datetimefield_value` of Django's SQLite has it; a test holds the two against each other."""
    return str(moment.astimezone(UTC).replace(tzinfo=None))


def moment(stored: Any) -> datetime:
    """A moment that came out of a row."""
    if isinstance(stored, str):
        stored = datetime.fromisoformat(stored)
    return stored if stored.tzinfo is not None else stored.replace(tzinfo=UTC)
