"""A real Chromium, the apps that send people to us, and what the console of the browser complains of."""

import base64
import hashlib
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

VERIFIER = "a-verifier-that-is-long-enough-for-rfc-7636-section-4-1"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP app.example 127.0.0.1",  # the hosted app of the tests, which is here
]


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


class Complaints(list[str]):
    """Everything that the console of a browser calls an error: a blocked script or form, an exception."""

    def of(self, context: BrowserContext) -> "Complaints":
        context.on("console", lambda message: self._heard(message.type, message.text))
        context.on("weberror", lambda fault: self.append(str(fault.error)))
        return self

    def _heard(self, kind: str, text: str) -> None:
        # A status of 400 or 410 and a scheme that nothing here opens are what the tests ask for.
        if kind == "error" and not text.startswith(("Failed to load resource", "Not allowed to launch")):
            self.append(text)


class App:
    """A client that registered itself, from wherever it says."""

    def __init__(self, origin: str, name: str, redirect_uri: str) -> None:
        self.origin, self.redirect_uri = origin, redirect_uri
        document = {"client_name": name, "redirect_uris": [redirect_uri], "token_endpoint_auth_method": "none"}
        answer = httpx2.post(f"{origin}/register", json=document)
        assert answer.status_code == 201, answer.text
        self.client_id = answer.json()["client_id"]

    def url(self, **changes: str) -> str:
        """Where the app sends a browser."""
        asked = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "state": "the-state",
        }
        return f"{self.origin}/authorize?{urlencode(asked | changes)}"

    def redeems(self, code: str) -> bool:
        return self._exchange(code).status_code == 200

    def redeem(self, code: str) -> str:
        """The access token for the code."""
        return str(self._exchange(code).raise_for_status().json()["access_token"])

    def _exchange(self, code: str) -> httpx2.Response:
        form = {
            "grant_type": "authorization_code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "code": code,
            "code_verifier": VERIFIER,
        }
        return httpx2.post(f"{self.origin}/token", data=form)


class Listener:
    """The web server of a native app on loopback: keeps what the browser brings."""

    def __init__(self) -> None:
        kept: list[dict[str, str]] = []
        arrived = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                if parts.path in ("/callback", "/hop"):
                    kept.append(parameters(self.path) | {"referer": self.headers.get("Referer", "")})
                    arrived.set()
                if parts.path == "/hop":
                    self.send_response(307)
                    self.send_header("Location", "claude://callback")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(b"<!doctype html><title>app</title><h1>Back in the app</h1>")

            def log_message(self, *_: Any) -> None:
                pass

        self.received, self.arrived = kept, arrived
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def parameters(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def sign_in(page: Page, origin: str, name: str, password: str) -> None:
    page.goto(f"{origin}/console/login")
    page.fill("[name=username]", name)
    page.fill("[name=password]", password)
    page.click("main button")
    page.wait_for_url("**/console/")
