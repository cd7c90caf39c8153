"""grant_type=client_credentials (OAuth 2.1 §4.2): a client that an operator made acts by itself, as one member."""

from collections.abc import Sequence
from datetime import datetime

from django.conf import settings
from django.utils import timezone

from ovauth.errors import InvalidScope, UnauthorizedClient
from ovauth.flows import issuance
from ovauth.flows.issuance import TokenPair
from ovauth.models import Client, Grant, Member
from ovauth.rules import resource_indicators, scopes


def issue(*, client: Client, scope: str | None = None, resource: Sequence[str] = (), issuer: str) -> TokenPair:
    """An access token and no refresh token. `client` is authenticated already, by a secret or a key.

    The scopes are those of the client, as far as the member's role allows them. Raises UnauthorizedClient for a client
    that is public or bound to nobody, InvalidScope, InvalidTarget.
    """
    now = timezone.now()
    config = settings.OVAUTH
    target = resource_indicators.canonical(resource, resources=config.resources(issuer), issuer=issuer)
    with issuance.issuing():
        member = Member.objects.select_related("account").filter(client=client, is_active=True).first()
        if member is None or client.token_endpoint_auth_method == "none":  # noqa: S105 a method, not a password
            raise UnauthorizedClient
        held = scopes.allowed(
            client.scope.split() or config.default_scopes, role=member.role, lowest_role=config.lowest_roles
        )
        if not held:
            raise InvalidScope("The client's scopes are beyond its role.")
        granted = scopes.joined(scopes.narrow(held, scope))
        grant = _grant(client, member, scopes.joined(held), target, now)
        return issuance.to_itself(grant, client, now, scope=granted)


def _grant(client: Client, member: Member, scope: str, resource: str, now: datetime) -> Grant:
    """The one living grant of this client by itself; a new one when its scopes, role or resource have changed."""
    facts = {
        "client": client,
        "member": member,
        "role": member.role,
        "scope": scope,
        "resource": resource,
        "api_key": None,
        "password_epoch": None,
        "revoked_at": None,
    }
    found = Grant.objects.select_related("client").filter(**facts).first()
    return found or Grant.objects.create(**facts, created_at=now, connected_at=now)
