"""Failures are counted, not successes, in the database that every process shares.

A limit is keyed by who guesses (a key, a user, an address), never by what is guessed: it must not lock the victim out.

What a person types is short enough to guess: there a place is taken before the guess is judged, and given back when it was
right, so that of a burst no more are judged than the limit says. Everything else is checked, and counted afterwards: a
client's secret has 256 bits, and no burst brings anybody closer to it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from ovauth import credentials, metrics, statements
from ovauth.errors import TooManyRequests
from ovauth.flows import audit
from ovauth.models import Member, Tally
from ovauth.sql import Row, moment

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

MOST_REMEMBERED = 1000
_reached_lately: set[str] = set()
"""Keys of limits that were reached, as far as this process met them."""


@dataclass(frozen=True, slots=True)
class Place:
    """One guess of those that a limit allows. `count` is how many of them were taken with it."""

    limit: Limit
    key: str
    count: int
    until: datetime


def take(counted: Counted) -> list[Place]:
    """Counts a guess before it is judged: a place in each of the limits. Whoever is unknown (empty) is not limited.

    Within a transaction of the caller's; while that lasts, the next guess of the same guesser waits. `check` comes before
    it: whoever has reached the limit gets no turn to write. Raises TooManyRequests when it was in between.
    """
    now = timezone.now()
    places = []
    for limit, who in counted:
        if who:
            key = limit.key(who)
            until = now + timedelta(seconds=limit.window)
            row = statements.PLACE.row(key=key, now=now, until=until, most=limit.most)
            if row is None:
                raise _beyond(limit, key, until, now)
            places.append(Place(limit, key, row[0], moment(row[1])))
    return places


def admit(counted: Counted) -> None:
    """Counts a request that is not judged, as `take` does, for whoever gives no place back. Raises TooManyRequests."""
    now = timezone.now()
    for limit, who in counted:
        if who:
            key, until = limit.key(who), now + timedelta(seconds=limit.window)
            if not statements.ADMITTED.run(key=key, now=now, until=until, most=limit.most):
                raise _beyond(limit, key, until, now)


def give_back(places: Iterable[Place]) -> None:
    """The guess was right, or none: it does not count."""
    for place in places:
        statements.GIVE_BACK.run(key=place.key, until=place.until)


def used_up(places: Iterable[Place]) -> list[str]:
    """The surfaces of those limits whose last place is among these."""
    return sorted(place.limit.surface for place in places if place.count == place.limit.most)


def check(counted: Counted) -> None:
    """Raises TooManyRequests when one of the limits is reached. Whoever is unknown (empty) is not limited."""
    wanted = {limit.key(who): limit for limit, who in counted if who}
    now = timezone.now()
    for key, limit in wanted.items():
        tally = statements.TALLY.row(key=key, now=now)
        if tally is not None and tally[0] >= limit.most:
            raise _reached(limit, key, tally, now)


def remember(counted: Counted) -> None:
    """As `check`, but asks the database only about whoever was found to have reached a limit before: for requests that are
    taken without being judged, of which `admit` refuses those beyond the limit. Raises TooManyRequests."""
    for limit, who in counted:
        if who and (key := limit.key(who)) in _reached_lately:
            _reached_lately.discard(key)  # noted again if it still holds
            check(((limit, who),))


def count(counted: Counted) -> None:
    """Counts one failure against each of them. To be called outside of a transaction that will be rolled back."""
    now = timezone.now()
    for limit, who in counted:
        if who:
            statements.COUNT.run(key=limit.key(who), now=now, until=now + timedelta(seconds=limit.window))


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


def _beyond(limit: Limit, key: str, until: datetime, now: datetime) -> TooManyRequests:
    """For whoever was not counted any more."""
    return _reached(limit, key, statements.TALLY.row(key=key, now=now) or (limit.most, until), now)


def _reached(limit: Limit, key: str, tally: Row, now: datetime) -> TooManyRequests:
    if len(_reached_lately) >= MOST_REMEMBERED:
        _reached_lately.clear()
    _reached_lately.add(key)
    metrics.limited(limit.surface)
    wait = int((moment(tally[1]) - now).total_seconds()) + 1
    return TooManyRequests(wait, reason=f"{key} reached {tally[0]}")
