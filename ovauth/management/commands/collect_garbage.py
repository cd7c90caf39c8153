"""Deletes what has expired."""

from typing import Any

from ovauth.flows import garbage
from ovauth.management.command import OvauthCommand


class Command(OvauthCommand):
    help = "Deletes what has expired, in batches. `serve` does so too, every ten minutes."

    def perform(self, **options: Any) -> None:
        deleted = [f"{count} {kind}" for kind, count in garbage.collect().items() if count]
        self.stdout.write(f"Deleted {', '.join(deleted)}." if deleted else "Nothing has expired.")
