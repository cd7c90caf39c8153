"""A one-time password from a running server, for the code page of another device."""

from typing import Any

import httpx2
from django.conf import settings
from django.core.management.base import CommandParser

from ovauth.management.command import OvauthCommand
from ovauth.management.failure import Failed

TIMEOUT = 10


class Command(OvauthCommand):
    help = "Prints a one-time password, issued with the API key in OVAUTH_API_KEY."
    prepares = False

    def add_arguments(self, parser: CommandParser) -> None:
        config = settings.OVAUTH
        here = config.public_base_url or config.issuer or "http://127.0.0.1:1933"
        parser.add_argument("--server", default=here, metavar="URL", help="where ovauth answers (default: %(default)s)")

    def perform(self, *, server: str, **options: Any) -> None:
        key = settings.OVAUTH.api_key
        if key is None:
            raise Failed("OVAUTH_API_KEY is not set. Put your API key (ovk_…) into it.")
        server = server.rstrip("/")
        try:
            answer = httpx2.post(
                f"{server}/api/v1/auth/otp",
                headers={"Authorization": f"Bearer {key.get_secret_value()}"},
                timeout=TIMEOUT,
                follow_redirects=False,  # the key goes where it was sent, and nowhere else
            )
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, UnicodeError):
            raise Failed(f"--server {server} is no URL. Write it like https://ov.example.com") from None
        except httpx2.TimeoutException:
            raise Failed(f"{server} did not answer within {TIMEOUT} seconds. Is it the right --server?") from None
        except httpx2.HTTPError as error:
            raise Failed(f"{server} cannot be reached ({error}). Is it the right --server, and does it run?") from None
        plain, seconds = self._read(server, answer)
        self.stdout.write(plain)
        self.stdout.flush()
        # For the person alone: a script takes the password from standard output, and nothing else.
        self.stderr.write(f"Works once, for the next {_span(seconds)}.", str)

    def _read(self, server: str, answer: httpx2.Response) -> tuple[str, int]:
        """The password, and its life in seconds."""
        if answer.is_redirect:
            raise Failed(f"{server} sends elsewhere, to {answer.headers.get('location')}. Name that with --server")
        try:
            document = answer.json()
        except ValueError:
            document = None
        match document:
            case {"otp": str(plain), "expires_in": int(seconds)} if answer.status_code == 200:
                return plain, seconds
            case _ if answer.status_code == 401:
                why = "does not know the API key in OVAUTH_API_KEY. Was it rotated?"
            case {"error": {"message": str(message)}}:
                why = f"refused: {message}"
            case _:
                why = f"does not answer as ovauth does (status {answer.status_code}). Is it the right --server?"
        raise Failed(f"{server} {why}")


def _span(seconds: int) -> str:
    return f"{seconds // 60} min" if seconds % 60 == 0 else f"{seconds} s"
