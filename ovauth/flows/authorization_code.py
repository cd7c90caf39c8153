"""grant_type=authorization_code (OAuth 2.1 §4.1.3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.utils import timezone

from ovauth.errors import InvalidGrant, InvalidTarget
from ovauth.flows import issuance, presented, revocation
from ovauth.flows.issuance import TokenPair
from ovauth.flows.presented import Code
from ovauth.models import AuthorizationCode, Client
from ovauth.provenance import Actor
from ovauth.rules import pkce, resource_indicators


@dataclass(frozen=True, slots=True)
class Peeked:
    """What a code is bound to. `expires_at` is when it dies of itself."""

    redirect_uri: str
    code_challenge: str
    scope: str
    resource: str
    subject: str
    expires_at: datetime


def peek(*, client: Client, code: str) -> Peeked | None:
    """What the code is bound to, for whoever checks that outside of `redeem`; a used code too, so that `redeem` sees the
    replay. None for a code that is unknown, another client's, expired or dead. Changes nothing."""
    found = presented.code(code)
    if found is None or _why_gone(found, client, timezone.now()):
        return None
    return Peeked(
        redirect_uri=found.redirect_uri,
        code_challenge=found.code_challenge,
        scope=found.grant.scope,
        resource=found.grant.resource,
        subject=found.grant.member.sign_in_name,
        expires_at=found.expires_at,
    )


def redeem(
    *,
    client: Client,
    code: str,
    redirect_uri: str | None,
    code_verifier: str | None,
    resource: Sequence[str] = (),
    issuer: str,
    verified: bool = False,
) -> TokenPair:
    """Tokens for the code, once. `client` is authenticated already; `issuer` is this server as the client sees it.

    `verified`: the caller has checked the code verifier already, against the challenge that `peek` told.
    A failed attempt leaves the code as it was. A second use by its owner ends everything that the first one issued
    (RFC 6749 §4.1.2). Raises InvalidGrant, and InvalidTarget for a resource other than the approved one (RFC 8707 §2.2).
    """
    now = timezone.now()
    with issuance.issuing():
        found: Any = presented.code(code)
        refusal = _why_not(found, client, redirect_uri, code_verifier, now, verified=verified)
        if refusal is None:
            if not resource_indicators.same(
                resource,
                granted=found.grant.resource,
                resources=settings.OVAUTH.resources(issuer),
                issuer=issuer,
            ):
                raise InvalidTarget("The resource differs from the one that was approved.")
            if AuthorizationCode.objects.consume(found.pk, now):
                return issuance.first(
                    found.grant,
                    client,
                    now,
                    grant_type="authorization_code",
                    credential=found.digest,
                    ttl=found.access_token_ttl,
                )
            refusal = "the code was used before"
            revocation.end_grant(found.grant, now, because="code replayed", by=Actor.CLIENT)
    raise InvalidGrant(reason=refusal)  # out here: raised inside the block it would undo the revocation


def _why_not(
    found: Code | None,
    client: Client,
    redirect_uri: str | None,
    code_verifier: str | None,
    now: datetime,
    *,
    verified: bool,
) -> str | None:
    if found is None:
        return "the code is unknown"
    if gone := _why_gone(found, client, now):
        return gone
    # OAuth 2.1 clients do not repeat it (§10.2), since PKCE binds the code already; older ones do, and may not differ.
    if redirect_uri is not None and found.redirect_uri != redirect_uri:
        return "redirect_uri differs from the authorization request"
    if not verified and not pkce.verifies(code_verifier, found.code_challenge):
        return "code_verifier does not match"
    return None


def _why_gone(found: Code, client: Client, now: datetime) -> str | None:
    if found.grant.client_id != client.pk:
        return "the code is unknown"  # someone else's code is no code
    if found.expires_at <= now:
        return "the code has expired"
    return found.dead
