"""A display code as one says it aloud, from one screen to another: “K as in Kilo” (the ICAO spelling alphabet)."""

from typing import Final

from django.utils.translation import gettext as _

_ALPHABET: Final = (
    "Alfa Bravo Charlie Delta Echo Foxtrot Golf Hotel Juliett Kilo Lima Mike November Papa Quebec Romeo Sierra Tango "
    "Uniform Victor Whiskey X-ray Yankee Zulu"
)
_WORDS: Final = {word[0].upper(): word for word in _ALPHABET.split()}
"""Of the letters that a code may have: no I and no O."""


def aloud(code: str) -> list[str]:
    """The letters and digits of the code, one after another; a hyphen is not said."""
    return [
        _("%(letter)s as in %(word)s") % {"letter": letter, "word": _WORDS[letter]} if letter in _WORDS else letter
        for letter in code
        if letter.isalnum()
    ]
