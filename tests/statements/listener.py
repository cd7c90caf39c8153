"""A life on a database of one's own, every statement of it heard: `python -m tests.statements.listener`.

With DATABASE_URL, or SQLite in the data folder. The whole serving process is asked over ASGI, and what it asks the database
is written down, with its parameters in it; then the database is asked how it would find each of that. On standard output:
`{"engine": …, "heard": {step: [statement, …]}, "pages": {step: count}, "plans": {statement: [line, …]}}`.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
django.setup()

from anyio.from_thread import start_blocking_portal
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from ovauth import bearer, threads
from ovauth.flows import clients, garbage
from ovauth.models import AccessToken, Client, PendingAuthorization, RefreshToken
from ovauth.roles import Role
from ovauth.web import discovery
from tests.conftest import CALLBACK, CHALLENGE, VERIFIER, person
from tests.web.asking import Answer, InTheTestsThread, Site

WANTED = {
    "response_type": "code",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
    "state": "st",
}
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
LOG_HEADER, PAGE_HEADER, PAGE = 32, 24, 4096
PLANNED = re.compile(r"\s*(SELECT|UPDATE|DELETE|INSERT)\b", re.IGNORECASE)


class Listener:
    """Hears what this thread asks its database."""

    def __init__(self) -> None:
        self.heard: dict[str, list[str]] = {}
        self.pages: dict[str, int] = {}
        self.step = ""

    def note(self, statement: str) -> None:
        if self.step:
            self.heard[self.step].append(" ".join(statement.split()))

    @contextmanager
    def hears(self, step: str) -> Iterator[None]:
        self.heard[step] = []
        self.step = step
        try:
            yield
        finally:
            self.step = ""

    def listen(self) -> None:
        """SQLite tells of every statement itself. Of PostgreSQL's those are heard that pass through Django's cursor, so not
        BEGIN and COMMIT."""
        connection.ensure_connection()
        if connection.vendor == "sqlite":
            connection.connection.set_trace_callback(self.note)
            return
        connection.execute_wrappers.append(self._by_django)

    def begin_a_log(self) -> None:
        """All that was written goes from SQLite's log into its database, and the log begins anew."""
        if connection.vendor == "sqlite":
            connection.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def pages_in_the_log(self) -> int:
        """How many pages were committed since: https://www.sqlite.org/fileformat2.html#the_write_ahead_log."""
        if connection.vendor != "sqlite":
            return 0
        written = Path(f"{connection.settings_dict['NAME']}-wal").stat().st_size
        return max(written - LOG_HEADER, 0) // (PAGE_HEADER + PAGE)

    def _by_django(self, execute: Callable[..., Any], text: str, parameters: Any, many: bool, context: Any) -> Any:
        self.note(connection.connection.cursor().mogrify(text, parameters))
        return execute(text, parameters, many, context)


