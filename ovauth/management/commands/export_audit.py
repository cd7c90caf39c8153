"""The audit events as JSON lines, for whoever keeps or searches them elsewhere."""

from argparse import ArgumentTypeError
from datetime import UTC, date, datetime, time
from typing import Any, Final

from django.core.management.base import CommandParser

from ovauth.flows import audit
from ovauth.management.command import OvauthCommand

MOMENT: Final = "an ISO 8601 date or moment, such as 2026-11-24 or 2026-11-24T10:00:00+01:00; UTC unless it says otherwise"


class Command(OvauthCommand):
    help = "Prints the audit events, oldest first, one JSON object a line."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--since", type=_moment, metavar="T", help=f"from this moment on: {MOMENT}")
        parser.add_argument("--until", type=_moment, metavar="T", help="before this moment; a date is its first moment")

    def perform(self, *, since: datetime | None, until: datetime | None, **options: Any) -> None:
        for line in audit.lines(since=since, until=until):
            self.stdout.write(line, ending="")


def _moment(text: str) -> datetime:
    try:
        if "T" not in text and " " not in text.strip():
            return datetime.combine(date.fromisoformat(text), time.min, UTC)
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except ValueError:
        raise ArgumentTypeError(f"“{text}” is no moment; use {MOMENT}") from None
