"""A new API key in the place of the old one."""

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser

from ovauth.flows import accounts
from ovauth.management.command import OvauthCommand, counted


class Command(OvauthCommand):
    help = (
        "Replaces the API key of a user. The old one, and every OAuth credential that it authorized stop working at once."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the user's name within the account")
        parser.add_argument("--account", required=True)
        parser.add_argument("--json", action="store_true", help="prints one JSON object and nothing else")

    def perform(self, *, name: str, account: str, **options: Any) -> None:
        key, ended = accounts.rotate_api_key(account=account, name=name)
        if options["json"]:
            told = {"account_id": account, "user_id": name, "api_key": key, "revoked": asdict(ended)}
            self.stdout.write(json.dumps(told))
            return
        self.stdout.write(
            f"The old API key of {account}/{name} stopped working. What it had authorized ended: {counted(ended)}."
        )
        self.stdout.write(f"API key, shown this once:  {self.style.SUCCESS(key)}")
        self.stdout.write("Put it where the old one was. Clients that ended ask for access again by themselves.")
