"""What the process says: a log on standard error, and while it serves, the story on standard output.

The log is for machines, one JSON object a line, unless standard error is a terminal; the story is for a person, and only
told to a terminal. No secret reaches either. The net here is the last one, not the first: nothing else writes a secret.
"""

import asyncio
import atexit
import json
import logging
import re
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, Final, Literal

import structlog

from ovauth.provenance import Provenance

SECRET: Final = re.compile(r"ov(at|rt|ac|dc|k|cs|reg)_[A-Za-z0-9_-]+")
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
PROBES: Final = frozenset({"/health/live", "/health/ready", "/metrics"})
"""Asked every few seconds by machines: said only when something is wrong."""

Kind = Literal["console", "json"]


def speakable(text: str) -> str:
    """A text that somebody else wrote, in one line that any stream can take."""
    return CONTROL.sub("�", text)


def redacted(text: str) -> str:
    """Anything that looks like a credential, shortened to its prefix."""
    return SECRET.sub(r"ov\1_…", text)


class Redacting(logging.Formatter):
    """Of commands: shortens what looks like a credential, and keeps a line one line."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))

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
        # Kept in the database; told as the story, or as lines of the log, by a process that serves.
        "ovauth.audit": {"level": "INFO", "propagate": False},
        "django.request": {"level": "ERROR"},  # every refusal is answered by faults, and told there
        "mcp": {"level": "WARNING"},
        "uvicorn.error": {"level": "WARNING"},
    },
}


# ------------------------------------------------------------------ of a process that serves


class RedactedRecord(logging.LogRecord):
    """For every handler, also one that the served MCP server brought: what it is given holds no credential any more."""

    def getMessage(self) -> str:  # noqa: N802 logging's name
        return redacted(super().getMessage())


class Line(structlog.stdlib.ProcessorFormatter):
    """A record as one line, JSON or for people; the exception is in it, and no secret is."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


def _line(kind: Kind) -> Line:
    before: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        # For people as the story has it: the day is today.
        structlog.processors.TimeStamper(fmt="iso" if kind == "json" else "%H:%M:%S", utc=kind == "json", key="ts"),
    ]
    last: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if kind == "json":
        last += [structlog.processors.format_exc_info, _in_order, structlog.processors.JSONRenderer(ensure_ascii=False)]
    else:
        last += [_one_line, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), timestamp_key="ts", pad_event_to=0)]
    return Line(processors=last, foreign_pre_chain=before)


def _in_order(_logger: Any, _method: str, told: Any) -> dict[str, Any]:
    """Every line begins alike: when, how bad, what."""
    event = told.pop("event", "")
    return {"ts": told.pop("ts", ""), "level": told.pop("level", ""), "event": "log", "message": event, **told}


def _one_line(_logger: Any, _method: str, told: Any) -> Any:
    told["event"] = speakable(str(told.get("event", "")))
    return told


def audited(told: dict[str, Any]) -> None:
    """An audit event was committed: a line of the log, and for whoever listens to the trail (the story does).

    Not by a logging handler: a record costs as much again, and every token request tells one.
    """
    if _audits:
        _say({"ts": _now(), "level": "info", "event": "audit", "audit": told["event"], **_rest(told)})
    if _trail.handlers or _trail.propagate:
        _trail.info(told["event"], extra={"audit": told})


def _rest(told: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name not in ("event", "detail") and value} | told.get(
        "detail", {}
    )


_trail: Final = logging.getLogger("ovauth.audit")
_audits = False
_Line = Callable[[Provenance, str, str, int, float, float], str]
_requests: _Line | None = None
_render: Callable[[dict[str, Any]], str] = json.dumps


def serve(setting: Literal["auto", "console", "json"] = "auto") -> None:
    """From now on, in this process, the log is what a server's should be. `auto`: JSON unless somebody looks at it."""
    global _audits, _requests, _render
    looked_at = sys.stderr.isatty()
    kind: Kind = ("console" if looked_at else "json") if setting == "auto" else setting
    logging.setLogRecordFactory(RedactedRecord)
    formatter = _line(kind)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(formatter)
    told_as_story = setting == "auto" and looked_at
    _requests = None if told_as_story else (_json_request if kind == "json" else _console_request)
    _render = _console if kind == "console" else json.dumps
    _audits = not told_as_story
    _trail.handlers = [handler for handler in _trail.handlers if not isinstance(handler, Story)]
    if sys.stdout.isatty():
        _trail.addHandler(Story())


def answered(source: Provenance, method: str, route: str, status: int, seconds: float) -> None:
    """The line of a request: the template of its path, never the path, never the query."""
    if _requests is not None and (status >= 400 or route not in PROBES):
        _say_soon(partial(_requests, source, method, route, status, seconds, time.time()), now=status >= 500)


def _json_request(source: Provenance, method: str, route: str, status: int, seconds: float, at: float) -> str:
    """By hand: `json.dumps` of the same costs four times as much, and this is said for every request."""
    account, _, user = source.actor.partition("/")
    return (
        f'{{"ts": "{_moment(at)}", "level": "{"error" if status >= 500 else "info"}", "event": "http", '
        f'"method": {quoted(method)}, "route": {quoted(route)}, "status": {status}, "ms": {seconds * 1000:.1f}, '
        f'"request_id": "{source.request_id}", "account_id": {quoted(account)}, "user_id": {quoted(user)}, '
        f'"client_id": {quoted(source.client_id)}, "ip": "{source.ip}"}}\n'
    )


def _console_request(source: Provenance, method: str, route: str, status: int, seconds: float, at: float) -> str:
    who = speakable(" ".join(part for part in (source.actor, source.client_id, source.ip) if part))
    what = f"{status} {speakable(method):7} {route}  {seconds * 1000:.1f} ms"
    return f"{_moment(at)} {what}  {who}  {source.request_id}\n"


def _console(told: dict[str, Any]) -> str:
    rest = " ".join(f"{name}={value}" for name, value in told.items() if name not in ("ts", "level", "event", "audit"))
    return speakable(f"{told['ts']} {told['audit']}  {rest}")


def _say(told: dict[str, Any]) -> None:
    _write(redacted(_render(told)) + "\n")


_waiting: list[Callable[[], str]] = []
"""The lines of this turn of the event loop. Each is a call to the system; together they are one."""


def _say_soon(line: Callable[[], str], *, now: bool) -> None:
    """At the end of this turn of the event loop, with its other lines; at once, with them, where there is none or `now`."""
    _waiting.append(line)
    if len(_waiting) == 1 and not now:
        try:
            asyncio.get_running_loop().call_soon(_say_waiting)
        except RuntimeError:
            now = True
    if now:
        _say_waiting()


@atexit.register
def _say_waiting() -> None:
    if _waiting:
        lines = "".join([line() for line in _waiting])
        _waiting.clear()
        _write(lines)


def _write(line: str) -> None:
    # Whoever read this may have gone, or the disk that it goes to be full: the request that is told of goes on.
    with suppress(OSError, ValueError):
        sys.stderr.write(line)


_second: tuple[int, str] = (0, "")


def _now() -> str:
    return _moment(time.time())


def _moment(at: float) -> str:
    global _second
    whole = int(at)
    if _second[0] != whole:
        _second = (whole, datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S"))
    return f"{_second[1]}.{int((at - whole) * 1000):03d}Z"


# ------------------------------------------------------------------ the story


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
                f"{client}: {detail['method']} answered in {detail['ms']} ms",
            )
        case "call.missed_scope":
            what = "needs more"
            rest = f"{client or f'{actor} with an API key'}: {detail['scopes']} for {detail['what']}"
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
