"""Where a browser may be sent with somebody's code (RFC 9700 §2.1, RFC 8252 §7).

URIs are compared as the strings that they are. What is taken apart here is taken apart to refuse it, to
name it to a person, or for the one exception: the port of a native app's listener on loopback.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from os.path import commonprefix
from typing import NamedTuple
from urllib.parse import urlencode

from ovauth.rules import web_address
from ovauth.rules.origin import is_loopback_host

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)")
_PRIVATE_USE = re.compile(r"(?://(?P<authority>[^/?]*))?(?P<rest>.*)")
_APP_AUTHORITY = re.compile(r"[A-Za-z0-9._~-]*(?::[0-9]{1,5})?")
_LOOPBACK = re.compile(r"(http)://(127\.0\.0\.1|\[::1\]|localhost)(?::[0-9]+)?((?:[/?].*)?)", re.ASCII | re.IGNORECASE)

# fmt: off
_NOT_AN_APP = frozenset({
    "javascript", "jscript", "livescript", "mocha", "vbscript", "vbs", "data", "about", "blob",
    "filesystem", "view-source", "wyciwyg", "cid", "mid", "file", "content", "res", "resource",
    "jar", "mhtml", "mk", "its", "help", "hcp", "shell", "search", "search-ms", "smb", "nfs",
    "afp", "unix", "vscode-file", "vscode-resource", "vscode-webview", "ws", "wss", "ftp",
    "ftps", "sftp", "tftp", "gopher", "dict", "finger", "telnet", "tn3270", "rlogin", "ssh",
    "scp", "rsync", "git", "svn", "cvs", "ldap", "ldaps", "ldapi", "imap", "imaps", "pop",
    "pop3", "nntp", "news", "snews", "irc", "ircs", "irc6", "rtsp", "rtsps", "rtmp", "mms",
    "rdp", "vnc", "dav", "davs", "webdav", "webcal", "feed", "pcast", "dns", "magnet", "ed2k",
    "urn", "tag", "info", "acct", "did", "ipfs", "ipns", "mailto", "message", "tel",
    "telprompt", "callto", "sms", "smsto", "mmsto", "sip", "sips", "xmpp", "facetime",
    "facetime-audio", "geo", "maps", "intent", "market", "googlechrome", "googlechromes",
    "firefox", "opera", "opera-http", "opera-https", "edge", "brave", "vivaldi", "devtools",
    "isolated-app", "uuid-in-package", "safari-extension", "safari-web-extension", "extension",
    "applescript", "prefs", "app-prefs", "x-help-action", "x-help-script", "x-man-page",
    "x-terminal", "macappstore", "localhost",
})
# fmt: on
# web+… and ext+… belong to whichever web site or extension registered itself as their handler.
_NOT_AN_APP_PREFIXES = (
    "android-",
    "chrome",
    "ext+",
    "itms",
    "microsoft-edge",
    "moz-",
    "ms-",
    "web+",
    "x-apple",
)


class _Judged(NamedTuple):
    """What is known of a URI. A fault, or an http(s) address, or neither: then its scheme is an app's."""

    fault: str | None = None
    address: web_address.WebAddress | None = None
    is_loopback: bool = False


def why_not_registrable(uri: str) -> str | None:
    """Why no client may have this redirect URI, as a phrase fit for an answer; None when one may.

    Acceptable are https, http on loopback in the three spellings of RFC 8252 §7.3 and §8.3, and private-use
    schemes of native apps (§7.1). The phrase never repeats the URI.
    """
    return _judged(uri).fault


def _judged(uri: str) -> _Judged:
    # What is too long is not worth being remembered.
    return _judge(uri) if len(uri) <= web_address.LONGEST else _Judged(web_address.why_not_characters(uri))


@lru_cache(500)
def _judge(uri: str) -> _Judged:
    """All that is ever asked of a URI, found out once: one request asks six times."""
    if fault := web_address.why_not_characters(uri):
        return _Judged(fault)
    if "#" in uri:
        return _Judged("it must not contain a fragment")
    if "*" in uri:
        return _Judged("it must not contain a wildcard")
    named = _SCHEME.fullmatch(uri)
    if named is None:
        return _Judged("it must be an absolute URI")
    scheme, rest = named[1].lower(), named[2]
    if scheme in ("http", "https"):
        return _judge_web(uri)
    return _Judged(_why_not_private_use(scheme, rest))


def matches(asked: str, registered: Iterable[str]) -> bool:
    """Whether `asked` is one of the registered redirect URIs, character by character.

    On loopback over http the port may differ: a native app listens where the system lets it (RFC 8252
    §7.3). What could not be registered today never matches, even when an older rule let it in.
    """
    if why_not_registrable(asked) is not None:
        return False
    known = tuple(registered)
    if asked in known:
        return True
    listener = _without_port(asked)
    return listener is not None and any(_without_port(uri) == listener for uri in known)


