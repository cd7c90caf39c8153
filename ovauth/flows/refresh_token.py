"""grant_type=refresh_token (OAuth 2.1 §4.3): rotated at every use, and nobody is logged out by accident.

Clients run several processes on one stored token, and lose answers. So a used token is answered again with the *same*
successor, as long as that successor has not been used, and in any case within OVAUTH_REFRESH_GRACE seconds. Any later
reuse is a replay (RFC 9700 §4.14.2). The successor is sealed under its predecessor: only a holder of that opens it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from ovauth import credentials, statements
from ovauth.errors import InvalidGrant, InvalidTarget
from ovauth.flows import audit, issuance, presented, revocation
from ovauth.flows.issuance import TokenPair
from ovauth.flows.presented import Token
from ovauth.models import Client, RefreshToken
from ovauth.provenance import Actor
from ovauth.rules import resource_indicators, scopes


@dataclass(frozen=True, slots=True)
class Peeked:
    """What a refresh token stands for. `expires_at` is when it dies of itself."""

    scope: str
    resource: str
    subject: str
    expires_at: datetime


def peek(*, client: Client, refresh_token: str) -> Peeked | None:
    """What the refresh token stands for, a used one too, so that `rotate` sees a replay. None for one that is unknown,
    another client's, expired or dead. Changes nothing."""
    found = presented.refresh_token(refresh_token)
    if found is None or _why_not(found, client, timezone.now()):
        return None
    grant = found.grant
    return Peeked(grant.scope, grant.resource, grant.member.sign_in_name, found.expires_at)


def rotate(
    *, client: Client, refresh_token: str, scope: str | None = None, resource: Sequence[str] = (), issuer: str
) -> TokenPair:
    """A fresh access token and the one successor of the refresh token. `client` is authenticated already.

    Raises InvalidGrant, InvalidScope for more than was granted, InvalidTarget for another resource than was granted.
    """
    now = timezone.now()
    with issuance.issuing():
        found: Any = presented.refresh_token(refresh_token)
        refusal = _why_not(found, client, now)
        if refusal is None:
            grant = found.grant
            told: Any = {"member": grant.member, "client": client, "grant": grant, "credential": found.digest}
            told |= {"now": now, "by": Actor.CLIENT}
            narrowed = scopes.joined(scopes.narrow(grant.scope.split(), scope))
            if not resource_indicators.same(
                resource, granted=grant.resource, resources=settings.OVAUTH.resources(issuer), issuer=issuer
            ):
                raise InvalidTarget("The resource differs from the one that was approved.")
            successor = _successor(found, refresh_token, now)
            if successor is not None:
                access_token, ttl = issuance.access(grant, now, scope=narrowed, ttl=found.access_token_ttl)
                audit.record("token.refreshed", **told)
                return TokenPair(access_token, ttl, narrowed, successor)
            refusal = "a used refresh token was replayed"
            audit.record("token.reuse_detected", **told)
            if settings.OVAUTH.replay_revokes == "user":
                revocation.end_member(grant.member, now, because="refresh token replayed")
            else:
                revocation.end_grant(grant, now, because="refresh token replayed", by=Actor.CLIENT)
    raise InvalidGrant(reason=refusal)  # out here: raised inside the block it would undo the revocation


def _why_not(found: Token | None, client: Client, now: datetime) -> str | None:
    if found is None or found.grant.client_id != client.pk:
        return "the refresh token is unknown"  # someone else's token is no token
    if found.expires_at <= now:
        return "the refresh token has expired"
    return found.dead


def _successor(found: Token, plain: str, now: datetime) -> str | None:
    """The token that takes this one's place, in clear; None when this use is a replay."""
    if not found.is_spent:
        pk, successor = issuance.refresh(found.grant, now)
        sealed = credentials.seal(successor, under=plain)
        if statements.SUCCEEDED.run(id=found.pk, now=now, successor=pk, sealed=sealed):
            return successor
        # A twin was quicker, this very moment: on PostgreSQL the UPDATE waited for its commit. There is one successor.
        RefreshToken.objects.filter(pk=pk).delete()
    used: Any = RefreshToken.objects.select_related("successor").filter(pk=found.pk).first()
    if used is None:
        raise InvalidGrant(reason="the refresh token was deleted, with its client")
    within_grace = now < used.consumed_at + timedelta(seconds=settings.OVAUTH.refresh_grace)
    if used.successor is not None and (used.successor.consumed_at is None or within_grace):
        return credentials.unseal(used.sealed_successor, under=plain)
    return None
