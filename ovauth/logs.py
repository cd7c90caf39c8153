"""What the process says: a log for operators on standard error, and while it serves, the story on standard output.

No secret reaches either. The filter here is the last net, not the first: nothing else writes one in the first place.
"""

import logging
import re
import sys
from contextlib import suppress
from typing import Any, Final

SECRET: Final = re.compile(r"ov(at|rt|ac|dc|k|cs|reg)_[A-Za-z0-9_-]+")
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def speakable(text: str) -> str:
    """A text that somebody else wrote, in one line that any stream can take."""
    return CONTROL.sub("�", text)


class Redacting(logging.Formatter):
    """Shortens anything that looks like a credential to its prefix, and keeps a line one line."""

    def format(self, record: logging.LogRecord) -> str:
        return SECRET.sub(r"ov\1_…", super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 logging's name
        record.message = speakable(record.message)
        return super().formatMessage(record)


LOGGING: Final[dict[str, Any]] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"()": Redacting, "format": "{asctime} {levelname:7} {name}: {message}", "style": "{"},
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "ovauth": {"level": "INFO"},
        # Told as the story and kept in the database; the request line is for those who ask for it.
        "ovauth.audit": {"level": "INFO", "propagate": False},
        "ovauth.request": {"level": "WARNING"},
        "django.request": {"level": "ERROR"},  # every refusal is answered by faults, and told there
        "mcp": {"level": "WARNING"},
        "uvicorn.error": {"level": "WARNING"},
    },
}


class Story(logging.Handler):
    """The audit trail as a person at the terminal follows it: registered, asked for access, approved, connected."""

    def emit(self, record: logging.LogRecord) -> None:
        line = sentence(record.__dict__.get("audit", {}))
        if line:
            told = SECRET.sub(r"ov\1_…", speakable(line))
            # Whoever read this may have gone (`serve | head`): the request that is told of goes on.
            with suppress(OSError, ValueError):
                sys.stdout.write(f"{self.time(record)}  {told}\n")
                sys.stdout.flush()

    @staticmethod
    def time(record: logging.LogRecord) -> str:
        return logging.Formatter(datefmt="%H:%M:%S").formatTime(record, "%H:%M:%S")


def sentence(told: dict[str, Any]) -> str:
    """One event in words, or nothing for an event that is no part of the story."""
    client, actor = told.get("client_name", ""), told.get("actor", "")
    detail = told.get("detail", {})
    whose = detail.get("user", actor)
    match told.get("event"):
        case "client.registered":
            what, rest = "registered", client
        case "authorization.requested":
            what, rest = "asked for access", f"{client} → {detail.get('destination', '')}"
        case "device.requested":
            what, rest = "asked for access", f"{client} on a device"
        case "authorization.approved":
            what, rest = "approved", f"{client} by {actor}"
        case "authorization.denied":
            what, rest = "denied", f"{client} by {actor}" if actor else f"{client}, cancelled"
        case "client.blocked_for_account":
            what, rest = "blocked", f"{client} for {detail.get('whom', '')}: {actor} did not start its request"
        case "connection.first_call":
            what, rest = (
                "connected",
                f"{client}: {detail.get('method', 'first call')} answered in {detail['ms']} ms",
            )
        case "token.reuse_detected":
            what, rest = (
                "replay",
                f"{client}: a used refresh token came again; everything of {whose} was ended",
            )
        case "grant.disconnected":
            what, rest = "ended", f"{client} for {whose}, {told.get('reason', '')}"
        case "api_key.rotated":
            what, rest = "key rotated", whose
        case _:
            return ""
    return f"{what:<16}  {rest}"


def tell() -> None:
    """Begins to tell the story, in a process that serves."""
    log = logging.getLogger("ovauth.audit")
    if not any(isinstance(handler, Story) for handler in log.handlers):
        log.addHandler(Story())
