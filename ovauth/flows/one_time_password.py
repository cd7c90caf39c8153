"""One-time passwords: one stands for its owner once, with the authority of the key or session that asked for it."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from ovauth import credentials
from ovauth.errors import Conflict
from ovauth.flows import audit
from ovauth.flows.authority import Authority
from ovauth.models import OneTimePassword


def issue(*, authority: Authority, after: int | None = None) -> tuple[str, int]:
    """A one-time password that stands for the authority's member: in clear, grouped for reading, and its life in
    seconds.

    `after` is what `newest` said when the form was shown: with it a form that is sent again makes none. Raises Forbidden
    when the authority no longer stands, and Conflict when there is a newer one.
    """
    now = timezone.now()
    plain = credentials.one_time_password()
    ttl = settings.OVAUTH.otp_ttl
    with transaction.atomic():
        member = authority.prove()
        if after is not None and newest(member_pk=member.pk) > after:
            raise Conflict("A one-time password was made already, and is shown once. This time none was made.")
        digest = _digest(settings.SECRET_KEY, plain)
        OneTimePassword.objects.create(
            member=member,
            digest=digest,
            api_key_id=authority.api_key_pk,
            password_epoch=authority.password_epoch,
            expires_at=now + timedelta(seconds=ttl),
        )
        audit.record("otp.issued", now=now, by=authority.kind, member=member, credential=digest)
    return credentials.grouped(plain), ttl


def newest(*, member_pk: int) -> int:
    """The number of the newest one-time password of that member, 0 for none."""
    found = OneTimePassword.objects.filter(member=member_pk).order_by("-pk").values_list("pk", flat=True).first()
    return found or 0


def spend(typed: str, now: datetime) -> OneTimePassword | None:
    """The row of the one-time password, for exactly one caller; None when it is wrong, used or expired.

    For use inside the transaction of what it is spent on.
    """
    plain = credentials.normalise(typed, credentials.OTP_LENGTH)
    rows = OneTimePassword.objects.select_related("member__account")
    digests = [_digest(key, plain or "") for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)]
    found = rows.filter(digest__in=digests, expires_at__gt=now).first()
    return found if found is not None and OneTimePassword.objects.consume(found.pk, now) else None


def authority_of(found: OneTimePassword) -> Authority:
    """Who it stands for, by the credential that asked for it."""
    return Authority(found.member_id, found.api_key_id, found.password_epoch)


def _digest(key: str, plain: str) -> bytes:
    return credentials.keyed_digest(key, "one-time password", plain)