def parted(asked: str, registered: Iterable[str]) -> tuple[tuple[str, str], list[tuple[str, str]]]:
    """Where they part, for whoever looks for the difference: each URI cut in two behind the last character that it shares
    with the one that was asked for; that one is cut behind the most that it shares with any."""
    shared = [(uri, len(commonprefix((asked, uri)))) for uri in registered]
    most = max((length for _, length in shared), default=0)
    return (asked[:most], asked[most:]), [(uri[:length], uri[length:]) for uri, length in shared]


def difference(asked: str, registered: Iterable[str]) -> str:
    """In which part the URI differs from the registered one that it shares most with, as a phrase for a developer."""
    nearest = max(registered, key=lambda uri: len(commonprefix((asked, uri))), default=None)
    if nearest is None:
        return "none is registered"
    one, other = _web(asked), _web(nearest)
    if one is None or other is None:
        return "it differs in the scheme" if asked.partition(":")[0] != nearest.partition(":")[0] else "it differs"
    for part in ("scheme", "host", "port"):
        if getattr(one, part) != getattr(other, part):
            return f"it differs in the {part}"
    return (
        "it differs in the path"
        if one.rest.partition("?")[0] != other.rest.partition("?")[0]
        else "it differs in the query"
    )


def is_loopback(uri: str) -> bool:
    """Whether the redirect ends at a program on the person's own computer, whichever program that is."""
    return _judged(uri).is_loopback


def is_private_use(uri: str) -> bool:
    """Whether it ends at whichever app claimed this scheme on the person's device (RFC 8252 §7.1)."""
    judged = _judged(uri)
    return judged.fault is None and judged.address is None


def destination(uri: str) -> str:
    """What a person should see first: the host, without the port on loopback, or an app's scheme.

    Nothing when the URI is not registrable: nobody is sent there, so there is no place to name.
    """
    judged = _judged(uri)
    if judged.fault is not None:
        return ""
    if judged.address is not None:
        return judged.address.host.lower() if judged.is_loopback else judged.address.authority
    scheme, _, rest = uri.partition(":")
    return f"{scheme.lower()}:{'//' if rest.startswith('//') else ''}"


def regardless_of_port(uri: str) -> str:
    """The same for every URI on loopback that differs in the port alone; all others as they are."""
    found = _LOOPBACK.fullmatch(uri)
    return uri if found is None else "{}://{}{}".format(*found.groups())


def origin(uri: str) -> str | None:
    """scheme://host[:port] of a registrable http(s) URI, in lower case, default port left out; else None."""
    address = _web(uri)
    return None if address is None else address.origin


def with_parameters(uri: str, parameters: Mapping[str, str]) -> str:
    """A registrable URI with these in its query, form-encoded; what was there stays (RFC 6749 §3.1.2)."""
    if not parameters:
        return uri
    if uri.endswith(("?", "&")):
        return uri + urlencode(parameters)
    return f"{uri}{'&' if '?' in uri else '?'}{urlencode(parameters)}"


def _judge_web(uri: str) -> _Judged:
    try:
        address = web_address.read(uri)
    except ValueError as fault:
        return _Judged(str(fault))
    if address.scheme.lower() == "http" and not _LOOPBACK.fullmatch(uri):
        return _Judged("http is for loopback only (127.0.0.1, [::1] or localhost), everything else needs https")
    return _Judged(None, address, is_loopback_host(address.host))


def _why_not_private_use(scheme: str, rest: str) -> str | None:
    # One letter is a drive to Windows.
    if len(scheme) == 1 or scheme in _NOT_AN_APP or scheme.startswith(_NOT_AN_APP_PREFIXES):
        return "its scheme does not belong to a native app"
    # localhost:8080/callback and example.com:443 are schemes by their grammar, and mistakes.
    if not rest.startswith("/"):
        return "its scheme must be followed by a slash"
    parts = _PRIVATE_USE.fullmatch(rest)
    if parts is None or "[" in rest or "]" in rest:
        return "square brackets must be percent-encoded"
    if "@" in (parts["authority"] or ""):
        return "it must not contain a user name or password"
    if not _APP_AUTHORITY.fullmatch(parts["authority"] or ""):
        return "its host is not valid"
    return None


def _without_port(uri: str) -> tuple[str, ...] | None:
    """Everything but the port of an http URI on loopback, as it was written; None for all others."""
    found = _LOOPBACK.fullmatch(uri)
    return None if found is None else found.groups()


def _web(uri: str) -> web_address.WebAddress | None:
    return _judged(uri).address
