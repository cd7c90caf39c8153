"""The only writer of access and refresh tokens (RFC 6749 §5.1)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError

from ovauth import credentials, statements
from ovauth.credentials import Kind
from ovauth.errors import InvalidGrant
from ovauth.flows import audit
from ovauth.models import AccessToken, Client, Grant, RefreshToken
from ovauth.provenance import Actor
from ovauth.sql import Insert, atomic

_INSERT_ACCESS_TOKEN = Insert(AccessToken)
_INSERT_REFRESH_TOKEN = Insert(RefreshToken)


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a client gets. `expires_in` is in seconds; `refresh_token` is None when its grant types do not include it."""

    access_token: str
    expires_in: int
    scope: str
    refresh_token: str | None


@contextmanager
def issuing() -> Iterator[None]:
    """The transaction in which a credential is spent and its successor issued.

    PostgreSQL looks at foreign keys when it commits: if the client was deleted meanwhile, nothing was issued. Raises
    InvalidGrant then.
    """
    try:
        with atomic():
            yield
    except IntegrityError as fault:
        raise InvalidGrant(reason=f"deleted meanwhile: {fault}") from None


def access(grant: Grant, now: datetime, *, scope: str, ttl: int | None) -> tuple[str, int]:
    """A new access token under the grant: in clear, and its life in seconds; None for the one that is configured."""
    plain = credentials.mint(Kind.ACCESS_TOKEN)
    ttl = ttl or settings.OVAUTH.access_token_ttl
    _INSERT_ACCESS_TOKEN(
        digest=credentials.digest(plain),
        grant_id=grant.pk,
        scope=scope,
        created_at=now,
        expires_at=now + timedelta(seconds=ttl),
    )
    return plain, ttl


def refresh(grant: Grant, now: datetime) -> tuple[int, str]:
    """A new refresh token under the grant: its primary key, and it in clear."""
    plain = credentials.mint(Kind.REFRESH_TOKEN)
    pk = _INSERT_REFRESH_TOKEN(
        digest=credentials.digest(plain),
        grant_id=grant.pk,
        created_at=now,
        expires_at=now + timedelta(seconds=settings.OVAUTH.refresh_token_ttl),
    )
    return pk, plain


def first(
    grant: Grant, client: Client, now: datetime, *, grant_type: str, credential: bytes | memoryview, ttl: int | None
) -> TokenPair:
    """The first tokens under a grant of that client, and the event that tells of them. `grant_type` is its short name, and
    `credential` the digest of what was spent."""
    _tell(grant, client, now, grant_type=grant_type, credential=credential)
    plain, ttl = access(grant, now, scope=grant.scope, ttl=ttl)
    refresh_token = refresh(grant, now)[1] if "refresh_token" in client.grant_types else None
    statements.CONNECTED.run(id=grant.pk, now=now)
    return TokenPair(plain, ttl, grant.scope, refresh_token)


def to_itself(grant: Grant, client: Client, now: datetime, *, scope: str) -> TokenPair:
    """A token for a client that acts by itself, under the one grant that it has; it needs no refresh token."""
    _tell(grant, client, now, grant_type="client_credentials")
    plain, ttl = access(grant, now, scope=scope, ttl=client.access_token_ttl)
    return TokenPair(plain, ttl, scope, None)


def _tell(grant: Grant, client: Client, now: datetime, **more: Any) -> None:
    audit.record("token.issued", now=now, by=Actor.CLIENT, member=grant.member, client=client, grant=grant, **more)
