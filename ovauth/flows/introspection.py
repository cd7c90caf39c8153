"""Token introspection (RFC 7662): is this token good at this moment, and what does it stand for?

Asked by a client about its own tokens, by a client that an operator made (a resource server) about any, by an administrator
about those of the own account, by root about all. A token that the asker may not know of is answered like an unknown one.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone

from ovauth.credentials import Kind
from ovauth.flows import presented
from ovauth.flows.presented import Token
from ovauth.models import Client, ClientOrigin, Grant

INACTIVE: dict[str, Any] = {"active": False}


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: an authenticated client, or somebody of an account (None: root, who sees every account)."""

    client: Client | None = None
    account: str | None = None

    def may_know(self, grant: Grant) -> bool:
        if self.client is not None:
            return self.client.origin == ClientOrigin.MANUAL or grant.client_id == self.client.pk
        return self.account is None or grant.member.account.name == self.account


def introspect(*, asker: Asker, token: str, issuer: str) -> dict[str, Any]:
    """The members of RFC 7662 §2.2; `active` alone for whatever does not work or is not the asker's to know."""
    now = timezone.now()
    found = _find(token)
    if found is None or not asker.may_know(found.grant) or not _is_active(found, now):
        return INACTIVE
    grant = found.grant
    return {
        "active": True,
        "iss": issuer,
        "client_id": found.client_id,
        "sub": grant.member.sign_in_name,
        "username": grant.member.name,
        "account_id": grant.member.account.name,
        "scope": found.scope,
        "aud": grant.resource,
        "exp": int(found.expires_at.timestamp()),
        "iat": int(found.created_at.timestamp()),
        "token_type": "Bearer" if token.startswith(Kind.ACCESS_TOKEN) else "refresh_token",
    }


def _find(token: str) -> Token | None:
    if token.startswith(Kind.ACCESS_TOKEN):
        return presented.access_token(token)
    if token.startswith(Kind.REFRESH_TOKEN):
        return presented.refresh_token(token)
    return None


def _is_active(found: Token, now: datetime) -> bool:
    return found.expires_at > now and not found.is_spent and found.dead is None
