"""Text that a stranger wrote, made fit to stand on a page beside our own words.

Escaping is the template's task. This is about what escaping leaves: text that turns the reading direction,
hides itself, climbs over its neighbours or does not end.
"""

import unicodedata
from collections.abc import Iterator

MOST_MARKS = 2

_REMOVED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
# Letters and marks by category, nothing to the eye: Unicode's default ignorables that are not in _REMOVED.
_INVISIBLE = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0"
    + "".join(map(chr, range(0xFE00, 0xFE10)))
    + "".join(map(chr, range(0xE0100, 0xE01F0)))
)
_BLANK_SIGNS = frozenset("\u2800\U0001d159")


def clean(text: str, limit: int = 60) -> str:
    """Any text in; one line out that shows all that it is, in NFC, at most `limit` characters (1 or more)."""
    if text.isascii() and text.isprintable():
        calm = " ".join(text.split())  # what the rest comes to where nothing hides and nothing has marks
    else:
        visible = "".join(_visible(text))
        calm = "".join(_calm(unicodedata.normalize("NFC", visible)))
    return calm if len(calm) <= limit else calm[: limit - 1].rstrip() + "…"


def _visible(text: str) -> Iterator[str]:
    """Without what has no shape of its own; every white space a plain one."""
    for character in text:
        if character.isspace() or character in _BLANK_SIGNS:
            yield " "
        elif unicodedata.category(character) not in _REMOVED and character not in _INVISIBLE:
            yield character


def _calm(text: str) -> Iterator[str]:
    """Single spaces between words, at most MOST_MARKS marks on a character, none without a character."""
    begun = gap = False
    marks = 0
    for character in text:
        if character == " ":
            gap = True
        elif unicodedata.category(character).startswith("M"):
            marks += 1
            if begun and not gap and marks <= MOST_MARKS:
                yield character
        else:
            if begun and gap:
                yield " "
            yield character
            begun, gap, marks = True, False, 0
