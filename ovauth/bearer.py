"""Who is behind this `ovat_` or `ovk_`, right now: one SQL query, no cache, nothing remembered between requests.

The only raw SQL of ovauth: a lookup by the ORM costs seventeen times as much, and this one runs at every request. What it
asks is what `Grant.why_dead` asks in Python; a test keeps the two equal.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection
from django.utils import timezone

from ovauth import credentials
from ovauth.credentials import Kind
from ovauth.errors import InvalidToken
from ovauth.roles import Role

log = logging.getLogger(__name__)

STAMP_EVERY: Final = timedelta(seconds=60)
"""How stale “last used” may be: one write a minute for each connection, not one for each request."""

_ACCESS_TOKEN: Final = """
SELECT a.name, m.name, g.role, t.scope, c.client_id, c.name, m.id, NULL, g.id, c.redirect_uris,
       g.last_used_at IS NULL, g.last_used_at < %s
  FROM ovauth_accesstoken t
  JOIN ovauth_grant g ON g.id = t.grant_id
  JOIN ovauth_member m ON m.id = g.member_id
  JOIN ovauth_account a ON a.id = m.account_id
  JOIN ovauth_client c ON c.id = g.client_id
  LEFT JOIN ovauth_apikey k ON k.id = g.api_key_id
 WHERE t.digest = %s
   AND t.expires_at > %s
   AND t.revoked_at IS NULL
   AND g.revoked_at IS NULL
   AND g.resource = %s
   AND c.blocked_at IS NULL
   AND m.is_active
   AND m.role >= g.role
   AND (   g.password_epoch = m.password_epoch
        OR (k.id IS NOT NULL AND k.revoked_at IS NULL)
        OR (g.password_epoch IS NULL AND g.api_key_id IS NULL AND c.acts_as_id = g.member_id))
"""

_API_KEY: Final = """
SELECT a.name, m.name, m.role, NULL, NULL, NULL, m.id, k.id, NULL, NULL,
       k.last_used_at IS NULL, k.last_used_at < %s
  FROM ovauth_apikey k
  JOIN ovauth_member m ON m.id = k.member_id
  JOIN ovauth_account a ON a.id = m.account_id
 WHERE k.digest = %s
   AND k.revoked_at IS NULL
   AND m.is_active
"""


_STAMP_GRANT: Final = """
UPDATE ovauth_grant SET last_used_at = %s, last_used_ip = %s WHERE id = %s AND (last_used_at IS NULL OR last_used_at < %s)
"""
_STAMP_API_KEY: Final = """
UPDATE ovauth_apikey SET last_used_at = %s WHERE id = %s AND (last_used_at IS NULL OR last_used_at < %s)
"""


@dataclass(frozen=True, slots=True)
class Identity:
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
    stale = _moment(now - STAMP_EVERY)
    digest = credentials.digest(secret)
    if not secret.startswith(Kind.ACCESS_TOKEN):
        row = _one(_API_KEY, (stale, digest))
    elif settings.OVAUTH.enabled:
        row = _one(_ACCESS_TOKEN, (stale, digest, _moment(now), resource))
    else:
        raise InvalidToken(reason="OAuth is switched off")
    if row is None:
        raise InvalidToken
    account, user, role, scope, client_id, client_name, member, key, grant, redirect_uris, first, is_stale = row
    # Of several that come first at the same time, one is the first.
    first = bool((first or is_stale) and _stamp(key, grant, now, stale, ip) and first)
    lowest_roles = settings.OVAUTH.lowest_roles
    held = scope.split() if scope is not None else [name for name, lowest in lowest_roles.items() if lowest <= role]
    return Identity(
        account_id=account,
        user_id=user,
        role=Role(role).label,
        scopes=tuple(held),
        client_id=client_id,
        client_name=client_name,
        member_pk=member,
        api_key_pk=key,
        grant_pk=grant,
        client_redirect_uris=redirect_uris,
        first_call=first and grant is not None,
        first_use_of_key=first and key is not None,
    )


def _one(sql: str, parameters: Sequence[Any]) -> tuple[Any, ...] | None:
    try:
        return _fetch(sql, parameters)
    except (InterfaceError, OperationalError):
        # The connection of this long-lived thread may be from before a restart of the database.
        if connection.in_atomic_block:
            raise
        connection.close()
        return _fetch(sql, parameters)


def _fetch(sql: str, parameters: Sequence[Any]) -> tuple[Any, ...] | None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        row: tuple[Any, ...] | None = cursor.fetchone()
        return row


def _stamp(key: int | None, grant: int | None, now: datetime, stale: Any, ip: str) -> bool:
    """Notes the use; whether it was for this caller to do."""
    try:
        with connection.cursor() as cursor, _impatient(cursor):
            if grant is not None:
                cursor.execute(_STAMP_GRANT, (_moment(now), ip, grant, stale))
            else:
                cursor.execute(_STAMP_API_KEY, (_moment(now), key, stale))
            return bool(cursor.rowcount)
    except DatabaseError as error:
        # A request that may be answered is answered, even while nobody can write.
        log.warning("“last used” could not be written: %s", error)
        return False


@contextmanager
def _impatient(cursor: Any) -> Iterator[None]:
    """A stamp is not worth waiting for: SQLite waits a quarter of a second for its turn, instead of twenty seconds."""
    if connection.vendor != "sqlite":
        yield
        return
    patience = cursor.execute("PRAGMA busy_timeout").fetchone()[0]
    cursor.execute("PRAGMA busy_timeout = 250")
    try:
        yield
    finally:
        cursor.execute(f"PRAGMA busy_timeout = {int(patience)}")


def _moment(moment: datetime) -> Any:
    """One SQL text serves both databases, and freezegun works through it."""
    return connection.ops.adapt_datetimefield_value(moment)
