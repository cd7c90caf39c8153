"""What the MCP server that is served offers, as far as it can be told before it runs. A leaf.

Who loads the server (`ovauth.resource`) writes it, at the start of each process and whenever an upstream's tools change;
pages read it without asking anybody. Names are as the server has them: hostile text until they are cleaned.
"""

import re
from collections.abc import Iterable, Sized
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True)
class Tool:
    """`changes_things`: a call may change or delete something. `scopes` are those that `ovauth.requires` guards it with."""

    name: str
    title: str
    changes_things: bool
    scopes: tuple[str, ...] = ()


class Oddity(StrEnum):
    """What its operator would want to know of a server that is served all the same."""

    NO_NAME = "no-name"
    WANTS_A_KEY = "wants-a-key"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Served:
    """The MCP server by the name that its operator knows, and by what it calls itself, empty where nobody gave it a name.

    `tools` is None when they cannot be told (yet).
    """

    name: str
    tools: tuple[Tool, ...] | None
    odd: frozenset[Oddity] = frozenset()
    own_name: str = ""


def told(tool: Any, scopes: tuple[str, ...] = ()) -> Tool:
    """One of a server's own objects, as pages know it. Without annotations a tool may change things: so says MCP."""
    hints = tool.annotations
    looks = hints is not None and (hints.read_only_hint is True or hints.destructive_hint is False)
    title = tool.title or (hints.title if hints is not None else None) or ""
    return Tool(str(tool.name), str(title), not looks, scopes)


def counted(tools: Sized) -> str:
    """`1 tool`, `3 tools`."""
    return f"{len(tools)} tool{'' if len(tools) == 1 else 's'}"


_served: Served | None = None


def announce(name: str, tools: Iterable[Tool] | None, odd: Iterable[Oddity] = (), own_name: str = "") -> None:
    """From now on this process serves that server, instead of what was announced before."""
    global _served  # noqa: PLW0603 one process, one server
    _served = Served(name, None if tools is None else tuple(tools), frozenset(odd), own_name)


def oddities_of(name: str | None) -> frozenset[Oddity]:
    """What is odd about a server that calls itself so: apps show people that name, and nobody gave it one."""
    return frozenset() if _is_given(name) else frozenset({Oddity.NO_NAME})


def called(title: str | None, name: str | None) -> str:
    """What a server calls itself, by the two names that MCP knows, the one for people first; empty for a made-up one."""
    return next((given for given in (title, name) if given is not None and _is_given(given)), "")


def _is_given(name: str | None) -> bool:
    return name is not None and bool(name.strip()) and not _MADE_UP.fullmatch(name)


_MADE_UP = re.compile(r"mcp-server|FastMCP(-[0-9a-f]{4})?")
"""What the mcp package and fastmcp call a server that was made without a name."""


def served() -> Served | None:
    """What this process serves at `/mcp`; None in a process that serves nothing."""
    return _served
