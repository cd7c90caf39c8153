"""A credential that leaked: whose it is, and what it opens. It is looked up by its digest, noted by eight digits of that,
and kept nowhere.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from ovauth import credentials
from ovauth.credentials import Kind
from ovauth.flows import audit
from ovauth.models import (
    AccessToken,
    ApiKey,
    AuthorizationCode,
    Client,
    Grant,
    Member,
    PendingAuthorization,
    RefreshToken,
)

__all__ = ["Found", "Kind", "again", "find", "kind_of"]


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of a credential. `pk` is its row, `grant` the connection that it belongs to, if any; `state` is
    `works`, or why it does not; the moments are None where nothing is known."""

    kind: Kind
    pk: int
    digest: str
    state: str
    member: Member | None
    client: Client | None
    grant: Grant | None
    created_at: datetime | None
    last_used_at: datetime | None
    last_used_ip: str
    expires_at: datetime | None

    @property
    def works(self) -> bool:
        return self.state == "works"


def kind_of(plain: str) -> Kind | None:
    """What kind of credential that text would be, by its prefix."""
    return next((kind for kind in Kind if plain.startswith(kind)), None)


def find(*, plain: str, by: Member) -> Found | None:
    """What is known of that credential, in clear; None when there is none. That `by` looked is noted in any case."""
    now = timezone.now()
    kind = kind_of(plain)
    found = None if kind is None else _look(kind, credentials.digest(plain), now)
    with transaction.atomic():
        audit.record(
            "admin.action",
            now=now,
            member=by,
            action="find credential",
            of=kind or "",
            credential=credentials.digest(plain),
            found=found is not None,
        )
    return found


def again(*, kind: Kind, pk: int) -> Found | None:
    """The same credential a moment later, by its row; None when the row is gone."""
    row = _rows(kind).filter(pk=pk).first()
    return None if row is None else _told(kind, row, timezone.now())


def _rows(kind: Kind) -> Any:
    of_a_grant = ("grant__client", "grant__member__account", "grant__api_key")
    match kind:
        case Kind.ACCESS_TOKEN:
            return AccessToken.objects.select_related(*of_a_grant)
        case Kind.REFRESH_TOKEN:
            return RefreshToken.objects.select_related(*of_a_grant)
        case Kind.AUTHORIZATION_CODE:
            return AuthorizationCode.objects.select_related(*of_a_grant)
        case Kind.DEVICE_CODE:
            return PendingAuthorization.objects.select_related("client", *of_a_grant)
        case Kind.API_KEY:
            return ApiKey.objects.select_related("member__account")
        case Kind.CLIENT_SECRET | Kind.REGISTRATION_TOKEN:
            return Client.objects.select_related("acts_as__account")


DIGESTS = {
    Kind.DEVICE_CODE: "device_digest",
    Kind.CLIENT_SECRET: "secret_digest",
    Kind.REGISTRATION_TOKEN: "registration_digest",
}
"""The field that holds the digest, where it is not `digest`."""


def _look(kind: Kind, digest: bytes, now: datetime) -> Found | None:
    row = _rows(kind).filter(**{DIGESTS.get(kind, "digest"): digest}).first()
    return None if row is None else _told(kind, row, now)


def _told(kind: Kind, row: Any, now: datetime) -> Found:
    grant: Grant | None = getattr(row, "grant", None)
    client = row if isinstance(row, Client) else getattr(row, "client", None) or (grant.client if grant else None)
    used = grant if grant is not None else row
    return Found(
        kind=kind,
        pk=row.pk,
        digest=bytes(getattr(row, DIGESTS.get(kind, "digest")) or b"").hex()[:8],
        state=_state(row, grant, now),
        member=grant.member if grant else getattr(row, "member", None) or getattr(row, "acts_as", None),
        client=client,
        grant=grant,
        created_at=getattr(row, "created_at", None),
        last_used_at=getattr(used, "last_used_at", None),
        last_used_ip=getattr(used, "last_used_ip", ""),
        expires_at=getattr(row, "expires_at", None),
    )


def _state(row: Any, grant: Grant | None, now: datetime) -> str:
    """`works`, or the first reason why not."""
    if getattr(row, "revoked_at", None) is not None:
        return "revoked"
    if getattr(row, "consumed_at", None) is not None:
        return "used"
    if (expires_at := getattr(row, "expires_at", None)) is not None and expires_at <= now:
        return "expired"
    if isinstance(row, ApiKey) and not row.member.is_active:
        return "the user is deactivated"
    if isinstance(row, Client):
        return "works" if row.blocked_at is None else "the client is blocked"
    return (grant.why_dead() if grant is not None else None) or "works"
