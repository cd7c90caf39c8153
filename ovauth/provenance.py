"""Where the request that is being served came from, and who turned out to be behind it.

A leaf. The serving process makes one `Provenance` for each request; whoever recognises the caller notes it there, and both
the request's log line and its audit events read it. Outside of a request there is `NOWHERE`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum


class Actor(StrEnum):
    """Through what somebody acted."""

    SESSION = "session"
    API_KEY = "api_key"
    ONE_TIME_PASSWORD = "otp"
    CLIENT = "client"
    BROWSER = "browser"
    OPERATOR = "operator"
    SYSTEM = "system"


@dataclass(slots=True)
class Provenance:
    """`actor` is a person's sign-in name, `account/name`, as soon as one is recognised, and `kind` is by what; for an
    operator's command it is the user of the operating system. `route` is the template of the path, never the path."""

    ip: str = ""
    request_id: str = ""
    user_agent: str = ""
    kind: str = ""
    actor: str = ""
    client_id: str = ""
    route: str = ""


NOWHERE = Provenance()
_current: ContextVar[Provenance] = ContextVar("provenance", default=NOWHERE)
current = _current.get


@contextmanager
def serving(source: Provenance) -> Iterator[None]:
    """What happens inside comes from there."""
    token = _current.set(source)
    try:
        yield
    finally:
        _current.reset(token)


def client(client_id: str) -> None:
    """Notes which client proved itself; it acts for nobody yet. Nothing outside of a request."""
    source = current()
    if source is not NOWHERE:
        source.client_id = client_id


def recognised(kind: Actor, actor: str, client_id: str = "") -> None:
    """Notes who is behind the request that is being served; nothing outside of one."""
    source = current()
    if source is not NOWHERE:
        source.kind, source.actor, source.client_id = kind, actor, client_id or source.client_id
