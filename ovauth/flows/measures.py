"""What is there now, for the metrics: read when somebody asks, at most twice a minute, and cheap however much there is.

Up to `EXACT` rows are counted. More are estimated: the rows of a few evenly spread ranges of the primary key are counted,
and stand for all. So no question visits more than that many rows.
"""

import time
from functools import reduce
from operator import or_
from typing import Any, Final

from django.db import connection
from django.db.models import Max, Min, Q, QuerySet
from django.utils import timezone

from ovauth.models import Client, Grant, Lease, PendingAuthorization

EXACT: Final = 10_000
RANGES: Final = 20
CACHED: Final = 30
"""Seconds."""

Reading = tuple[str, dict[str, str], float]

_last: tuple[float, list[Reading]] | None = None


def read() -> list[Reading]:
    """The gauges that are read off the database: name, labels, value. Raises a DatabaseError when it does not answer."""
    global _last
    now = time.monotonic()
    if _last is None or now - _last[0] >= CACHED:
        _last = (now, _read())
    return _last[1]


def last() -> list[Reading]:
    """What was read the last time, however long ago."""
    return _last[1] if _last is not None else []


def _read() -> list[Reading]:
    now = timezone.now()
    waiting = PendingAuthorization.objects.filter(decision=PendingAuthorization.Decision.NONE, expires_at__gt=now)
    readings: list[Reading] = [
        ("ovauth_pending", {}, waiting[:EXACT].count()),
        ("ovauth_grants", {}, about(Grant.objects.filter(revoked_at=None))),
        ("ovauth_clients", {}, about(Client.objects.all())),
    ]
    done = Lease.objects.filter(done_at__isnull=False).values_list("done_at", flat=True).first()
    if done is not None:
        readings.append(("ovauth_garbage_last_success_timestamp_seconds", {}, done.timestamp()))
    return readings + [("ovauth_db_pool_connections", {"state": state}, count) for state, count in _connections()]


def about(rows: QuerySet[Any]) -> int:
    """How many rows these are: exactly where the table's keys span no more than `EXACT`, else an estimate."""
    ends = rows.model.objects.aggregate(first=Min("pk"), last=Max("pk"))
    if ends["first"] is None:
        return 0
    span = ends["last"] - ends["first"] + 1
    if span <= EXACT:
        return rows.count()
    width = EXACT // RANGES
    starts = (ends["first"] + number * (span - width) // (RANGES - 1) for number in range(RANGES))
    looked_at = rows.filter(reduce(or_, (Q(pk__gte=start, pk__lt=start + width) for start in starts))).count()
    return round(looked_at / (width * RANGES) * span)


def _connections() -> list[tuple[str, int]]:
    if connection.vendor != "postgresql":
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(state, 'unknown'), count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND usename = current_user GROUP BY 1"
        )
        return [(str(state), int(count)) for state, count in cursor.fetchall()]
