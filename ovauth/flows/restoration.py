"""A restored database holds what was revoked since its copy was made, as if it were alive. So everything in it ends.

Every database carries the mark of its home. The mark of a copy is another one, and nobody but the next start sees it.
"""

from dataclasses import dataclass

from django.contrib.sessions.models import Session
from django.db import transaction
from django.utils import timezone

from ovauth.flows import audit, revocation
from ovauth.flows.revocation import Ended
from ovauth.models import DatabaseMark
from ovauth.provenance import Actor

COPY = "a copy of"
"""How the mark of a copy begins; the moment follows."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What this database said about itself, and how much ended."""

    mark: str
    ended: Ended


def settle(*, home: str, before: str = "", told: bool = False, moved: bool = False) -> Restored | None:
    """Makes `home` the home of this database; None when it is (or nothing was known yet).

    From elsewhere, or when the operator `told` so: every grant, code, one-time password and session ends. `before` is how
    earlier versions wrote this home. Where the operator says that it `moved` whole, no other home is a reason.
    """
    now = timezone.now()
    with transaction.atomic():
        found = DatabaseMark.objects.select_for_update().first()
        if found is None:
            found = DatabaseMark.objects.create(home=home)
        if not told and (moved or found.home in (home, before)):
            if found.home not in (home, before):
                audit.record("database.moved", now=now, by=Actor.SYSTEM, mark=found.home)
            if found.home != home:
                DatabaseMark.objects.filter(pk=found.pk).update(home=home)
            return None
        ended = revocation.end_everything(now, because="the database was restored")
        Session.objects.all().delete()
        mark = found.home if found.home != home else ""
        audit.record("database.restored", now=now, by=Actor.SYSTEM, mark=mark)
        DatabaseMark.objects.filter(pk=found.pk).update(home=home)
    return Restored(mark, ended)
