"""Signing in to the console: failures are counted, never the victim locked out (see `limits`)."""

from django.utils import timezone

from ovauth.flows import audit, limits
from ovauth.models import Member

Counted = tuple[tuple[limits.Limit, str], ...]


def check(*, name: str, ip: str) -> None:
    """Raises TooManyRequests for a guesser; before any password is looked at."""
    limits.check(_counted(name, ip))


def failed(*, name: str, ip: str) -> None:
    """Counts a wrong name or password. The name is not noted: people type passwords there."""
    limits.count(_counted(name, ip))
    audit.record("login.failed", now=timezone.now())


def succeeded(*, member: Member) -> None:
    audit.record("login.succeeded", now=timezone.now(), member=member)


def _counted(name: str, ip: str) -> Counted:
    # The address first: a key is cut to its length, and a long name must not cut it off.
    who = f"{ip} {name.strip().casefold()}" if ip else ""
    return ((limits.SIGN_IN_BY_NAME_AND_ADDRESS, who), (limits.SIGN_IN_BY_ADDRESS, ip))
