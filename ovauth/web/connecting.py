"""How each app is told of this server: what to click, what to copy, and which apps cannot reach it.

Formats: cursor.com/docs/mcp/install-links (`config` is Base64 of the entry of mcp.json), code.visualstudio.com's URL
handler `vscode:mcp/install?` (percent-encoded JSON), `claude mcp add` and the Inspector's own help.
"""

import base64
import json
import shlex
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from ovauth.rules import origin

NAME: Final = "ovauth"
"""What the server is called in the settings of apps, as `serve` says it too."""


@dataclass(frozen=True, slots=True)
class Way:
    """One app: what to do in it, what to copy, and a link that does it in one click where there is one.

    `from_the_internet`: the app's own servers call, so the address has to be public.
    """

    app: str
    how: str | Promise
    copied: str
    link: str = ""
    link_words: str | Promise = ""
    from_the_internet: bool = False


def is_public(mcp_url: str) -> bool:
    """Whether an app that calls from the internet could use this address, as far as the address tells."""
    parts = urlsplit(mcp_url)
    return parts.scheme == "https" and not origin.is_loopback_host(parts.netloc)


def ways(mcp_url: str) -> tuple[Way, ...]:
    """The apps that most people have, in the order of the page."""
    entry = {"type": "http", "url": mcp_url}
    named = _compact({"name": NAME, **entry})
    config = base64.b64encode(_compact({"url": mcp_url}).encode()).decode()
    return (
        Way(
            "Claude",
            _("Settings → Connectors → Add custom connector. Paste this address:"),
            mcp_url,
            from_the_internet=True,
        ),
        Way(
            "Claude Code",
            _("Run this in a terminal. Then type /mcp in Claude Code and choose Authenticate."),
            f"claude mcp add --transport http {NAME} {shlex.quote(mcp_url)}",
        ),
        Way(
            "Cursor",
            _("One click, or by hand in ~/.cursor/mcp.json:"),
            _compact({"mcpServers": {NAME: {"url": mcp_url}}}),
            link=f"cursor://anysphere.cursor-deeplink/mcp/install?name={NAME}&config={quote(config, safe='')}",
            link_words=_("Add to Cursor"),
        ),
        Way(
            "VS Code",
            _("One click, or in a terminal:"),
            f"code --add-mcp {shlex.quote(named)}",
            link=f"vscode:mcp/install?{quote(named, safe='')}",
            link_words=_("Add to VS Code"),
        ),
        Way(
            "ChatGPT",
            _("Settings → Apps → Advanced settings: turn on Developer mode. Then Create app with OAuth and this address:"),
            mcp_url,
            from_the_internet=True,
        ),
        Way(
            "Inspector",
            _("Run this in a terminal. It needs Node.js 22, and opens a page in the browser."),
            f"npx @modelcontextprotocol/inspector@latest --transport http --server-url {shlex.quote(mcp_url)}",
        ),
        Way(
            "curl",
            _("With an API key instead of a sign-in. Put yours in the place of ovk_…"),
            f"curl {shlex.quote(mcp_url)} -H 'Authorization: Bearer ovk_…' -H 'Content-Type: application/json' "
            "-H 'Accept: application/json, text/event-stream' "
            """-d '{"jsonrpc":"2.0","id":1,"method":"tools/list"}'""",
        ),
    )


def first_open(found: tuple[Way, ...], *, public: bool) -> str:
    """The app whose section is open at first: the first one that can work."""
    return next(way.app for way in found if public or not way.from_the_internet)


def _compact(document: object) -> str:
    return json.dumps(document, separators=(",", ":"))
