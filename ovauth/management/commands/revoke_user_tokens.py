"""Ends everything that a user's clients hold."""

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser

from ovauth.flows import revocation
from ovauth.management.command import OvauthCommand, counted


class Command(OvauthCommand):
    help = "Revokes every code, access and refresh token of a user, and prints how many there were."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the user's name within the account")
        parser.add_argument("--account", required=True)
        parser.add_argument("--json", action="store_true", help="prints one JSON object and nothing else")

    def perform(self, *, name: str, account: str, **options: Any) -> None:
        ended = revocation.revoke_user_tokens(account=account, name=name)
        if options["json"]:
            self.stdout.write(json.dumps(asdict(ended)))
            return
        self.stdout.write(f"Revoked what the clients of {account}/{name} held: {counted(ended)}.")
        self.stdout.write(
            f"The API key still works; to end it too:  uv run manage.py rotate_api_key {name} --account {account}"
        )
