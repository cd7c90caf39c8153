"""Requests to the server that is examined: no redirect is followed, nothing goes anywhere else, every wait has an end."""

import ssl
import time
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2

from ovauth.doctor.faults import NoAnswer, found, shown
from ovauth.rules import web_address

TIMEOUT: Final = 10.0
"""Seconds that a connection, or the next byte of an answer, may take."""
PATIENCE: Final = 30.0
"""Seconds that a whole answer may take."""
LARGEST: Final = 1024 * 1024


class Target:
    """An address as people give it, and the requests to it.

    `base` is what the issuer has to be: `https://host[:port]`, with the path of an issuer that has one.
    """

    def __init__(self, url: str) -> None:
        """Takes the address of the server or of its MCP server. Raises ValueError with a phrase fit for an answer."""
        address = web_address.read(url)
        if "?" in address.rest or "#" in address.rest:
            raise ValueError("it must not contain a query or a fragment")
        self.origin = address.origin
        self.at = address.rest.rstrip("/").removesuffix("/mcp").rstrip("/")
        self.base = self.origin + self.at
        self.scheme = address.scheme.lower()
        self.host = address.host.lower().strip("[]")
        self.port = int(address.port or {"http": 80, "https": 443}[self.scheme])
        self.http: httpx2.Client = self.speaking()

    @property
    def mcp(self) -> str:
        return f"{self.base}/mcp"

    def speaking(self, context: ssl.SSLContext | None = None) -> httpx2.Client:
        """A client of its own for this server, straight to it, also where the environment names a proxy for others."""
        return httpx2.Client(
            base_url=self.origin,
            verify=context if context is not None else ssl.create_default_context(),
            follow_redirects=False,
            timeout=TIMEOUT,
            trust_env=False,
        )

    def believing(self, context: ssl.SSLContext) -> None:
        """From now on by this context."""
        self.http.close()
        self.http = self.speaking(context)

    def ask(self, method: str, url: str, **sent: Any) -> httpx2.Response:
        """The answer, of at most LARGEST bytes. `url` is a path below the origin. Raises NoAnswer."""
        self.http.cookies.clear()  # who wants to send one names it
        try:
            with self.http.stream(method, url, **sent) as answer:
                return self._read(method, answer)
        except httpx2.HTTPError as error:
            raise self.unanswered(method, url, error) from None

    def _read(self, method: str, answer: httpx2.Response) -> httpx2.Response:
        """A stream that was opened by GET has no end, so its beginning is all."""
        content, ends = bytearray(), time.monotonic() + PATIENCE
        if method != "GET" or media_type(answer) != "text/event-stream":
            for part in answer.iter_bytes():
                content += part
                if len(content) > LARGEST:
                    break
                if time.monotonic() > ends:
                    raise httpx2.ReadTimeout("it does not come to an end")
        plain = [pair for pair in answer.headers.multi_items() if pair[0].lower() != "content-encoding"]
        return httpx2.Response(answer.status_code, headers=plain, content=bytes(content), request=answer.request)

    def unanswered(self, method: str, url: str, error: httpx2.HTTPError) -> NoAnswer:
        what = named(method, url)
        match error:
            case httpx2.ConnectTimeout() | httpx2.ReadTimeout() | httpx2.WriteTimeout() | httpx2.PoolTimeout():
                return NoAnswer(found("timeout", what=what, seconds=f"{TIMEOUT:.0f}"))
            case _:
                return NoAnswer(found("cut-off", what=what, why=shown(str(error)) or type(error).__name__))

    def here(self, url: str) -> str:
        """The same path and query at the address that was given, whatever origin a document names."""
        parts = urlsplit(url)
        return parts.path + (f"?{parts.query}" if parts.query else "")


def named(method: str, url: str) -> str:
    """A request in words, without its query."""
    return f"{method} {shown(urlsplit(url).path)}"


def is_page(answer: httpx2.Response) -> bool:
    """Whether a person is answered, and no program."""
    return media_type(answer) in ("text/html", "application/xhtml+xml") or answer.text.lstrip()[:1] == "<"


def media_type(answer: httpx2.Response) -> str:
    return str(answer.headers.get("content-type", "")).partition(";")[0].strip().lower()


def document(answer: httpx2.Response) -> dict[str, Any] | None:
    """The JSON object in it, if there is one."""
    try:
        parsed = answer.json()
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None
