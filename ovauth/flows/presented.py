"""A credential that somebody presents, as it is at this moment: in one statement, with all that its life depends on.

What comes out are rows of the models that know only what was asked for; whatever else is wanted of them is fetched by
Django when it is touched.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ovauth import credentials, statements
from ovauth.models import Account, Grant, Member, known
from ovauth.sql import Row, Statement, moment


@dataclass(slots=True)
class Presented:
    """`dead` says why nothing may be issued under its grant now, or is None; `is_spent`, whether it was used or revoked.
    `access_token_ttl` is what an operator set for its client, or None."""

    pk: int
    digest: bytes
    expires_at: datetime
    grant: Grant
    access_token_ttl: int | None
    dead: str | None


@dataclass(slots=True)
class Code(Presented):
    redirect_uri: str
    code_challenge: str


@dataclass(slots=True)
class Token(Presented):
    """A refresh token, or an access token, whose `scope` may be narrower than that of the grant."""

    created_at: datetime
    is_spent: bool
    scope: str
    client_id: str


def code(plain: str) -> Code | None:
    """The authorization code, used or not. None when it is unknown."""
    digest, row = _find(statements.AUTHORIZATION_CODE, plain)
    if row is None:
        return None
    pk, expires_at, redirect_uri, code_challenge, *holder = row
    return Code(pk, digest, moment(expires_at), *_holder(holder), redirect_uri, code_challenge)


def refresh_token(plain: str) -> Token | None:
    """The refresh token, used or not. None when it is unknown."""
    return _token(statements.REFRESH_TOKEN, plain)


def access_token(plain: str) -> Token | None:
    """The access token, revoked or not. None when it is unknown."""
    return _token(statements.ACCESS_TOKEN, plain)


def _token(statement: Statement, plain: str) -> Token | None:
    digest, row = _find(statement, plain)
    if row is None:
        return None
    pk, expires_at, created_at, is_spent, scope, client_id, *holder = row
    return Token(pk, digest, moment(expires_at), *_holder(holder), moment(created_at), bool(is_spent), scope, client_id)


def _find(statement: Statement, plain: str) -> tuple[bytes, Row | None]:
    digest = credentials.digest(plain)
    return digest, statement.row(digest=digest)


def _holder(columns: list[Any]) -> tuple[Grant, int | None, str | None]:
    pk, client, member, scope, resource, account, name, sign_in_name, account_name, ttl, dead = columns
    of = known(Account, id=account, name=account_name)
    whose = known(Member, {"account": of}, id=member, account_id=account, name=name, sign_in_name=sign_in_name)
    found = known(Grant, {"member": whose}, id=pk, client_id=client, member_id=member, scope=scope, resource=resource)
    return found, ttl, dead
