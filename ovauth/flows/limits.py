"""Failures are counted, not successes, in the database that every process shares.

A limit is keyed by who guesses (a key, a user, an address), never by what is guessed: it must not lock the victim out.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from ovauth import credentials, metrics, statements
from ovauth.errors import TooManyRequests
from ovauth.flows import audit
from ovauth.models import Member, Tally
from ovauth.sql import moment

LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `most` failures within `window` seconds."""

    surface: str
    most: int
    window: int

    def key(self, who: str) -> str:
        # A long name is kept as its digest: cut off, it would lose the address behind it.
        return f"{self.surface}:{who if len(who) <= LONGEST_NAME else credentials.digest(who).hex()}"


CODE_BY_MEMBER = Limit("code/member", 5, 600)
CODE_BY_ADDRESS = Limit("code/address", 10, 600)
OTP_BY_PENDING = Limit("otp/pending", 5, 600)
OTP_BY_ADDRESS = Limit("otp/address", 20, 600)
SIGN_IN_BY_NAME_AND_ADDRESS = Limit("sign-in/name+address", 8, 600)
SIGN_IN_BY_ADDRESS = Limit("sign-in/address", 40, 600)
REGISTRATION_BY_ADDRESS = Limit("registration/address", 300, 600)
REFUSED_BY_CLIENT_AND_ADDRESS = Limit("refused/client+address", 20, 600)
"""Not of what is refused, but of what is noted of it."""
PENDING_BY_CLIENT_AND_ADDRESS = Limit("authorize/client+address", 120, 600)
CLIENT_SECRET_BY_CLIENT_AND_ADDRESS = Limit("client secret/client+address", 30, 600)
DOCUMENT_BY_URL = Limit("document/url", 1, 30)
"""A document that was not good a moment ago is not asked for again: nobody makes us hammer its host."""
DOCUMENT_BY_ADDRESS = Limit("document/address", 120, 600)
DOCUMENT_BY_HOST_AND_ADDRESS = Limit("document/host+address", 20, 600)
DOCUMENT_BY_HOST = Limit("document/host", 300, 600)
KEYS_BY_URL = Limit("client keys/url", 30, 300)

Counted = Iterable[tuple[Limit, str]]


def check(counted: Counted) -> None:
    """Raises TooManyRequests when one of the limits is reached. Whoever is unknown (empty) is not limited."""
    wanted = {limit.key(who): limit for limit, who in counted if who}
    now = timezone.now()
    for key, limit in wanted.items():
        tally = statements.TALLY.row(key=key, now=now)
        if tally is not None and tally[0] >= limit.most:
            metrics.limited(limit.surface)
            wait = int((moment(tally[1]) - now).total_seconds()) + 1
            raise TooManyRequests(wait, reason=f"{key} reached {tally[0]}")


def count(counted: Counted) -> None:
    """Counts one failure against each of them. To be called outside of a transaction that will be rolled back."""
    now = timezone.now()
    for limit, who in counted:
        if who:
            statements.COUNT.run(key=limit.key(who), now=now, until=now + timedelta(seconds=limit.window))


def just_reached(counted: Counted) -> list[str]:
    """The surfaces of those limits that are reached since the failure that was counted last."""
    wanted = {limit.key(who): limit for limit, who in counted if who}
    found = Tally.objects.filter(key__in=wanted, expires_at__gt=timezone.now()).values_list("key", "count")
    return sorted(wanted[key].surface for key, count in found if count == wanted[key].most)


def forget(*, tally_pk: int, member: Member) -> bool:
    """An operator lets somebody try again before the window is over; False when it was over already."""
    now = timezone.now()
    with transaction.atomic():
        tally = Tally.objects.filter(pk=tally_pk).first()
        if tally is None:
            return False
        tally.delete()
        audit.record("admin.action", now=now, member=member, action="forget rate limit", of=tally.key)
    return True
