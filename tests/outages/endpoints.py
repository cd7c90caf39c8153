"""What each endpoint says while its database cannot do its work, and afterwards."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx2

from tests.outages.load import CALLBACK, CHALLENGE, PING, Connection, Load
from tests.serving import Server

PATIENCE = 20.0
"""Seconds within which every request is answered, whatever the database does."""


@dataclass(frozen=True)
class Asker:
    """Somebody with a key and a connection from before the trouble."""

    url: str
    api_key: str
    held: Connection

    def ask(self, method: str, path: str, **sent: object) -> httpx2.Response:
        """The answer, which must come in time."""
        began = time.monotonic()
        answer = httpx2.request(method, self.url + path, timeout=60, **sent)  # type: ignore[arg-type]
        took = time.monotonic() - began
        assert took < PATIENCE, f"{method} {path} took {took:.1f} s"
        return answer

    def writes(self) -> dict[str, httpx2.Response]:
        """Every endpoint that has to write, asked by programs."""
        client = {"client_id": self.held.client_id}
        request = {**client, "response_type": "code", "redirect_uri": CALLBACK, "code_challenge": CHALLENGE}
        request |= {"code_challenge_method": "S256"}
        key = {"X-Api-Key": self.api_key}
        return {
            "/register": self.ask("POST", "/register", json={"redirect_uris": [CALLBACK]}),
            "/par": self.ask("POST", "/par", data=request),
            "/token": self.ask(
                "POST", "/token", data={**client, "grant_type": "refresh_token", "refresh_token": self.held.refresh}
            ),
            "/revoke": self.ask("POST", "/revoke", data={**client, "token": self.held.access}),
            "/api/v1/auth/otp": self.ask("POST", "/api/v1/auth/otp", headers=key),
        }

    def assert_nobody_can_write(self) -> None:
        for path, answer in self.writes().items():
            assert answer.status_code == 503, f"{path}: {answer.status_code} {answer.text}"
            assert answer.headers["content-type"] == "application/json", path
            assert int(answer.headers["retry-after"]) > 0, path
            error = answer.json()["error"]
            assert (error["code"] if isinstance(error, dict) else error) == "temporarily_unavailable", path
        begun = self.ask(
            "GET",
            "/authorize",
            params={
                "client_id": self.held.client_id,
                "response_type": "code",
                "redirect_uri": CALLBACK,
                "code_challenge": CHALLENGE,
                "code_challenge_method": "S256",
                "state": "st",
            },
        )
        # Where the client is known, it is told; else the person sees a page.
        assert begun.status_code in (302, 503), begun.text
        if begun.status_code == 302:
            assert "error=temporarily_unavailable" in begun.headers["location"]
        else:
            assert begun.headers["content-type"].startswith("text/html"), begun.headers
            assert "retry-after" in begun.headers
        ready = self.ask("GET", "/health/ready")
        assert ready.status_code == 503
        assert ready.json()["status"] == "unavailable"

    def assert_reading_goes_on(self) -> None:
        bearer = {"Authorization": f"Bearer {self.held.access}", "Accept": "application/json, text/event-stream"}
        assert self.ask("POST", "/mcp", headers=bearer, json=PING).status_code == 200
        assert self.ask("GET", "/api/v1/whoami", headers={"X-Api-Key": self.api_key}).status_code == 200
        self.assert_alive()

    def assert_alive(self) -> None:
        assert self.ask("GET", "/health/live").status_code == 200
        assert self.ask("GET", "/.well-known/oauth-authorization-server").status_code == 200

    def assert_all_is_well(self, *, seconds: float = 20) -> None:
        """Within so many seconds, on every thread, and with the token from before: nobody was logged out."""
        expected = {"/register": 201, "/par": 201, "/token": 200, "/revoke": 200, "/api/v1/auth/otp": 200}
        deadline, in_a_row = time.monotonic() + seconds, 0
        while in_a_row < 4:
            statuses = {path: answer.status_code for path, answer in self.writes().items()}
            well = statuses == expected and self.ask("GET", "/health/ready").status_code == 200
            in_a_row = in_a_row + 1 if well else 0
            assert time.monotonic() < deadline, f"it does not recover: {statuses}"


def asker(server: Server) -> Asker:
    with Load(server.url, server.operator_api_key, people=1) as load:
        load.waits_for(1)
    assert not load.surprises, load.surprises
    held = load.connections[0]
    assert not held.revoked
    return Asker(server.url, server.operator_api_key, held)


def longest_of_many(url: str, many: int) -> float:
    """So many want to write at once, more than there are threads; the seconds of whoever waited longest for the 503."""

    def ask(_: int) -> float:
        began = time.monotonic()
        answer = httpx2.post(f"{url}/register", json={"redirect_uris": [CALLBACK]}, timeout=120)
        assert answer.status_code == 503, answer.text
        assert answer.headers["retry-after"]
        return time.monotonic() - began

    with ThreadPoolExecutor(many) as askers:
        return max(askers.map(ask, range(many)))
