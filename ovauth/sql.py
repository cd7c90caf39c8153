"""SQL by hand, for what runs at every request: one text for SQLite and PostgreSQL, on the connection of this thread.

The ORM takes ten times as long over such a statement as the database does. Here a statement goes straight to the driver,
inside of whatever transaction Django has open on the connection; faults of the driver come out as Django's. The texts are
in `ovauth.statements`, and what is inserted is made of the models, so that the two cannot differ.
"""

import json
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

_NAMED: Final = re.compile(r"(?<!:):([a-z_]+)")
MOMENTS: Final = frozenset({"now", "stale", "until"})
"""What a parameter that is a moment may be called, so that nobody has to look at every value."""

Row = tuple[Any, ...]

_of_this_thread = threading.local()


def _connection() -> BaseDatabaseWrapper:
    """Django's connection of this thread, found without Django's way there, which costs as much as a short statement."""
    try:
        return _of_this_thread.connection
    except AttributeError:
        _of_this_thread.connection = connections[DEFAULT_DB_ALIAS]
        return _of_this_thread.connection


class NotByReading(BaseException):
    """Raised past everybody who handles faults: somebody has to do this who may wait, and write. `fault` is what SQLite
    said, if it could not even be read."""

    def __init__(self, fault: sqlite3.Error | None = None) -> None:
        self.fault = fault


class ReadingFrom:
    """Within it the statements of this thread read by that connection of SQLite. Raises NotByReading."""

    def __init__(self, driver: sqlite3.Connection) -> None:
        self._ours: Any = _Reading(driver)

    def __enter__(self) -> None:
        self._before = _connection()
        _of_this_thread.connection = self._ours

    def __exit__(self, *_: object) -> None:
        _of_this_thread.connection = self._before


class _Reading:
    """As much of a connection of Django's as a statement needs that reads."""

    vendor = "sqlite"
    Database = sqlite3
    execute_wrappers = ()
    force_debug_cursor = False

    def __init__(self, driver: sqlite3.Connection) -> None:
        self.connection = driver

    @property
    def in_atomic_block(self) -> bool:
        raise NotByReading  # a transaction begins where something is written

    @property
    @contextmanager
    def wrap_database_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as fault:
            would_write = getattr(fault, "sqlite_errorcode", None) == sqlite3.SQLITE_READONLY
            raise NotByReading(None if would_write else fault) from None


def atomic() -> AbstractContextManager[None]:
    """Django's `transaction.atomic`. Within a transaction of SQLite the savepoint is made without Django's cursors, whose
    two ways there cost as much as two statements: with `flows.commits` every token request begins one."""
    connection = _connection()
    if connection.vendor == "sqlite" and connection.in_atomic_block and not connection.needs_rollback:
        return _Savepoint(connection)
    return transaction.atomic()


class _Savepoint:
    """What Django does at the begin and the end of a nested `atomic`."""

    __slots__ = ("_connection", "_told_before")

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._told_before = len(self._connection.run_on_commit)
        self._run("SAVEPOINT ovauth")

    def __exit__(self, kind: object, fault: object, traceback: object) -> None:
        connection = self._connection
        if kind is None and not connection.needs_rollback:
            self._run("RELEASE ovauth")
            return
        connection.needs_rollback = False
        del connection.run_on_commit[self._told_before :]
        try:
            self._run("ROLLBACK TO ovauth")
            self._run("RELEASE ovauth")
        except DatabaseError:
            connection.needs_rollback = True  # the transaction is gone, and the fault that is on its way says why

    def _run(self, text: str) -> None:
        execute(self._connection, text, text, ())


def after_commit(call: Callable[[], object]) -> None:
    """Django's `transaction.on_commit`, on the connection of this thread. What it raises is logged and goes no further: the
    commit is done, and with `flows.commits` it was that of others as well."""
    _connection().on_commit(call, robust=True)


