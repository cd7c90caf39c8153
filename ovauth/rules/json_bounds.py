"""Bounds for JSON that a stranger sent, checked before anyone looks for meaning in it.

What passes can be stored in either database and written as JSON again.
"""

import math
import re
from typing import Final

DEEPEST = 8
MOST_VALUES = 1000
LONGEST_STRING = 8192
LARGEST_NUMBER = 2**63
# PostgreSQL stores no NUL, and half a surrogate pair has no UTF-8.
_UNSPEAKABLE: Final = re.compile("[\0\ud800-\udfff]")


def why_not_bounded(value: object) -> str | None:
    """What `json.loads` made in; why it is too much, as a phrase fit for an answer, or None."""
    level: list[object] = [value]
    seen = 0
    for _depth in range(DEEPEST + 1):
        seen += len(level)
        if seen > MOST_VALUES:
            return f"it must not have more than {MOST_VALUES} values"
        following: list[object] = []
        for each in level:
            if isinstance(each, str):
                if len(each) > LONGEST_STRING:
                    return f"no string may be longer than {LONGEST_STRING} characters"
                if _UNSPEAKABLE.search(each):
                    return "no string may contain NUL or half of a surrogate pair"
            elif isinstance(each, dict):
                following += each
                following += each.values()
            elif isinstance(each, list):
                following += each
            elif fault := _why_not_plain(each):
                return fault
        level = following
        if not level:
            return None
    return f"it must not be nested deeper than {DEEPEST} levels"


def _why_not_plain(value: object) -> str | None:
    if isinstance(value, float):
        return None if math.isfinite(value) else "numbers must be finite"
    if isinstance(value, int):
        return None if abs(value) <= LARGEST_NUMBER else "a number is too large"
    return None if value is None else "it must be JSON"
