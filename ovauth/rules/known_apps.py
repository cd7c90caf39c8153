"""A name is a claim, a destination is a fact: does an app call itself by a name that belongs to another destination?

Well-known apps are recognised by their exact callback hosts and schemes. Letters that look alike are folded first, so that
“Сlaude” with a Cyrillic letter, “C1aude” and “CIaude” are the claim that they look like.
"""

import unicodedata
from typing import Final

from ovauth.rules import redirect_uris

_CLAUDE: Final = frozenset({"claude.ai", "claude.com", "claude://"})
_CHATGPT: Final = frozenset({"chatgpt.com", "chat.openai.com", "platform.openai.com"})
_CURSOR: Final = frozenset({"cursor.com", "www.cursor.com", "cursor://"})
_VS_CODE: Final = frozenset({"vscode.dev", "insiders.vscode.dev", "vscode://", "vscode-insiders://"})

DESTINATIONS: Final = {
    "Claude": _CLAUDE,
    "Anthropic": _CLAUDE,
    "ChatGPT": _CHATGPT,
    "OpenAI": _CHATGPT,
    "Cursor": _CURSOR,
    "Visual Studio Code": _VS_CODE,
    "VS Code": _VS_CODE,
}
"""Where each app really answers, as `redirect_uris.destination` spells it."""

_LOOKALIKES: Final = str.maketrans(
    "авеһіјкмнорсѕтухԁɡԛԝαβεικνορτυχγ01345!|ı",
    "abehijkmhopcstyxdgqwabeikvoptuxyoleasiii",
)


def folded(text: str) -> str:
    """The text as it looks at a glance: compatibility forms, accents, case and look-alike letters taken away."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    letters = "".join(character for character in plain if not unicodedata.combining(character))
    # a capital I, a small l and a one are one stroke to the eye
    alike = letters.translate(_LOOKALIKES).replace("l", "i")
    return "".join(character for character in alike if character.isalnum())


def claimed_app(name: str, redirect_uri: str) -> str | None:
    """The well-known app that `name` claims to be, if the redirect goes somewhere else; None where nothing disagrees.

    A loopback address belongs to no app, so it cannot disagree: the page says “an app on this computer” instead.
    """
    if redirect_uris.is_loopback(redirect_uri):
        return None
    destination = redirect_uris.destination(redirect_uri)
    claim = folded(name)
    claimed = [app for app in DESTINATIONS if folded(app) in claim]
    if not claimed or any(destination in DESTINATIONS[app] for app in claimed):
        return None
    return claimed[0]
