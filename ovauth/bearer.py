"""Who is behind this `ovat_` or `ovk_`, right now: one SQL query, no cache, nothing remembered between requests.

What it asks is what `Grant.why_dead` asks in Python; a test keeps the two equal.

`identify` asks on the thread that it is called in. `Glance` asks in the event loop itself, where that cannot wait for
anybody: a reader of SQLite in WAL mode waits for no writer, and the query takes less than the way to a thread and back.
"""

import json
import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from django.conf import settings
from django.db import DatabaseError, connection
from django.utils import timezone

from ovauth import credentials, glances, statements
from ovauth.credentials import Kind
from ovauth.errors import InvalidToken
from ovauth.glances import Glances
from ovauth.roles import Role
from ovauth.sql import Row, Statement

log = logging.getLogger(__name__)

STAMP_EVERY: Final = timedelta(seconds=statements.STAMP_EVERY)
_API_KEY, _GRANT, _FIRST, _STALE = 7, 8, 10, 11
"""Places in the rows of both statements."""
_ACCESS_TOKEN: Final = Kind.ACCESS_TOKEN.value
_LABELS: Final = {role.value: role.label for role in Role}


class Identity(NamedTuple):
    """Who calls. `client_id` and `client_name` are None for an API key.

    `scopes` are those of the token; an API key holds every scope that its owner's role may have. `first_call` is true for
    the first request of a connection, `first_use_of_key` for the first that an API key was sent with. What ends in `_pk`
    is for inside.
    """

    account_id: str
    user_id: str
    role: str
    scopes: tuple[str, ...]
    client_id: str | None
    client_name: str | None
    member_pk: int
    api_key_pk: int | None
    grant_pk: int | None
    client_redirect_uris: str | None
    first_call: bool
    first_use_of_key: bool

    @property
    def from_oauth(self) -> bool:
        return self.grant_pk is not None

    @property
    def redirect_uris(self) -> tuple[str, ...]:
        """Where the client that holds the token may be answered; nothing for an API key."""
        return tuple(json.loads(self.client_redirect_uris or "[]"))


def identify(secret: str, *, resource: str, ip: str = "") -> Identity:
    """Whose credential this is, at this resource (a canonical RFC 8707 identifier, binding for OAuth tokens).

    What begins with `ovat_` is an OAuth token and nothing else; everything else is an API key. Raises InvalidToken for
    whatever does not work, without saying why.
    """
    now = timezone.now()
    statement, parameters = _question(secret, resource, now, now - STAMP_EVERY)
    row = statement.row(**parameters)
    if row is None:
        raise InvalidToken
    # Of several that come first at the same time, one is the first.
    is_first = _is_stale(row) and _stamp(row, now, ip) and bool(row[_FIRST])
    return _identity(row, is_first=is_first)


class Glance(Glances):
    """The same question, asked in the event loop. A stamp that is due is for somebody who may write."""

    def __init__(self) -> None:
        super().__init__()
        self._second, self._beginning, self._stale = -1, "", ""

    def identify(self, secret: str, *, resource: str) -> Identity | None:
        """Who it is; None when a thread has to look. Raises InvalidToken."""
        started = time.monotonic()
        if started < self._looks_again_at:
            return None
        statement, parameters = _question(secret, resource, *self._moments(time.time_ns()))
        try:
            row = (self._connection or self._opened()).execute(statement.sqlite, parameters).fetchone()
        except sqlite3.Error:
            self._failed(started)
            return None
        self._took(started)
        if row is None:
            raise InvalidToken
        return None if _is_stale(row) else _identity(row)

    def _moments(self, at: int) -> tuple[str, str]:
        """Now (in nanoseconds), and when “last used” is stale, as text that SQLite compares with what Django stored. What
        changes once a second is made once a second, and the latter is rounded to it."""
        second, rest = divmod(at, 1_000_000_000)
        if second != self._second:
            now = datetime.fromtimestamp(second, UTC).replace(tzinfo=None)
            self._second, self._beginning, self._stale = second, str(now), str(now - STAMP_EVERY)
        return f"{self._beginning}.{rest // 1000:06d}", self._stale


def glance() -> Glance | None:
    """What looks in the event loop, where that is possible."""
    return Glance() if glances.are_possible() else None


def _question(
    secret: str, resource: str, now: datetime | str, stale: datetime | str
) -> tuple[Statement, dict[str, datetime | str | bytes]]:
    """What to ask about the secret. Raises InvalidToken while there is nothing to ask."""
    digest = credentials.digest(secret)
    if not secret.startswith(_ACCESS_TOKEN):
        return statements.API_KEY_HOLDER, {"digest": digest, "stale": stale}
    if settings.OVAUTH.enabled:
        return statements.ACCESS_TOKEN_HOLDER, {"digest": digest, "stale": stale, "now": now, "resource": resource}
    raise InvalidToken(reason="OAuth is switched off")


def _is_stale(row: Row) -> bool:
    """Whether “last used” has to be written: at the first use, and then once a minute."""
    return bool(row[_FIRST] or row[_STALE])


def _identity(row: Row, *, is_first: bool = False) -> Identity:
    sign_in_name, user, role, scope, client_id, client_name, member, key, grant, redirect_uris, _, _ = row
    account = sign_in_name[: -len(user) - 1]
    scopes = tuple(scope.split()) if scope is not None else _of_role(role)
    first_call, first_use = is_first and grant is not None, is_first and key is not None
    return Identity(
        *(account, user, _LABELS[role], scopes, client_id, client_name),
        *(member, key, grant, redirect_uris, first_call, first_use),
    )


def _of_role(role: int) -> tuple[str, ...]:
    """Every scope that somebody of that role may have."""
    return tuple(name for name, lowest in settings.OVAUTH.lowest_roles.items() if lowest <= role)


def _stamp(row: Row, now: datetime, ip: str) -> bool:
    """Notes the use; whether it was for this caller to do."""
    moments = {"now": now, "stale": now - STAMP_EVERY}
    try:
        with _impatient():
            if row[_GRANT] is not None:
                return statements.GRANT_USED.run(id=row[_GRANT], ip=ip, **moments) == 1
            return statements.API_KEY_USED.run(id=row[_API_KEY], **moments) == 1
    except DatabaseError as error:
        # A request that may be answered is answered, even while nobody can write.
        log.warning("“last used” could not be written: %s", error)
        return False


@contextmanager
def _impatient() -> Iterator[None]:
    """A stamp is not worth waiting for: SQLite waits a quarter of a second for its turn, instead of five seconds."""
    if connection.vendor != "sqlite":
        yield
        return
    with connection.cursor() as cursor:
        patience = cursor.execute("PRAGMA busy_timeout").fetchone()[0]
        cursor.execute("PRAGMA busy_timeout = 250")
        try:
            yield
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {int(patience)}")
