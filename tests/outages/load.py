"""People and apps who go on through every outage, and remember what they were told.

Each of them lives lives of connections: asks for access, is approved, redeems, refreshes, sometimes revokes. Where no
answer comes, or 503, they ask again, as clients do. `verify` holds the server to what it acknowledged.
"""

import base64
import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2

CALLBACK = "http://127.0.0.1:33418/callback"
VERIFIER = "a-verifier-that-is-long-enough-for-rfc-7636-section-4-1"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
LOST = 0
"""The status of a request that nobody answered."""


@dataclass
class Connection:
    """What a client was told of one connection. `spent` are refresh tokens with a successor that was used."""

    client_id: str
    code: str
    access: str = ""
    refresh: str = ""
    spent: list[str] = field(default_factory=list)
    revoked: bool = False
    doubtful: bool = False
    """It was about to be revoked when the outage came, and nobody said whether it was."""


class Load:
    """So many of them at once, against the server at `url`, until `stop`."""

    def __init__(self, url: str, api_key: str, *, people: int = 4) -> None:
        self.url, self.api_key = url, api_key
        self.connections: list[Connection] = []
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.surprises: list[str] = []
        self.longest = 0.0
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._live, daemon=True) for _ in range(people)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(60)

    def done(self) -> int:
        """How many connections were made so far."""
        return len(self.connections)

    def waits_for(self, more: int, *, seconds: float = 60) -> None:
        """Until so many more connections were made: the service is there."""
        wanted, deadline = self.done() + more, time.monotonic() + seconds
        while self.done() < wanted:
            assert time.monotonic() < deadline, f"no service for {seconds} s: {self.statuses}"
            assert not self.surprises, self.surprises
            time.sleep(0.02)

    # -------------------------------------------------------------- lives

    def _live(self) -> None:
        try:
            with httpx2.Client(base_url=self.url, timeout=30) as http:
                client_id = self._insist(http, 201, "POST", "/register", json={"redirect_uris": [CALLBACK]}).json()[
                    "client_id"
                ]
                number = 0
                while not self._stopped.is_set():
                    number += 1
                    self._connection(http, client_id, revokes=number % 3 == 0)
        except _Over:
            pass
        except Exception as error:
            self.surprises.append(repr(error))

    def _connection(self, http: httpx2.Client, client_id: str, *, revokes: bool) -> None:
        code = self._code(http, client_id)
        if code is None:
            return
        made = Connection(client_id, code)
        sent = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER, "redirect_uri": CALLBACK}
        answer, lost = self._ask(http, {200}, "POST", "/token", data={**sent, "client_id": client_id}, lost_gives={400})
        if answer.status_code != 200:
            assert lost  # it was redeemed, and the answer was lost: this client begins again
            return
        self._told(made, answer)
        self.connections.append(made)
        for _ in range(2):
            self._refresh(http, made)
        if revokes:
            made.doubtful = True
            self._insist(http, 200, "POST", "/revoke", data={"token": made.refresh, "client_id": client_id})
            made.revoked, made.doubtful = True, False

    def _code(self, http: httpx2.Client, client_id: str) -> str | None:
        query = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": CALLBACK,
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
        page = CALLBACK
        while page.startswith(CALLBACK):  # the client is told that it cannot be done now, and asks again
            page = self._insist(http, 302, "GET", "/authorize", params=query).headers["location"]
            assert not page.startswith(CALLBACK) or "error=temporarily_unavailable" in page, page
            if self._stopped.is_set():
                raise _Over
        pending = parse_qs(urlsplit(page).query)["pending"][0]
        key = {"X-Api-Key": self.api_key}
        decision = {"pending_id": pending, "decision": "approve"}
        self._ask(http, {200}, "POST", "/api/v1/auth/oauth-verify", headers=key, json=decision, lost_gives={409})
        status = self._insist(http, 200, "GET", "/oauth/authorize/page/status", params={"pending": pending}).json()
        return parse_qs(urlsplit(status["redirect_url"]).query)["code"][0]

    def _refresh(self, http: httpx2.Client, held: Connection) -> None:
        sent = {"grant_type": "refresh_token", "refresh_token": held.refresh, "client_id": held.client_id}
        answer = self._insist(http, 200, "POST", "/token", data=sent)  # nobody is logged out by an outage
        if held.spent or held.refresh:
            held.spent.append(held.refresh)
        self._told(held, answer)

    @staticmethod
    def _told(held: Connection, answer: httpx2.Response) -> None:
        tokens = answer.json()
        held.access, held.refresh = tokens["access_token"], tokens["refresh_token"]

    # -------------------------------------------------------------- asking until there is an answer

    def _insist(self, http: httpx2.Client, status: int, method: str, path: str, **sent: Any) -> httpx2.Response:
        return self._ask(http, {status}, method, path, **sent)[0]

    def _ask(
        self,
        http: httpx2.Client,
        wanted: set[int],
        method: str,
        path: str,
        *,
        lost_gives: set[int] = frozenset(),
        **sent: Any,  # type: ignore[assignment]
    ) -> tuple[httpx2.Response, bool]:
        """The answer, and whether an earlier one may have been lost; then `lost_gives` may come as well."""
        lost = False
        while True:
            status, answer = self._once(http, method, path, **sent)
            if answer is not None and status in (wanted | lost_gives if lost else wanted):
                return answer, lost
            if status not in (LOST, 503):
                raise AssertionError(f"{method} {path}: {status} {answer.text[:300] if answer is not None else ''}")
            if self._stopped.is_set():
                raise _Over
            lost = True
            time.sleep(0.1)

    def _once(self, http: httpx2.Client, method: str, path: str, **sent: Any) -> tuple[int, httpx2.Response | None]:
        began = time.monotonic()
        try:
            answer = http.request(method, path, **sent)
        except httpx2.TransportError:
            self.statuses[path, LOST] += 1
            return LOST, None
        self.longest = max(self.longest, time.monotonic() - began)
        self.statuses[path, answer.status_code] += 1
        if answer.status_code == 503:
            in_shape = path == "/authorize" or answer.headers.get("content-type") == "application/json"
            assert in_shape, f"{path}: {answer.headers} {answer.text[:200]}"
            assert "retry-after" in answer.headers, f"{path}: {answer.headers}"
        return answer.status_code, answer

    # -------------------------------------------------------------- afterwards

    def verify(self) -> None:
        """What was acknowledged holds, what was consumed is consumed, what was revoked is dead. Spends all connections."""
        assert not self.surprises, self.surprises
        assert [one for one in self.connections if one.spent], "nobody got anywhere"
        with httpx2.Client(base_url=self.url, timeout=30) as http:
            for held in self.connections:
                if held.doubtful:
                    continue
                works = self._opens(http, held.access)
                assert works != held.revoked, held
                assert self._grants(http, held, refresh_token=held.refresh) != held.revoked, held
                # the code, and what was refreshed twice ago: both are spent, and using them ends the connection
                assert not self._grants(http, held, code=held.code, code_verifier=VERIFIER, redirect_uri=CALLBACK), held
                for spent in held.spent[:1]:
                    assert not self._grants(http, held, refresh_token=spent), held
                assert not self._opens(http, held.access), held

    def _opens(self, http: httpx2.Client, token: str) -> bool:
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"}
        status = http.post("/mcp", json=PING, headers=headers).status_code
        assert status in (200, 202, 400, 401), status
        return status != 401

    def _grants(self, http: httpx2.Client, held: Connection, **sent: str) -> bool:
        kind = "authorization_code" if "code" in sent else "refresh_token"
        answer = http.post("/token", data={"grant_type": kind, "client_id": held.client_id, **sent})
        assert answer.status_code in (200, 400), answer.text
        return answer.status_code == 200


class _Over(Exception):
    """The load was stopped while an answer was still awaited."""


def seconds(action: Callable[[], object]) -> float:
    """How long it took."""
    began = time.monotonic()
    action()
    return time.monotonic() - began
