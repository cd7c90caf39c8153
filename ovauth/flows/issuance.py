"""The only writer of access and refresh tokens (RFC 6749 §5.1)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction

from ovauth import credentials
from ovauth.credentials import Kind
from ovauth.errors import InvalidGrant
from ovauth.models import AccessToken, Client, Grant, RefreshToken


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
        with transaction.atomic():
            yield
    except IntegrityError as fault:
        raise InvalidGrant(reason=f"deleted meanwhile: {fault}") from None


def access(grant: Grant, now: datetime, *, scope: str) -> tuple[str, int]:
    """A new access token under the grant: in clear, and its life in seconds. Wants `grant.client` selected along."""
    plain = credentials.mint(Kind.ACCESS_TOKEN)
    ttl = grant.client.access_token_ttl or settings.OVAUTH.access_token_ttl
    AccessToken.objects.create(
        digest=credentials.digest(plain),
        grant=grant,
        scope=scope,
        created_at=now,
        expires_at=now + timedelta(seconds=ttl),
    )
    return plain, ttl


def refresh(grant: Grant, now: datetime) -> tuple[RefreshToken, str]:
    """A new refresh token under the grant: its row, and it in clear."""
    plain = credentials.mint(Kind.REFRESH_TOKEN)
    row = RefreshToken.objects.create(
        digest=credentials.digest(plain),
        grant=grant,
        created_at=now,
        expires_at=now + timedelta(seconds=settings.OVAUTH.refresh_token_ttl),
    )
    return row, plain


def first(grant: Grant, now: datetime) -> TokenPair:
    """The first tokens under a grant."""
    plain, ttl = access(grant, now, scope=grant.scope)
    refresh_token = refresh(grant, now)[1] if "refresh_token" in grant.client.grant_types else None
    Grant.objects.filter(pk=grant.pk).update(connected_at=now)
    Client.objects.filter(pk=grant.client_id).update(last_used_at=now)
    return TokenPair(plain, ttl, grant.scope, refresh_token)
