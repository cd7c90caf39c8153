"""The house is kept by one worker of all machines at a time, and not before it is due: whoever holds the lease.

The lease is a row, and who gets it is decided by one conditional UPDATE. It runs out: a holder that died is succeeded.
Between two batches the holder renews it, and stops at once when it is no longer its own.
"""

import logging
import time
from datetime import timedelta
from typing import Final

from django.db import IntegrityError, transaction
from django.utils import timezone

from ovauth import metrics
from ovauth.flows import garbage
from ovauth.models import Lease

log = logging.getLogger(__name__)

NAME: Final = "housekeeping"
EVERY: Final = 600.0
"""Seconds from one end to the next beginning."""
LEASE: Final = 120.0
"""Seconds until a holder that says nothing is taken for dead; far longer than any batch."""


class Lost(Exception):
    """Somebody else holds the lease: this process was taken for dead."""


def keep(*, holder: str, every: float = EVERY, lease: float = LEASE) -> dict[str, int] | None:
    """Does what is to be done, if it is due and nobody else is at it: how many rows of each kind were deleted, else None.

    `holder` is a name that no other process has. Raises Lost.
    """
    if not _take(holder, lease):
        return None
    started = renewed = time.monotonic()

    def still_ours() -> None:
        nonlocal renewed
        if time.monotonic() - renewed >= lease / 4:
            _renew(holder, lease)
            renewed = time.monotonic()

    deleted = garbage.collect(between=still_ours)
    _done(holder, every)
    metrics.collected(deleted)
    told = ", ".join(f"{count} {kind}" for kind, count in deleted.items() if count)
    log.log(logging.INFO if told else logging.DEBUG, "kept house in %.1f s: %s", time.monotonic() - started, told)
    return deleted


def _take(holder: str, lease: float) -> bool:
    now = timezone.now()
    due = Lease.objects.filter(name=NAME, due_at__lte=now, expires_at__lte=now)
    if not due.exists():  # reading first: a write would wait for its turn
        if Lease.objects.filter(name=NAME).exists():
            return False
        _create()
    return due.update(holder=holder, expires_at=now + timedelta(seconds=lease)) == 1


def _create() -> None:
    now = timezone.now() - timedelta(seconds=1)
    try:
        with transaction.atomic():
            Lease.objects.create(name=NAME, expires_at=now, due_at=now)
    except IntegrityError:
        pass  # another process did so this very moment


def _renew(holder: str, lease: float) -> None:
    until = timezone.now() + timedelta(seconds=lease)
    if not Lease.objects.filter(name=NAME, holder=holder).update(expires_at=until):
        raise Lost(f"the lease of {holder} ran out, and somebody else took it")


def _done(holder: str, every: float) -> None:
    now = timezone.now()
    mine = Lease.objects.filter(name=NAME, holder=holder)
    mine.update(holder="", expires_at=now, due_at=now + timedelta(seconds=every), done_at=now)
