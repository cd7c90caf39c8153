"""grant_type=authorization_code (OAuth 2.1 §4.1.3)."""

from collections.abc import Sequence
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from ovauth.errors import InvalidGrant, InvalidTarget
from ovauth.flows import audit, issuance, revocation
from ovauth.flows.issuance import TokenPair
from ovauth.models import AuthorizationCode, Client
from ovauth.rules import pkce, resource_indicators


def redeem(
    *,
    client: Client,
    code: str,
    redirect_uri: str | None,
    code_verifier: str | None,
    resource: Sequence[str] = (),
    issuer: str,
) -> TokenPair:
    """Tokens for the code, once. `client` is authenticated already; `issuer` is this server as the client sees it.

    A failed attempt leaves the code as it was. A second use by its owner ends everything that the first one issued
    (RFC 6749 §4.1.2). Raises InvalidGrant, and InvalidTarget for a resource other than the approved one (RFC 8707 §2.2).
    """
    now = timezone.now()
    with transaction.atomic():
        found = AuthorizationCode.objects.select_related(
            "grant__client", "grant__member__account", "grant__api_key"
        ).by_secret(code)
        refusal = _why_not(found, client, redirect_uri, code_verifier, now)
        if refusal is None:
            if not resource_indicators.same(
                resource,
                granted=found.grant.resource,
                resources=settings.OVAUTH.resources(issuer),
                issuer=issuer,
            ):
                raise InvalidTarget("The resource differs from the one that was approved.")
            if AuthorizationCode.objects.consume(found.pk, now):
                audit.record("token.issued", now=now, member=found.grant.member, client=client, grant=found.grant)
                return issuance.first(found.grant, now)
            refusal = "the code was used before"
            revocation.end_grant(found.grant, now, because="code replayed")
    raise InvalidGrant(reason=refusal)  # out here: raised inside the block it would undo the revocation


def _why_not(
    found: AuthorizationCode | None,
    client: Client,
    redirect_uri: str | None,
    code_verifier: str | None,
    now: datetime,
) -> str | None:
    if found is None or found.grant.client_id != client.pk:
        return "the code is unknown"  # someone else's code is no code
    if found.expires_at <= now:
        return "the code has expired"
    # OAuth 2.1 clients do not repeat it (§10.2), since PKCE binds the code already; older ones do, and may not differ.
    if redirect_uri is not None and found.redirect_uri != redirect_uri:
        return "redirect_uri differs from the authorization request"
    if not pkce.verifies(code_verifier, found.code_challenge):
        return "code_verifier does not match"
    return found.grant.why_dead()
