"""Signing in to the console: failures are counted, never the victim locked out (see `limits`).

A password takes long to judge, so nothing is locked meanwhile: a place is taken before, and given back afterwards.

By a password, or by an API key or one-time password; then the session can do no more than what opened it, and ends with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from ovauth.errors import Forbidden, NotFound
from ovauth.flows import audit, limits, one_time_password
from ovauth.models import ApiKey, Member
from ovauth.provenance import Actor
from ovauth.rules.networks import household

Counted = tuple[tuple[limits.Limit, str], ...]
Attempt = Sequence[limits.Place]


def begin(*, name: str, ip: str) -> Attempt:
    """Counts an attempt, before any password is looked at. Raises TooManyRequests for a guesser."""
    counted = _counted(name, ip)
    limits.check(counted)
    with transaction.atomic():
        return limits.take(counted)


def failed(attempt: Attempt) -> None:
    """A wrong name or password: it stays counted. The name is not noted: people type passwords there."""
    now = timezone.now()
    with transaction.atomic():
        audit.record("login.failed", now=now, by=Actor.BROWSER)
        if surfaces := limits.used_up(attempt):
            audit.record("login.locked", now=now, by=Actor.BROWSER, limits=surfaces)


def withdrawn(attempt: Attempt) -> None:
    """Nothing was guessed, or it was right: it does not count."""
    with transaction.atomic():
        limits.give_back(attempt)


def succeeded(*, member: Member, by: Actor = Actor.SESSION, attempt: Attempt = ()) -> None:
    """`by` is what they signed in with; a password opens a session of their own."""
    with transaction.atomic():
        limits.give_back(attempt)
        audit.record("login.succeeded", now=timezone.now(), by=by, member=member)


@dataclass(frozen=True, slots=True)
class BySecret:
    """Who signs in without a password. `api_key_pk` is the key that the session hangs on, if it is one."""

    member: Member
    api_key_pk: int | None
    kind: Actor


def by_secret(*, secret: str, ip: str) -> BySecret:
    """The owner of an API key, or of a one-time password, which is spent.

    Raises NotFound for whatever does not work, TooManyRequests for a guesser.
    """
    now = timezone.now()
    attempt = begin(name="", ip=ip)
    found = _of_api_key(secret.strip()) or _of_one_time_password(secret, now)
    if found is None or not found.member.is_active:
        failed(attempt)
        raise NotFound("This API key or one-time password is wrong, used or expired.")
    withdrawn(attempt)
    return found


def stands(*, api_key_pk: int) -> bool:
    """Whether the API key that a session hangs on still works."""
    return ApiKey.objects.filter(pk=api_key_pk, revoked_at=None).exists()


def _of_api_key(secret: str) -> BySecret | None:
    key = ApiKey.objects.select_related("member__account").filter(revoked_at=None).by_secret(secret)
    return BySecret(key.member, key.pk, Actor.API_KEY) if key else None


def _of_one_time_password(typed: str, now: datetime) -> BySecret | None:
    with transaction.atomic():
        spent = one_time_password.spend(typed, now)
        if spent is None:
            return None
        try:
            member = one_time_password.authority_of(spent).prove()
        except Forbidden:  # what asked for it works no more
            return None
        audit.record("otp.used", now=now, by=Actor.ONE_TIME_PASSWORD, member=member, credential=spent.digest)
    return BySecret(member, spent.api_key_id, Actor.ONE_TIME_PASSWORD)


def _counted(name: str, ip: str) -> Counted:
    # The address first: a key is cut to its length, and a long name must not cut it off.
    ip = household(ip)
    who = f"{ip} {name.strip().casefold()}" if ip else ""
    return ((limits.SIGN_IN_BY_NAME_AND_ADDRESS, who), (limits.SIGN_IN_BY_ADDRESS, ip))
