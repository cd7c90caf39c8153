"""How far a person has come with their first connection, for the checklist in the console.

What others did is told by rows and audit events of the last hour, from this person's address or in their name. That a
client has found the server is in neither: its discovery documents are cached by whoever likes, and are answered without a
database. So it is noted, and only while somebody looks at a checklist from the same address: strangers write nothing.
"""

import logging
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from ovauth import statements
from ovauth.models import AuditEvent, Grant, Member, Tally

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


def of(*, member_pk: int, ip: str, watch: bool = False) -> Progress:
    """How far the apps have come that this member connects, from this address or elsewhere: one statement.

    `watch`: from now on, for an hour, it is noted when somebody at this address finds the server.
    """
    now = timezone.now()
    since = now - RECENT
    grants = Grant.objects.filter(member=OuterRef("pk"), created_at__gt=since, revoked_at=None)
    events = AuditEvent.objects.filter(at__gt=since, ip=ip) if ip else AuditEvent.objects.none()
    watched = Tally.objects.filter(key=_key(ip), expires_at__gt=now) if ip else Tally.objects.none()
    seen = (
        Member.objects.filter(pk=member_pk)
        .annotate(
            has_called=Exists(grants.filter(last_used_at__isnull=False)),
            has_approved=Exists(grants),
            has_asked=Exists(events.filter(event__in=("authorization.requested", "device.requested"))),
            has_registered=Exists(events.filter(event="client.registered")),
            has_found=Exists(watched.filter(count__gt=0)),
            is_watched=Exists(watched),
        )
        .values("has_called", "has_approved", "has_asked", "has_registered", "has_found", "is_watched")
        .get()
    )
    if watch and ip and not seen["is_watched"]:
        _watch(ip, now + RECENT)
    approved = seen["has_approved"]
    asked = approved or seen["has_asked"]
    # A client that is described by its own document asks without having registered.
    registered = asked or seen["has_registered"]
    return Progress(registered or seen["has_found"], registered, asked, approved, called=seen["has_called"])


def _watch(ip: str, until: datetime) -> None:
    if Tally.objects.filter(key=_key(ip)).update(count=0, expires_at=until):
        return
    try:
        with transaction.atomic():
            Tally.objects.create(key=_key(ip), count=0, expires_at=until)
    except IntegrityError:
        pass  # another tab of theirs, this very moment


def discovered(*, ip: str) -> None:
    """Somebody at this address reads how to connect: noted where it is waited for. Whatever fails, they are answered."""
    if not ip:
        return
    now = timezone.now()
    try:
        # Reading first, since a write would wait for its turn.
        if (waited_for := statements.TALLY.row(key=_key(ip), now=now)) is not None and waited_for[0] == 0:
            Tally.objects.filter(key=_key(ip), expires_at__gt=now, count=0).update(count=1)
    except DatabaseError as error:
        log.warning("that the server was found could not be noted: %s", error)


def _key(ip: str) -> str:
    return f"checklist:{ip}"