class Statement:
    """One statement, with `:named` parameters. Moments go in as they are; what comes out is what the driver makes of it."""

    def __init__(self, text: str) -> None:
        self.sqlite = text
        self.postgresql = _NAMED.sub(r"%(\1)s", text)
        self._moments = tuple(MOMENTS & set(_NAMED.findall(text)))

    def row(self, **parameters: Any) -> Row | None:
        """The first row, or None. Raises django.db.DatabaseError."""
        found: Row | None = self._execute(_connection(), parameters).fetchone()
        return found

    def run(self, **parameters: Any) -> int:
        """How many rows it changed. Raises django.db.DatabaseError."""
        return int(self._execute(_connection(), parameters).rowcount)

    def for_sqlite(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """The parameters, which are changed: SQLite knows no moments, and Django stores them as text."""
        for name in self._moments:
            parameters[name] = _as_text(parameters[name])
        return parameters

    def _execute(self, connection: BaseDatabaseWrapper, parameters: dict[str, Any]) -> Any:
        if connection.vendor == "sqlite":
            return execute(connection, self.sqlite, self.postgresql, self.for_sqlite(parameters))
        return execute(connection, self.postgresql, self.postgresql, parameters)


class Insert:
    """The insertion of one row of a model; a field that is not given has its default."""

    def __init__(self, model: type[models.Model]) -> None:
        fields = [field for field in model._meta.concrete_fields if not field.primary_key]
        self._defaults = [(field.attname, _constant(field)) for field in fields]
        self._in_json = [place for place, field in enumerate(fields) if isinstance(field, models.JSONField)]
        self._moments = [place for place, field in enumerate(fields) if isinstance(field, models.DateTimeField)]
        columns = ", ".join(f'"{field.column}"' for field in fields)
        text = f'INSERT INTO "{model._meta.db_table}" ({columns}) VALUES ({{}})'
        # SQLite knows the last id anyway: RETURNING takes a fifth of the whole insertion there.
        self._sqlite = text.format(", ".join("?" for _ in fields))
        self._sqlite_by_django = text.format(", ".join("%s" for _ in fields))
        self._postgresql = f"{self._sqlite_by_django} RETURNING id"

    def __call__(self, **values: Any) -> int:
        """The primary key of the new row. Raises django.db.DatabaseError, IntegrityError among them."""
        row = [values.get(name, default) for name, default in self._defaults]
        for place in self._in_json:
            row[place] = _in_json(row[place])
        connection = _connection()
        if connection.vendor != "sqlite":
            return int(execute(connection, self._postgresql, self._postgresql, row).fetchone()[0])
        for place in self._moments:
            if row[place] is not None:
                row[place] = _as_text(row[place])
        return int(execute(connection, self._sqlite, self._sqlite_by_django, row).lastrowid)

    def of(self, row: models.Model) -> int:
        """The same, of an instance that is not stored yet."""
        return self(**row.__dict__)


_EMPTY: Final[dict[type, str]] = {dict: "{}", list: "[]"}


def _in_json(value: Any) -> str:
    return json.dumps(value) if value or type(value) not in _EMPTY else _EMPTY[type(value)]


def _constant(field: Any) -> Any:
    """The default of a field, which is the same for every row. Raises TypeError for one that is not."""
    if field.has_default() and callable(field.default) and field.default not in (list, dict):
        raise TypeError(f"{field} has another default for each row")
    return field.get_default()


def execute(connection: BaseDatabaseWrapper, text: str, by_django: str, parameters: Any) -> Any:
    """The cursor, executed. `by_django` is the text as Django's cursors want it. Raises django.db.DatabaseError."""
    if connection.connection is None:
        connection.ensure_connection()
    if connection.execute_wrappers or connection.force_debug_cursor:
        told = connection.cursor()  # somebody listens to what Django asks: let them hear this too
        told.execute(by_django, parameters)
        return told
    try:
        if connection.vendor == "sqlite":
            return connection.connection.execute(text, parameters)
        cursor = connection.connection.cursor()
        cursor.execute(text, parameters)
        return cursor
    except connection.Database.Error:  # type: ignore[attr-defined]
        with connection.wrap_database_errors:
            raise


@lru_cache(maxsize=64)
def _as_text(moment: datetime) -> str:
    """As `adapt_datetimefield_value` of Django's SQLite has it; a test holds the two against each other."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return str(moment)[: -len("+00:00")]


def moment(stored: Any) -> datetime:
    """A moment that came out of a row."""
    if isinstance(stored, str):
        stored = datetime.fromisoformat(stored)
    return stored if stored.tzinfo is not None else stored.replace(tzinfo=UTC)
