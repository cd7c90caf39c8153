"""Text in the columns of a terminal, where a Chinese character takes two, and a line may break before it."""

import re
import unicodedata
from typing import Final

_WIDE: Final = "\u3001-\u303f\u4e00-\u9fff\uff01-\uffe6"
_NEVER_LAST: Final = "（《「“"
_NEVER_FIRST: Final = "。，、；：）》」”！？…"
_PIECE: Final = re.compile(rf"\s+|[{_NEVER_LAST}]*(?:[{_WIDE}]|[^\s{_WIDE}]+)[{_NEVER_FIRST}]*")
"""White space, or what is not torn apart: a word or one wide character, with the marks that belong to it."""


def taken(text: str) -> int:
    """How many columns it takes."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def padded(text: str, columns: int) -> str:
    return text + " " * (columns - taken(text))


def wrapped(text: str, columns: int) -> list[str]:
    """In lines of at most so many columns. Only a word that is longer makes a longer one."""
    lines, line = [], ""
    for piece in _PIECE.findall(text):
        if line.strip() and taken((line + piece).rstrip()) > columns:
            lines.append(line.rstrip())
            line = ""
        if line or not piece.isspace():
            line += piece
    return [*lines, line.rstrip()] if line.strip() else lines
