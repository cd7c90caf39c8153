"""What the doctor says: English, and able to be said in another language by whoever knows one.

A sentence keeps the template and the places that it was made of. The doctor knows no catalogue; the command that prints has
one. `_` marks a template for it, as it does everywhere.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Self


def gettext_noop(template: str) -> str:
    """The same: it tells makemessages that this is said to people."""
    return template


class Said(str):
    """The English sentence, with its template filled. A place may be something said as well, or what needs no translation:
    an address, a number, what a server said about itself."""

    template: str
    places: dict[str, str]

    def __new__(cls, template: str, /, **places: str) -> Self:
        said = super().__new__(cls, template.format_map(places))
        said.template, said.places = template, places
        return said


def told(text: str, translate: Callable[[str], str]) -> str:
    """The text in another language: `translate` knows templates. What is not Said stays as it is."""
    if not isinstance(text, Said):
        return text
    return translate(text.template).format_map({name: told(place, translate) for name, place in text.places.items()})


def listed(parts: Sequence[str]) -> str:
    """All of them, by commas."""
    return reduce(lambda one, more: Said(_("{one}, {more}"), one=one, more=more), parts) if parts else ""


_ = gettext_noop
