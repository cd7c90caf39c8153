"""What the MCP server that is served offers, as far as it can be told before it runs. A leaf.

Who loads the server (`ovauth.resource.loading`) writes it once, at the start of each process; pages read it without
asking anybody. Names are as the server has them: hostile text until they are cleaned.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tool:
    """`changes_things`: a call may change or delete something. `scopes` are those that `ovauth.requires` guards it with."""

    name: str
    title: str
    changes_things: bool
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Served:
    """The MCP server by the name that its operator knows. `tools` is None when they cannot be told before it runs."""

    name: str
    tools: tuple[Tool, ...] | None


_served: Served | None = None


def announce(name: str, tools: Iterable[Tool] | None) -> None:
    """From now on this process serves that server, instead of what was announced before."""
    global _served  # noqa: PLW0603 one process, one server
    _served = Served(name, None if tools is None else tuple(tools))


def served() -> Served | None:
    """What this process serves at `/mcp`; None in a process that serves nothing."""
    return _served