class Life:
    """Every endpoint of the request path, asked once."""

    def __init__(self, site: Site, listener: Listener) -> None:
        self.site, self.listener = site, listener
        self.alice = person("acme", "alice", Role.ADMIN)
        self.made = clients.make(name="Made", redirect_uris=[CALLBACK], token_endpoint_auth_method="client_secret_post")

    def once(self, step: str, method: str, path: str, *, status: int = 200, **sent: Any) -> Answer:
        self.listener.begin_a_log()
        with self.listener.hears(step):
            answer: Answer = getattr(self.site, method)(path, **sent)
        self.listener.pages[step] = self.listener.pages_in_the_log()
        assert answer.status == status, (step, answer)
        return answer

    def live(self) -> None:
        self.once("discovery", "get", "/.well-known/oauth-authorization-server")
        app = self.register(CALLBACK)
        pair = self.connect(app)
        refreshing = {"grant_type": "refresh_token", "client_id": app["client_id"], "refresh_token": pair["refresh_token"]}
        following = self.once("refresh", "post_form", "/token", fields=refreshing).json()
        self.once("refresh, asked again", "post_form", "/token", fields=refreshing)
        self.use(following["access_token"])
        self.push()
        self.show_on_a_device()
        ending = {"client_id": app["client_id"], "token": following["refresh_token"]}
        self.once("revocation", "post_form", "/revoke", fields=ending)
        self.once("client, read", "get", f"/register/{app['client_id']}", key=app["registration_access_token"])
        self.once("whoami", "get", "/api/v1/whoami", key=self.alice.api_key)

    def register(self, *redirect_uris: str, **more: Any) -> Any:
        document = {"client_name": "An app", "redirect_uris": redirect_uris, "token_endpoint_auth_method": "none", **more}
        return self.once("registration", "post_json", "/register", document=document, status=201).json()

    def connect(self, app: Any) -> Any:
        """The tokens of an app that is approved on its way."""
        wanted = {"client_id": app["client_id"], "redirect_uri": CALLBACK, **WANTED}
        sent = self.once("authorize", "get", "/authorize", query=wanted, status=302)
        pending = parse_qs(urlsplit(sent.headers["location"]).query)["pending"][0]
        cookie = sent.cookies["ovauth_browser"].partition(";")[0]
        asked: Any = {"query": {"pending": pending}, "headers": {"cookie": f"ovauth_browser={cookie}"}}
        self.once("code page", "get", "/oauth/authorize/page", **asked)
        self.once("status, waiting", "get", "/oauth/authorize/page/status", **asked)
        decision = {"pending_id": pending, "decision": "approve"}
        self.once("approve", "post_json", "/api/v1/auth/oauth-verify", document=decision, key=self.alice.api_key)
        told = self.once("status, approved", "get", "/oauth/authorize/page/status", **asked).json()
        redemption = {
            "grant_type": "authorization_code",
            "code": parse_qs(urlsplit(told["redirect_url"]).query)["code"][0],
            "client_id": app["client_id"],
            "redirect_uri": CALLBACK,
            "code_verifier": VERIFIER,
        }
        return self.once("code → token", "post_form", "/token", fields=redemption).json()

    def use(self, access_token: str) -> None:
        secret = {"client_id": self.made.client_id, "client_secret": self.made.client_secret}
        self.once("introspection", "post_form", "/introspect", fields=secret | {"token": access_token})
        for step, held in (
            ("bearer, first call", access_token),
            ("bearer", access_token),
            ("API key", self.alice.api_key),
        ):
            with self.listener.hears(step):
                bearer.identify(held, resource="http://testserver/mcp")

    def push(self) -> None:
        secret = {"client_id": self.made.client_id, "client_secret": self.made.client_secret}
        self.once("pushed request", "post_form", "/par", fields=WANTED | {"redirect_uri": CALLBACK} | secret, status=201)

    def show_on_a_device(self) -> None:
        tv = self.register(grant_types=[DEVICE])
        begun = self.once("device", "post_form", "/device_authorization", fields={"client_id": tv["client_id"]}).json()
        poll = {"grant_type": DEVICE, "client_id": tv["client_id"], "device_code": begun["device_code"]}
        self.once("device, poll", "post_form", "/token", fields=poll, status=400)


def collect(listener: Listener) -> None:
    """Everything has expired, and goes."""
    past = timezone.now() - timedelta(days=200)
    for model in (AccessToken, RefreshToken, PendingAuthorization):
        model.objects.update(expires_at=past)
    Client.objects.update(last_used_at=past, created_at=past)
    with listener.hears("garbage"):
        garbage.collect()


def plans(listener: Listener) -> dict[str, list[str]]:
    """How the database would find the rows of each statement."""
    prefix = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
    found: dict[str, list[str]] = {}
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # Of small tables it would read the whole, rightly. Where it still does, there is no other way.
            cursor.execute("SET enable_seqscan = off")
        for statement in {each for heard in listener.heard.values() for each in heard}:
            if PLANNED.match(statement):
                cursor.execute(f"{prefix} {statement.replace('%', '%%')}")
                found[statement] = [str(row[-1]) for row in cursor.fetchall()]
    return found


def main() -> None:
    call_command("migrate", verbosity=0)
    runner = InTheTestsThread()
    threads.pages = threads.others = threads.protocol = runner  # type: ignore[assignment]
    bearer.Glance.identify = lambda *_, **__: None  # type: ignore[method-assign]
    discovery.LOOK_AGAIN = 0  # type: ignore[misc]
    from project.asgi import application

    listener = Listener()
    listener.listen()
    with start_blocking_portal() as portal:
        life = Life(Site(application, portal, runner), listener)
        for _ in range(2):  # the first one warms what is kept
            life.live()
    collect(listener)
    told = {
        "engine": connection.vendor,
        "heard": listener.heard,
        "pages": listener.pages,
        "plans": plans(listener),
    }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
