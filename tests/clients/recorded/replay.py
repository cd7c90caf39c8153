"""One client's requests, in its order and its spelling, sent to a real server.

A `Recording` holds what is particular to a client; `Replay` sends it and asserts nothing but that it gets on. What an
answer must have is asserted in `test_recorded` and `test_quirks`.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2

from tests.serving import Server

PUBLIC: Final = "https://ov.example.com"
"""The origin that a hosted client sees: a proxy on the server's machine says so."""
VERIFIER: Final = "N0~.recorded-_verifier~that.is-long_enough-0123456789"
CHALLENGE: Final = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
STATE: Final = "ey/lnTwSm9FUcQN/Qds+8w=="
"""VS Code's states are base64 with all of its characters."""
ACCEPT: Final = "application/json, text/event-stream"


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What is known of a client. `{issuer}` stands for the origin that it was given, in every string."""

    sources: tuple[str, ...]
    hosted: bool = False
    """Whether it calls from the internet, and so sees the public address."""
    url: str = "{issuer}/mcp"
    first: tuple[str, ...] = ("POST",)
    """Methods of the requests without a token, before it begins."""
    protocol: str | None = "2025-11-25"
    """MCP-Protocol-Version, where it sends one."""
    user_agent: str = "node"
    origin: str | None = None
    """The Origin of a client that is a web page."""
    discovery: tuple[tuple[str, int], ...] = (
        ("/.well-known/oauth-protected-resource/mcp", 200),
        ("/.well-known/oauth-authorization-server", 200),
    )
    registration: Mapping[str, Any]
    answered_method: str = "none"
    """The token_endpoint_auth_method that it wants to read in the answer to its registration."""
    authorize: Mapping[str, str] = field(default_factory=dict)
    """What it sends beside response_type, client_id, redirect_uri, state and the challenge."""
    redirect_uri: str
    authenticates: str = "none"
    """How it really says who it is at the token endpoint: none, basic, post, or basic-without-secret."""
    token: Mapping[str, str] = field(default_factory=dict)
    """What it sends beside grant_type, code and code_verifier."""
    refresh: Mapping[str, str] = field(default_factory=dict)
    granted: str = "mcp"


class Replay:
    """One run of a recording, step by step; each step may be taken with changes."""

    def __init__(self, recording: Recording, server: Server) -> None:
        self.recording = recording
        self.origin = PUBLIC if recording.hosted else server.url
        self.api_key = server.operator_api_key
        headers = {"user-agent": recording.user_agent}
        if recording.hosted:
            address = urlsplit(PUBLIC)
            headers |= {"x-forwarded-proto": address.scheme, "x-forwarded-host": address.netloc}
            headers |= {"x-forwarded-for": "160.79.104.10"}
        if recording.origin:
            headers["origin"] = recording.origin
        if recording.protocol:
            headers["mcp-protocol-version"] = recording.protocol
        self.http = httpx2.Client(base_url=server.url, headers=headers, follow_redirects=False, timeout=20)
        self.client: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}

    def filled(self, text: str) -> str:
        return text.replace("{issuer}", self.origin)

    # ------------------------------------------------------------------ the steps

    def knock(self, method: str = "POST", *, token: str | None = None, path: str | None = None) -> httpx2.Response:
        """A request to the MCP server: `initialize`, or the opening of a stream."""
        headers = {"accept": ACCEPT} | ({"authorization": f"Bearer {token}"} if token else {})
        path = urlsplit(self.filled(self.recording.url)).path if path is None else path
        if method != "POST":
            return self.http.request(method, path, headers=headers | {"accept": "text/event-stream"})
        about = {
            "protocolVersion": self.recording.protocol or "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "recorded", "version": "1"},
        }
        body = {"method": "initialize", "params": about, "jsonrpc": "2.0", "id": 0}
        return self.http.post(path, json=body, headers=headers)

    def discover(self) -> dict[str, httpx2.Response]:
        """The answers to its discovery requests, by path, in its order."""
        found = {path: self.http.get(path) for path, _ in self.recording.discovery}
        for answer in found.values():
            if answer.status_code == 200 and "token_endpoint" in answer.json():
                self.metadata = answer.json()
        return found

    def register(self, **changes: Any) -> httpx2.Response:
        document = json.loads(self.filled(json.dumps({**self.recording.registration, **changes})))
        answer = self.http.post("/register", json=document)
        if answer.status_code == 201:
            self.client = answer.json()
        return answer

    def authorize(self, **changes: str | None) -> httpx2.Response:
        """The request that its browser makes; a change to None leaves the parameter out."""
        sent: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.client["client_id"],
            "redirect_uri": self.filled(self.recording.redirect_uri),
            "state": STATE,
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            **{name: self.filled(value) for name, value in self.recording.authorize.items()},
            **changes,
        }
        return self.http.get(f"/authorize?{urlencode({name: value for name, value in sent.items() if value is not None})}")

    def approved(self, begun: httpx2.Response, *, api_key: str | None = None) -> dict[str, str]:
        """What comes back at its redirect URI, after somebody approved; `redirect_to` is the URL before the query."""
        assert begun.status_code == 302, begun.text
        pending = parse_qs(urlsplit(begun.headers["location"]).query).get("pending")
        assert pending, begun.headers["location"]
        decided = self.http.post(
            "/api/v1/auth/oauth-verify",
            json={"pending_id": pending[0], "decision": "approve"},
            headers={"authorization": f"Bearer {api_key or self.api_key}"},
        )
        assert decided.status_code == 200, decided.text
        cookie = re.match(r"[^;]+", begun.headers["set-cookie"])
        assert cookie is not None
        answer = self.http.get(
            f"/oauth/authorize/page/status?{urlencode({'pending': pending[0]})}", headers={"cookie": cookie[0]}
        ).json()
        to, _, query = answer["redirect_url"].partition("?")
        return {"redirect_to": to} | {name: values[0] for name, values in parse_qs(query).items()}

    def redeem(self, code: str, *, authenticates: str | None = None, **changes: str | None) -> httpx2.Response:
        sent = {
            "grant_type": "authorization_code",
            "code": code,
            "code_verifier": VERIFIER,
            **self.recording.token,
            **changes,
        }
        return self._token(sent, authenticates)

    def refresh(self, refresh_token: str, *, authenticates: str | None = None, **changes: str | None) -> httpx2.Response:
        sent = {"grant_type": "refresh_token", "refresh_token": refresh_token, **self.recording.refresh, **changes}
        return self._token(sent, authenticates)

    def _token(self, sent: Mapping[str, str | None], authenticates: str | None) -> httpx2.Response:
        fields = {name: self.filled(value) for name, value in sent.items() if value is not None}
        headers = {"accept": "application/json"}
        client_id, secret = self.client["client_id"], self.client.get("client_secret", "")
        match authenticates or self.recording.authenticates:
            case "none":
                fields |= {"client_id": client_id}
            case "post":
                fields |= {"client_id": client_id, "client_secret": secret}
            case "basic":
                headers["authorization"] = f"Basic {base64.b64encode(f'{client_id}:{secret}'.encode()).decode()}"
            case "basic-without-secret":
                headers["authorization"] = f"Basic {base64.b64encode(f'{client_id}:'.encode()).decode()}"
        return self.http.post("/token", data=fields, headers=headers)

    # ------------------------------------------------------------------ several steps at once

    def connected(self, *, api_key: str | None = None) -> dict[str, Any]:
        """Registers, authorizes, redeems: the token answer."""
        assert self.register().status_code == 201
        answer = self.redeem(self.approved(self.authorize(), api_key=api_key)["code"])
        assert answer.status_code == 200, answer.text
        return dict(answer.json())
