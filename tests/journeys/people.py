"""Who takes part in a journey: the official MCP client, the browser that it opens, and a person who decides."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

CALLBACK = "http://127.0.0.1:33418/callback"
Decide = Callable[["Browser"], None]


class Browser:
    """A browser without a screen: it keeps cookies and follows redirects, but never to the client."""

    def __init__(self, origin: str) -> None:
        self.http = httpx2.Client(base_url=origin, follow_redirects=False, timeout=20)
        self.page: httpx2.Response | None = None

    def open(self, url: str) -> httpx2.Response:
        """Opens a URL and follows redirects within this origin; what leaves it is left alone."""
        response = self.http.get(url)
        while response.is_redirect and response.headers["location"].startswith(("/", str(self.http.base_url))):
            response = self.http.get(response.headers["location"])
        self.page = response
        return response

    @property
    def text(self) -> str:
        assert self.page is not None
        return self.page.text

    @property
    def pending_id(self) -> str:
        assert self.page is not None
        return parse_qs(urlsplit(str(self.page.request.url)).query)["pending"][0]

    @property
    def code(self) -> str:
        """The display code, as a person reads it off the page."""
        letters = re.sub(r"<[^>]*>|\s", "", self.text)
        found = re.search(r"[A-HJ-NP-Z2-9]{3}-?[A-HJ-NP-Z2-9]{3}", letters)
        labelled = re.search(r'data-code="([^"]+)"', self.text)
        assert labelled or found, self.text
        return labelled[1] if labelled else found[0]  # type: ignore[index]

    def status(self) -> httpx2.Response:
        return self.http.get("/oauth/authorize/page/status", params={"pending": self.pending_id})

    def result(self) -> dict[str, str]:
        """The parameters that the page carries to the client."""
        answer = self.status().json()
        return {name: values[0] for name, values in parse_qs(urlsplit(answer["redirect_url"]).query).items()}


class Person:
    """Somebody with an API key, who confirms what a browser shows."""

    def __init__(self, origin: str, api_key: str) -> None:
        self.http = httpx2.Client(base_url=origin, headers={"Authorization": f"Bearer {api_key}"}, timeout=20)

    def decide(self, code: str, decision: str = "approve") -> httpx2.Response:
        return self.http.post("/api/v1/auth/oauth-verify", json={"code": code, "decision": decision})

    def approve(self, browser: Browser) -> None:
        answer = self.decide(browser.code)
        assert answer.status_code == 200, f"{browser.code}: {answer.text}"

    def deny(self, browser: Browser) -> None:
        assert self.decide(browser.code, "deny").status_code == 200


@dataclass
class Storage:
    """Where the official client keeps its tokens."""

    tokens: OAuthToken | None = None
    client_info: OAuthClientInformationFull | None = None
    stored: list[OAuthToken] = field(default_factory=list)

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens
        self.stored.append(tokens)

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client_info

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client_info = client_info


@dataclass
class Recorder:
    """Every request of the client and its answer, without bodies: `401 POST /mcp`."""

    lines: list[str] = field(default_factory=list)
    responses: list[httpx2.Response] = field(default_factory=list)

    async def __call__(self, response: httpx2.Response) -> None:
        self.lines.append(f"{response.status_code} {response.request.method} {response.request.url.path}")
        self.responses.append(response)


class OfficialClient:
    """The client of the `mcp` package with its OAuth provider, over real HTTP."""

    def __init__(
        self, origin: str, decide: Decide, *, storage: Storage | None = None, mode: Any = "auto", **metadata: Any
    ) -> None:
        self.url = f"{origin}/mcp"
        self.mode = mode
        self.storage = storage or Storage()
        self.recorder = Recorder()
        self.browser = Browser(origin)
        described: dict[str, Any] = {"client_name": "Journey", "redirect_uris": [AnyUrl(CALLBACK)]} | metadata

        async def redirect(url: str) -> None:
            self.browser.open(url)
            decide(self.browser)

        async def callback() -> AuthorizationCodeResult:
            result = self.browser.result()
            return AuthorizationCodeResult(code=result.get("code", ""), state=result.get("state"), iss=result.get("iss"))

        self.provider = OAuthClientProvider(self.url, OAuthClientMetadata(**described), self.storage, redirect, callback)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Client]:
        hooks: dict[str, list[Callable[..., Awaitable[None]]]] = {"response": [self.recorder]}
        async with httpx2.AsyncClient(auth=self.provider, event_hooks=hooks, timeout=20) as http:
            transport = streamable_http_client(self.url, http_client=http)
            async with Client(transport, mode=self.mode) as client:
                yield client
