"""The floors: what a constant, one indexed SELECT and one INSERT cost under uvicorn with nothing around them.

    python -m tests.bench.servers.floor PORT WORKERS      with FLOOR_DATABASE: a file, or a postgres:// URL

The statements run in the event loop on one connection: that is the least that anybody can pay.
"""

import hashlib
import os
import sqlite3
import sys
from collections.abc import Callable
from typing import Any

import uvicorn

DATABASE = os.environ["FLOOR_DATABASE"]
ROWS = 1000
ANSWER = b'{"active":true,"scope":"mcp"}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]
DIGESTS = [hashlib.sha256(str(number).encode()).digest() for number in range(ROWS)]
IS_POSTGRESQL = DATABASE.startswith("postgres")
TABLE = f"CREATE TABLE IF NOT EXISTS floor (digest {'bytea' if IS_POSTGRESQL else 'blob'} PRIMARY KEY, scope text, at text)"


def connect() -> Any:
    if IS_POSTGRESQL:
        import psycopg

        return psycopg.connect(DATABASE, autocommit=True)
    connection = sqlite3.connect(DATABASE, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


def prepare() -> None:
    connection = connect()
    connection.execute("DROP TABLE IF EXISTS floor")
    connection.execute(TABLE)
    mark = "%s" if IS_POSTGRESQL else "?"
    connection.cursor().executemany(
        f"INSERT INTO floor VALUES ({mark}, 'mcp', '2026-01-01 00:00:00')", [(digest,) for digest in DIGESTS]
    )
    connection.close()


class Floor:
    def __init__(self) -> None:
        self.connection = connect()
        mark = "%s" if IS_POSTGRESQL else "?"
        self.select_sql = f"SELECT scope, at FROM floor WHERE digest = {mark}"
        self.insert_sql = f"INSERT INTO floor VALUES ({mark}, 'mcp', '2026-01-01 00:00:00')"
        self.number = 0
        self.does: dict[str, Callable[[], None]] = {
            "/constant": lambda: None,
            "/select": self.select,
            "/insert": self.insert,
        }

    def select(self) -> None:
        self.number = (self.number + 1) % ROWS
        row = self.connection.execute(self.select_sql, (DIGESTS[self.number],)).fetchone()
        assert row is not None

    def insert(self) -> None:
        self.connection.execute(self.insert_sql, (os.urandom(32),))

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": f"{message['type']}.complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        self.does[scope["path"]]()
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": ANSWER})


def application() -> Floor:
    return Floor()


if __name__ == "__main__":
    prepare()
    uvicorn.run(
        "tests.bench.servers.floor:application",
        factory=True,
        port=int(sys.argv[1]),
        workers=int(sys.argv[2]),
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ws="none",
    )
