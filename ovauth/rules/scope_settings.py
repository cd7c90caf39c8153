"""The scopes of a server as its operator writes them: one in each line, its name, who may hold it, what people read.

    notes = read your notes
    notes:write (admin) = change your notes | 修改你的笔记

A semicolon does as well as a new line. Behind a bar stands the same in Chinese.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from ovauth.rules.scopes import ALWAYS_DROPPED

MOST: Final = 50
LONGEST_NAME: Final = 64
LONGEST_SENTENCE: Final = 120
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/*-]*")
_LINE = re.compile(r"(?P<name>[^\s=()]+)\s*(?:\(\s*(?P<role>[^()]*?)\s*\))?\s*=\s*(?P<said>.*)")


@dataclass(frozen=True, slots=True)
class Written:
    """One scope as it was written. `chinese` is empty where nothing stands behind a bar."""

    name: str
    role: str
    sentence: str
    chinese: str


def read(text: str, *, roles: Collection[str], lowest: str) -> tuple[Written, ...]:
    """The scopes in their order; `lowest` is the role of those that name none of `roles`.

    Raises ValueError with what to write instead.
    """
    found = tuple(_read(line.strip(), roles, lowest) for line in re.split(r"[;\n]", text) if line.strip())
    if not 1 <= len(found) <= MOST:
        raise ValueError(f"name 1 to {MOST} scopes, each as `name = sentence`")
    names = [scope.name for scope in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"the scope {twice} stands there twice")
    return found


def _read(line: str, roles: Collection[str], lowest: str) -> Written:
    parts = _LINE.fullmatch(line)
    if parts is None:
        raise ValueError(f"“{line[:LONGEST_NAME]}” is no scope; write `name = sentence` or `name (role) = sentence`")
    name, role = parts["name"], lowest if parts["role"] is None else parts["role"].lower()
    sentence, _, chinese = (part.strip() for part in parts["said"].partition("|"))
    if len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        raise ValueError(f"“{name[:LONGEST_NAME]}” is no name of a scope; use letters, digits and . _ : / * -")
    if name in ALWAYS_DROPPED:
        raise ValueError(f"{name} belongs to OpenID Connect, and clients ask for it out of habit; use another name")
    if role not in roles:
        raise ValueError(f"{name} names the role “{role}”; the roles are {', '.join(roles)}")
    if not sentence:
        raise ValueError(f"{name} needs a sentence that tells people what it allows, such as “read your notes”")
    if max(len(sentence), len(chinese)) > LONGEST_SENTENCE:
        raise ValueError(f"the sentence of {name} is longer than {LONGEST_SENTENCE} characters")
    return Written(name, role, sentence, chinese)


def read_defaults(text: str, *, known: Collection[str]) -> tuple[str, ...]:
    """The names, in the order of `known`. Raises ValueError for one that is not known."""
    named = [name for name in re.split(r"[\s,]+", text) if name]
    if stranger := next((name for name in named if name not in known), None):
        raise ValueError(f"{stranger} is no scope here; the scopes are {', '.join(known)}")
    if not named:
        raise ValueError(f"name at least one of {', '.join(known)}")
    return tuple(name for name in known if name in named)
