"""What a User-Agent header says, in a few words. A hint for people, which proves nothing."""

import re
from functools import lru_cache
from typing import Final

# The more particular first: Edge and Opera call themselves Chrome too, and Chrome calls itself Safari.
_BROWSERS: Final = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)
_PROGRAM: Final = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,29}(?=[/ ]|$)")
LONGEST_READ: Final = 300


def name(user_agent: str) -> str:
    """“Chrome on Windows” out of a User-Agent header; empty for a program that is no browser."""
    browser = next((name for mark, name in _BROWSERS if mark in user_agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), "")
    return f"{browser} on {system}" if browser and system else browser


def family(user_agent: str) -> str:
    """The same, and for a program its own name without the version; at most 30 harmless characters."""
    return _family(user_agent[:LONGEST_READ])


@lru_cache(256)
def _family(user_agent: str) -> str:
    program = _PROGRAM.match(user_agent)
    return name(user_agent) or (program[0] if program else "")
