"""What ends: a token (RFC 7009), a grant, everything of a user. Everything hangs on the grant, so each is one UPDATE."""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from ovauth.credentials import Kind
from ovauth.errors import NotFound
from ovauth.flows import audit
from ovauth.models import (
    AccessToken,
    ApiKey,
    AuthorizationCode,
    Client,
    Grant,
    Member,
    OneTimePassword,
    PendingAuthorization,
    PushedRequest,
    RefreshToken,
)
from ovauth.provenance import Actor
from ovauth.roles import Role


@dataclass(frozen=True, slots=True)
class Ended:
    """How many credentials of each kind worked until now."""

    authorization_codes: int
    access_tokens: int
    refresh_tokens: int


def revoke(*, client: Client, token: str) -> None:
    """RFC 7009: a refresh token ends its whole grant, an access token ends itself.

    An unknown token, and another client's, change nothing and are no error.
    """
    now = timezone.now()
    with transaction.atomic():
        if token.startswith(Kind.ACCESS_TOKEN):
            access = AccessToken.objects.select_related("grant__member__account").by_secret(token)
            if (
                access is not None
                and access.grant.client_id == client.pk
                and AccessToken.objects.filter(pk=access.pk, revoked_at=None).update(revoked_at=now)
            ):
                audit.record(
                    "token.revoked",
                    now=now,
                    by=Actor.CLIENT,
                    member=access.grant.member,
                    client=client,
                    grant=access.grant,
                    credential=access.digest,
                )
            return
        refresh = RefreshToken.objects.select_related("grant__member__account", "grant__client").by_secret(token)
        if refresh is not None and refresh.grant.client_id == client.pk:
            end_grant(refresh.grant, now, because="revoked by the client", by=Actor.CLIENT)


def end_grant(grant: Grant, now: datetime, *, because: str, by: Actor | None = None) -> bool:
    """Ends one grant and all that it issued; False when it had ended already. For use inside a transaction."""
    ended = Grant.objects.filter(pk=grant.pk, revoked_at=None).update(revoked_at=now, revoked_because=because) == 1
    if ended:
        audit.record(
            "grant.disconnected",
            now=now,
            by=by,
            member=grant.member,
            client=grant.client,
            grant=grant,
            reason=because,
        )
    return ended


def end_member(member: Member, now: datetime, *, because: str) -> Ended:
    """Ends every code, access and refresh token of a user. For use inside a transaction."""
    return _end(Q(member=member), member, now, because=because)


def end_authorized_by_keys(member: Member, now: datetime, *, because: str) -> Ended:
    """Ends what the member's API keys authorized. For use inside a transaction."""
    return _end(Q(member=member, api_key__isnull=False), member, now, because=because)


def end_authorized_by_key(key: ApiKey, now: datetime, *, because: str) -> Ended:
    """Ends what one API key authorized. For use inside a transaction."""
    return _end(Q(api_key=key), key.member, now, because=because)


def end_above_role(member: Member, role: Role, now: datetime, *, because: str) -> Ended:
    """Ends what was approved with a higher role, so that it stays dead after a promotion. For use inside a transaction."""
    return _end(Q(member=member, role__gt=role), member, now, because=because)


def revoke_grant(*, grant_pk: int, because: str = "revoked by an operator") -> bool:
    """Ends one grant and all that it issued; False when it had ended already."""
    now = timezone.now()
    with transaction.atomic():
        grant = Grant.objects.select_related("member__account", "client").filter(pk=grant_pk).first()
        return grant is not None and end_grant(grant, now, because=because)


def revoke_access_token(*, token_pk: int) -> bool:
    """Ends one access token; False when it was revoked already."""
    now = timezone.now()
    with transaction.atomic():
        if not AccessToken.objects.filter(pk=token_pk, revoked_at=None).update(revoked_at=now):
            return False
        token = AccessToken.objects.select_related("grant__member__account", "grant__client").get(pk=token_pk)
        audit.record(
            "token.revoked",
            now=now,
            member=token.grant.member,
            client=token.grant.client,
            grant=token.grant,
            credential=token.digest,
        )
    return True


def revoke_pending(*, pending_pk: int) -> bool:
    """Ends a request that waits, with the device code that asks for it; False when its time was over already."""
    now = timezone.now()
    with transaction.atomic():
        ended = PendingAuthorization.objects.filter(pk=pending_pk, expires_at__gt=now).update(expires_at=now) == 1
        if ended:
            pending = PendingAuthorization.objects.select_related("client").get(pk=pending_pk)
            audit.record("authorization.expired", now=now, client=pending.client, because="revoked by an operator")
    return ended


def revoke_user_tokens(*, account: str, name: str, because: str = "revoked by an operator") -> Ended:
    """Ends everything of that user. Raises NotFound."""
    now = timezone.now()
    with transaction.atomic():
        member = Member.objects.select_related("account").filter(account__name=account, name=name).first()
        if member is None:
            raise NotFound("There is no such user.", reason=f"no user {name} in account {account}")
        return end_member(member, now, because=because)


def end_everything(now: datetime, *, because: str) -> Ended:
    """Ends every grant of everybody, and whatever could still become one. For use inside a transaction."""
    grants = Grant.objects.filter(revoked_at=None)
    ended = living(grants, now)
    end_unfinished(now)
    grants.update(revoked_at=now, revoked_because=because)
    return ended


def end_unfinished(now: datetime) -> None:
    """Ends whatever could still become a grant, of everybody. For use inside a transaction."""
    OneTimePassword.objects.filter(consumed_at=None).update(consumed_at=now)
    PushedRequest.objects.filter(consumed_at=None).update(consumed_at=now)
    PendingAuthorization.objects.filter(expires_at__gt=now).update(expires_at=now)


def living(grants: QuerySet[Grant], now: datetime) -> Ended:
    """How many credentials of these grants work now."""
    theirs = {"grant__in": grants, "expires_at__gt": now}
    return Ended(
        authorization_codes=AuthorizationCode.objects.filter(**theirs, consumed_at=None).count(),
        access_tokens=AccessToken.objects.filter(**theirs, revoked_at=None).count(),
        refresh_tokens=RefreshToken.objects.filter(**theirs, consumed_at=None).count(),
    )


def _end(which: Q, member: Member, now: datetime, *, because: str) -> Ended:
    grants = Grant.objects.filter(which, revoked_at=None)
    ended = living(grants, now)
    OneTimePassword.objects.filter(member=member, consumed_at=None).update(consumed_at=now)
    # One that was given on a code page would otherwise still let that browser approve, stolen or not.
    PendingAuthorization.objects.filter(one_time_password__member=member).update(one_time_password=None)
    count = grants.update(revoked_at=now, revoked_because=because)
    audit.record("user.tokens_revoked", now=now, member=member, reason=because, grants=count)
    return ended
