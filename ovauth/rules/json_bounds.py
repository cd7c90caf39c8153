"""Bounds for JSON that a stranger sent, checked before anyone looks for meaning in it.

What passes can be stored in either database and written as JSON again.
"""

import math

DEEPEST = 8
MOST_VALUES = 1000
LONGEST_STRING = 8192
LARGEST_NUMBER = 2**63


def why_not_bounded(value: object) -> str | None:
    """What `json.loads` made in; why it is too much, as a phrase fit for an answer, or None."""
    level: list[object] = [value]
    seen = 0
    for _depth in range(DEEPEST + 1):
        seen += len(level)
        if seen > MOST_VALUES:
            return f"it must not have more than {MOST_VALUES} values"
        for each in level:
            if fault := _why_not_single(each):
                return fault
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return None
    return f"it must not be nested deeper than {DEEPEST} levels"


def _inside(value: object) -> list[object]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return list(value) if isinstance(value, list) else []


def _why_not_single(value: object) -> str | None:
    if isinstance(value, str):
        if len(value) > LONGEST_STRING:
            return f"no string may be longer than {LONGEST_STRING} characters"
        # PostgreSQL stores no NUL, and half a surrogate pair has no UTF-8.
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            return "no string may contain NUL or half of a surrogate pair"
    elif isinstance(value, float):
        if not math.isfinite(value):
            return "numbers must be finite"
    elif isinstance(value, int):
        if abs(value) > LARGEST_NUMBER:
            return "a number is too large"
    elif value is not None and not isinstance(value, dict | list):
        return "it must be JSON"
    return None
