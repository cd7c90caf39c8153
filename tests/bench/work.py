"""What is asked of a server, one class for each endpoint. The same for every contender, as far as it has the endpoint."""

import base64
import hashlib
import itertools
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlencode

from tests.bench.load import Wrong

VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
LOOK_INTO_EVERY = 100
PER_ADDRESS = 90
"""So many requests come from one address, which keeps below the limits that are counted by address."""
CALL = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}).encode()
REGISTRATION = json.dumps(
    {
        "client_name": "Bench",
        "redirect_uris": ["http://localhost:8123/callback"],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    }
).encode()

Headers = dict[str, str]


def request(method: str, path: str, headers: Headers | None = None, body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1:1933", "user-agent: bench"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body or method == "POST":
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def form(path: str, fields: dict[str, str], headers: Headers | None = None) -> bytes:
    sent = {"content-type": "application/x-www-form-urlencoded", **(headers or {})}
    return request("POST", path, sent, urlencode(fields).encode())


def expect(condition: bool, status: int, body: bytes) -> None:
    if not condition:
        raise Wrong(f"{status} {body[:300].decode(errors='replace')}")


def addresses() -> Iterator[str]:
    """Of the network that is set aside for benchmarks (RFC 2544), each for a while."""
    while True:
        number = random.randrange(2**17)
        yield from itertools.repeat(f"198.{18 + (number >> 16)}.{number >> 8 & 255}.{number & 255}", PER_ADDRESS)


class Same:
    """One request after the other out of a list, again and again."""

    requests_in_one = 1

    def __init__(
        self, requests: Sequence[bytes], *, status: int = 200, holds: Callable[[dict[str, Any]], object] = bool
    ) -> None:
        self.requests = itertools.cycle(requests)
        self.status, self.holds, self.count = status, holds, 0

    def next(self, lane: int) -> bytes | None:
        return next(self.requests)

    def answered(self, lane: int, status: int, head: bytes, body: bytes) -> None:
        self.count += 1
        if status != self.status or (self.count % LOOK_INTO_EVERY == 1 and not self.holds(json.loads(body))):
            expect(False, status, body)


class Registration:
    requests_in_one = 1

    def __init__(self, path: str) -> None:
        self.path, self.addresses, self.count = path, addresses(), 0

    def next(self, lane: int) -> bytes | None:
        headers = {"content-type": "application/json", "x-forwarded-for": next(self.addresses)}
        return request("POST", self.path, headers, REGISTRATION)

    def answered(self, lane: int, status: int, head: bytes, body: bytes) -> None:
        self.count += 1
        expect(status == 201, status, body)
        if self.count % LOOK_INTO_EVERY == 1:
            expect(bool(json.loads(body)["client_id"]), status, body)


class Code:
    """Codes that were made beforehand (code, client, redirect URI), each redeemed once."""

    requests_in_one = 1

    def __init__(self, path: str, codes: Sequence[Sequence[str]], *, resource: str | None) -> None:
        more = {"resource": resource} if resource else {}
        self.requests = iter(
            [
                form(
                    path,
                    {
                        "grant_type": "authorization_code",
                        "code": code,
                        "client_id": client_id,
                        "redirect_uri": redirect_uri,
                        "code_verifier": VERIFIER,
                        **more,
                    },
                )
                for code, client_id, redirect_uri in codes
            ]
        )
        self.count = 0

    def next(self, lane: int) -> bytes | None:
        return next(self.requests, None)

    def answered(self, lane: int, status: int, head: bytes, body: bytes) -> None:
        self.count += 1
        expect(status == 200, status, body)
        if self.count % LOOK_INTO_EVERY == 1:
            told = json.loads(body)
            expect(bool(told["access_token"] and told["refresh_token"]), status, body)


class Refresh:
    """One chain for each connection: what an answer brought is what the next request uses."""

    requests_in_one = 1

    def __init__(self, path: str, tokens: Sequence[Sequence[str]], *, resource: str | None) -> None:
        self.path, self.more = path, {"resource": resource} if resource else {}
        self.tokens = [token for token, _ in tokens]
        self.clients = [client for _, client in tokens]

    def next(self, lane: int) -> bytes | None:
        fields = {"grant_type": "refresh_token", "refresh_token": self.tokens[lane], "client_id": self.clients[lane]}
        return form(self.path, fields | self.more)

    def answered(self, lane: int, status: int, head: bytes, body: bytes) -> None:
        expect(status == 200, status, body)
        token = json.loads(body)["refresh_token"]
        expect(token != self.tokens[lane], status, body)
        self.tokens[lane] = token


def bearer(path: str, tokens: Sequence[str]) -> Same:
    requests = [
        request("POST", path, {"authorization": f"Bearer {token}", "content-type": "application/json"}, CALL)
        for token in tokens
    ]
    return Same(requests, holds=lambda told: "result" in told)


def introspection(path: str, tokens: Sequence[str], *, client_id: str, client_secret: str) -> Same:
    basic = base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()
    requests = [form(path, {"token": token}, {"authorization": f"Basic {basic}"}) for token in tokens]
    return Same(requests, holds=lambda told: told["active"] is True)


def discovery(path: str) -> Same:
    return Same([request("GET", path)], holds=lambda told: told["issuer"] and told["token_endpoint"])


def constant(path: str) -> Same:
    return Same([request("GET", path)], holds=lambda told: told["active"])


class PageFlow:
    """What a browser and a person with an API key do: /authorize → page → status → approve → status with the code."""

    requests_in_one = 5
    COOKIE = re.compile(rb"\r\nset-cookie: *([^;\r]+)", re.IGNORECASE)
    LOCATION = re.compile(rb"\r\nlocation: *([^\r]+)", re.IGNORECASE)

    def __init__(self, *, client_id: str, redirect_uri: str, api_key: str, resource: str) -> None:
        query = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": redirect_uri,
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "state": "bench",
            "resource": resource,
        }
        self.authorize = f"/authorize?{urlencode(query)}"
        self.key = {"authorization": f"Bearer {api_key}", "content-type": "application/json"}
        self.step: dict[int, int] = {}
        self.browser: dict[int, Headers] = {}
        self.pending: dict[int, str] = {}
        self.addresses = addresses()

    def next(self, lane: int) -> bytes | None:
        step = self.step.setdefault(lane, 0)
        match step:
            case 0:
                return request("GET", self.authorize, {"x-forwarded-for": next(self.addresses)})
            case 1:
                return request("GET", f"/oauth/authorize/page?pending={self.pending[lane]}", self.browser[lane])
            case 3:
                decision = {"pending_id": self.pending[lane], "decision": "approve"}
                return request("POST", "/api/v1/auth/oauth-verify", self.key, json.dumps(decision).encode())
            case _:
                return request("GET", f"/oauth/authorize/page/status?pending={self.pending[lane]}", self.browser[lane])

    def answered(self, lane: int, status: int, head: bytes, body: bytes) -> None:
        step = self.step[lane]
        match step:
            case 0:
                cookies, location = self.COOKIE.findall(head), self.LOCATION.search(head)
                if status != 302 or location is None:
                    raise Wrong(f"{status} {body[:300].decode(errors='replace')}")
                self.pending[lane] = location[1].decode().partition("pending=")[2]
                self.browser[lane] = {"cookie": b"; ".join(cookies).decode()}
            case 1:
                expect(status == 200 and b"</html>" in body, status, body)
            case 2:
                expect(status == 200 and json.loads(body)["status"] == "pending", status, body)
            case 3:
                expect(status == 200, status, body)
            case _:
                expect(status == 200 and "code=" in json.loads(body)["redirect_url"], status, body)
        self.step[lane] = (step + 1) % self.requests_in_one
