"""The device grant (RFC 8628): a device shows the code, a person confirms it elsewhere, the device asks until it knows.

The pending row, the code and the form that takes it are those of the code page.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import F
from django.utils import timezone

from ovauth import credentials
from ovauth.credentials import Kind
from ovauth.errors import (
    AccessDenied,
    AuthorizationPending,
    ExpiredToken,
    InvalidGrant,
    OAuthRefusal,
    SlowDown,
    UnauthorizedClient,
)
from ovauth.flows import authorization, issuance
from ovauth.flows.issuance import TokenPair
from ovauth.models import Client, Grant, PendingAuthorization

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"
INTERVAL = 5
"""Seconds between two polls, to begin with; each poll that comes too early adds as many (RFC 8628 §3.5)."""

Decision = PendingAuthorization.Decision


@dataclass(frozen=True, slots=True)
class DeviceAuthorization:
    """RFC 8628 §3.2: both codes in clear, life and interval in seconds."""

    device_code: str
    user_code: str
    expires_in: int
    interval: int


def begin(
    *, client: Client, scope: str | None, resource: Sequence[str], issuer: str, ip: str = "", user_agent: str = ""
) -> DeviceAuthorization:
    """Opens a request that waits for a person, for a device. `client` is authenticated already.

    Raises UnauthorizedClient, InvalidScope, InvalidTarget, TooManyRequests.
    """
    if GRANT_TYPE not in client.grant_types:
        raise UnauthorizedClient
    plain = credentials.mint(Kind.DEVICE_CODE)
    pending = authorization.open_request(
        client=client,
        scope=scope,
        resource=resource,
        issuer=issuer,
        ip=ip,
        user_agent=user_agent,
        kind=PendingAuthorization.Kind.DEVICE,
        device_digest=credentials.digest(plain),
        device_interval=INTERVAL,
    )
    user_code = authorization.display_code(pending)
    return DeviceAuthorization(plain, credentials.grouped(user_code), settings.OVAUTH.pending_ttl, INTERVAL)


def poll(*, client: Client, device_code: str, issuer: str) -> TokenPair:
    """Tokens, once, when the person has approved (RFC 8628 §3.4). `issuer` is not looked at: a device has no redirect.

    Raises AuthorizationPending, SlowDown, AccessDenied, ExpiredToken, and InvalidGrant for a code that is unknown,
    another client's, or used.
    """
    now = timezone.now()
    with issuance.issuing():
        found: Any = (
            PendingAuthorization.objects.select_for_update(of=("self",))
            .select_related("client", "grant__client", "grant__member__account", "grant__api_key")
            .filter(device_digest=credentials.digest(device_code), client=client)
            .first()
        )
        refusal = _why_not(found, now)
        if refusal is None:
            # One device code, one connection: the first poll after the approval gets it.
            if Grant.objects.filter(pk=found.grant_id, connected_at=None).update(connected_at=now):
                return issuance.first(
                    found.grant,
                    client,
                    now,
                    grant_type="device_code",
                    credential=found.device_digest,
                    ttl=client.access_token_ttl,
                )
            refusal = InvalidGrant(reason="the device code was used before")
    raise refusal  # out here: raised inside the block it would undo the counting of polls


def _why_not(found: Any, now: datetime) -> OAuthRefusal | None:
    if found is None:
        return InvalidGrant(reason="the device code is unknown")
    if found.expires_at <= now:
        return ExpiredToken()
    if found.decision == Decision.DENIED:
        return AccessDenied()
    if found.decision == Decision.NONE:
        return _waiting(found, now)
    dead = found.grant.why_dead()
    return InvalidGrant(reason=dead) if dead else None


def _waiting(found: PendingAuthorization, now: datetime) -> OAuthRefusal:
    """Not decided yet: counts the poll, and tells a device that asks too often to slow down."""
    polled_at, interval = found.device_polled_at, found.device_interval
    too_early = polled_at is not None and now < polled_at + timedelta(seconds=interval)
    PendingAuthorization.objects.filter(pk=found.pk).update(
        device_polled_at=now, device_interval=F("device_interval") + (INTERVAL if too_early else 0)
    )
    return SlowDown() if too_early else AuthorizationPending()
