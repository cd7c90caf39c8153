"""How far a person has come with their first connection, for the checklist in the console.

What others did is told by rows and audit events of the last hour, from this person's address or in their name. That a
client has found the server is in neither: its discovery documents are cached by whoever likes, and are answered without a
database. So it is noted, and only while somebody looks at a checklist from the same address: strangers write nothing.
"""

import logging
from dataclasses import asdict, dataclass
from datetime import timedelta

from django.db import DatabaseError, IntegrityError, transaction
from django.utils import timezone

from ovauth.models import AuditEvent, Grant, Tally

log = logging.getLogger(__name__)

RECENT = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Progress:
    """The five marks. Whoever has come further has passed those before."""

    found: bool
    registered: bool
    asked: bool
    approved: bool
    called: bool

    @property
    def marks(self) -> dict[str, bool]:
        return asdict(self)


def of(*, member_pk: int, ip: str) -> Progress:
    """How far the apps have come that this member connects, from this address or elsewhere."""
    now = timezone.now()
    since = now - RECENT
    living = Grant.objects.filter(member=member_pk, created_at__gt=since, revoked_at=None)
    grants = living.values_list("last_used_at", flat=True)
    approved = bool(grants)
    seen: set[str] = set()
    if not approved and ip:
        events = ("client.registered", "authorization.requested")
        recent = AuditEvent.objects.filter(at__gt=since, ip=ip, event__in=events)
        seen = set(recent.values_list("event", flat=True).distinct())
    asked = approved or "authorization.requested" in seen
    # A client that is described by its own document asks without having registered.
    registered = asked or "client.registered" in seen
    found = registered or bool(ip) and Tally.objects.filter(key=_key(ip), expires_at__gt=now, count__gt=0).exists()
    return Progress(found, registered, asked, approved, called=any(grants))


def watch(*, ip: str) -> None:
    """From now on, for an hour, it is noted when somebody at this address finds the server."""
    now = timezone.now()
    until = now + RECENT
    if not ip or Tally.objects.filter(key=_key(ip), expires_at__gt=now).exists():
        return
    if Tally.objects.filter(key=_key(ip)).update(count=0, expires_at=until):
        return
    try:
        with transaction.atomic():
            Tally.objects.create(key=_key(ip), count=0, expires_at=until)
    except IntegrityError:
        pass  # another tab of theirs, this very moment


def discovered(*, ip: str) -> None:
    """Somebody at this address reads how to connect: noted where it is waited for. Whatever fails, they are answered."""
    try:
        waited_for = Tally.objects.filter(key=_key(ip), expires_at__gt=timezone.now(), count=0)
        if ip and waited_for.exists():  # reading first: a write would wait for its turn
            waited_for.update(count=1)
    except DatabaseError:
        log.warning("that the server was found could not be noted", exc_info=True)


def _key(ip: str) -> str:
    return f"checklist:{ip}"
