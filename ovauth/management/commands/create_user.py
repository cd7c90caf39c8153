"""A user with an API key."""

import getpass
import json
import sys
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser

from ovauth.flows import accounts
from ovauth.management.command import OvauthCommand
from ovauth.management.failure import Failed
from ovauth.models import Member
from ovauth.roles import Role


class Command(OvauthCommand):
    help = "Creates the account where it is missing, the user, and an API key, which is shown this once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the user's name within the account")
        parser.add_argument("--account", required=True)
        parser.add_argument("--role", required=True, choices=[role.label for role in reversed(Role)])
        parser.add_argument(
            "--password-stdin",
            action="store_true",
            help="reads a password from standard input; without one the user has an API key, and cannot sign in",
        )
        parser.add_argument("--json", action="store_true", help="prints one JSON object and nothing else")

    def perform(self, *, name: str, account: str, role: str, password_stdin: bool, **options: Any) -> None:
        password = self._password(account, name) if password_stdin else None
        made = accounts.create_user(account=account, name=name, role=Role.named(role), password=password)
        if options["json"]:
            told = {
                "account_id": made.account_id,
                "user_id": made.user_id,
                "role": made.role,
                "api_key": made.api_key,
            }
            self.stdout.write(json.dumps(told))
            return
        where = f"the new account {made.account_id}" if made.new_account else f"the account {made.account_id}"
        self.stdout.write(f"Created {made.user_id} in {where}, role {made.role}.")
        self.stdout.write(f"API key, shown this once:  {self.style.SUCCESS(made.api_key)}")
        if password is None:
            self.stdout.write(
                "There is no password, so no signing in. root sets one in the admin; for the next user: --password-stdin"
            )
        else:
            self.stdout.write(f"Sign in at /console/ as {made.sign_in_name}")

    def _password(self, account: str, name: str) -> str:
        typed = sys.stdin.isatty()
        password = getpass.getpass("Password: ") if typed else sys.stdin.readline().rstrip("\r\n")
        try:
            validate_password(password, Member(name=name, sign_in_name=f"{account}/{name}"))
        except ValidationError as invalid:
            raise Failed(f"The password cannot be used. {' '.join(invalid.messages)}") from None
        return password
