"""Every page in every state, and how a browser gets there: for the pictures, and for the tests of what holds everywhere."""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
from playwright.sync_api import Browser, BrowserContext, Page

from tests.browser.browsing import App
from tests.serving import Server

LOOPBACK = "http://127.0.0.1:9/callback"
PASSWORD = "mossy-lantern-4821-quartz"
Bring = Callable[[Page], object]


class Site:
    """A server with people and apps: an operator with connections, a member without, and somebody who guesses."""

    def __init__(self, server: Server) -> None:
        self.server, self.origin = server, server.url
        self.claude = App(self.origin, "Claude", "https://claude.ai/api/mcp/auth_callback")
        self.code = App(self.origin, "Claude Code", LOOPBACK)
        self.cursor = App(self.origin, "Cursor", "cursor://anysphere.cursor-mcp/oauth/callback")
        self.impostor = App(self.origin, "Claude", "https://evil.example/callback")
        self.notes = App(self.origin, "Notes", "https://notes.example/callback")
        self.blocked = App(self.origin, "Old notes", "https://old.example/callback")
        self.forgotten = App(self.origin, "Weather", "https://weather.example/callback")
        self.vouched = App(self.origin, "Journal", "https://journal.example/callback")
        self.greedy = App(self.origin, "Backup robot", "https://backup.example/callback")
        self.television = self._device("Television")
        self.keys = {"operator": server.operator_api_key, "carol": server.create_user("carol", role="admin")}
        for name, role in (("alice", "admin"), ("bob", "user"), ("dora", "user"), ("mallory", "user")):
            args = ("create_user", name, "--account", "default", "--role", role, "--password-stdin", "--json")
            self.keys[name] = json.loads(server.manage(*args, typed=PASSWORD))["api_key"]
        for app in (self.blocked, self.forgotten, self.claude, self.code, self.code):
            self.connect(app, server.operator_api_key)
        self.connect(self.notes, self.keys["carol"])
        self.connect(self.code, self.keys["dora"])
        self._grow_old()
        self.vouched.client_id = "https://journal.example/client.json"

    # -------------------------------------------------------------- people

    def cookies(self, browser: Browser, name: str, password: str = PASSWORD) -> Any:
        """The cookies of somebody who has signed in by the form."""
        with httpx2.Client(base_url=self.origin, follow_redirects=True) as client:
            token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', client.get("/console/login").text)
            assert token
            form = {"username": name, "password": password, "csrfmiddlewaretoken": token[1]}
            answer = client.post("/console/login", data=form, headers={"Origin": self.origin})
            assert answer.url.path == "/console/", answer.text
            return [
                {"name": cookie.name, "value": cookie.value or "", "domain": "127.0.0.1", "path": "/"}
                for cookie in client.cookies.jar
            ]

    def open(self, browser: Browser, who: str, **options: Any) -> BrowserContext:
        """A browser in which that person is signed in; nobody, when it is nobody. No other site is ever reached."""
        context = browser.new_context(**options)
        context.set_default_timeout(15_000)
        if who != "nobody":
            password = self.server.operator_password if who == "operator" else PASSWORD
            context.add_cookies(self.cookies(browser, who, password))
        away = re.compile(rf"^(https://|{re.escape(LOOPBACK)})")
        context.route(away, lambda route: route.abort("aborted"))  # the page stays as it was
        return context

    # -------------------------------------------------------------- pages

    def states(self) -> Iterator[tuple[str, str, Bring]]:
        """Who comes (nobody, operator, …), the name of the page and state, and how to bring a tab there. In this order."""
        for who, pages in (
            ("nobody", self._of_nobody()),
            ("operator", self._of_the_operator()),
            ("alice", self._of_alice()),
            ("bob", self._of_bob()),
            ("dora", self._of_dora()),
            ("mallory", self._of_a_guesser()),
        ):
            for name, bring in pages.items():
                yield who, name, bring

    def _of_nobody(self) -> dict[str, Bring]:
        return {
            "code": lambda page: page.goto(self.claude.url()),
            "code-folds-open": lambda page: self._unfolded(page, self.claude.url()),
            "code-loopback": lambda page: page.goto(self.code.url()),
            "code-other-browser": self._other_browser,
            "code-expired": self._expired,
            "one-time-password-wrong": lambda page: self._one_time_password(page, "WRONG23456"),
            "one-time-password-review": lambda page: self._one_time_password(page, self._fresh_one_time_password()),
            "hand-over-approved": lambda page: self._decided_elsewhere(page, self.claude, "approve"),
            "hand-over-approved-app": lambda page: self._decided_elsewhere(page, self.cursor, "approve"),
            "hand-over-approved-loopback": lambda page: self._decided_elsewhere(page, self.code, "approve"),
            "hand-over-denied": lambda page: self._decided_elsewhere(page, self.claude, "deny"),
            "hand-over-denied-app": lambda page: self._decided_elsewhere(page, self.cursor, "deny"),
            "sign-in": lambda page: page.goto(f"{self.origin}/console/login"),
            "sign-in-for-a-connection": self._to_sign_in,
            "sign-in-wrong": lambda page: self._sign_in(page, "alice", "wrong"),
            "sign-in-secret-wrong": self._wrong_secret,
            "sign-in-locked": self._locked,
            "error-link": lambda page: self._unfolded(page, self.claude.url(redirect_uri="https://claude.ai/other")),
            "error-not-found": lambda page: page.goto(f"{self.origin}/nothing"),
            "error-request": lambda page: page.goto(f"{self.origin}/oauth/authorize/page?pending=unknown"),
            "error-form": self._stale_form,
        }

    def _of_the_operator(self) -> dict[str, Bring]:
        at = self._at
        return {
            "console": at("/console/"),
            "review": lambda page: page.goto(self.notes.url()),
            "review-folds-open": lambda page: self._unfolded(page, self.notes.url(scope="mcp fs admin")),
            "review-already-connected": lambda page: page.goto(self.claude.url(scope="mcp fs")),
            "review-vouched-for": lambda page: page.goto(self.vouched.url()),
            "review-loopback": lambda page: page.goto(self.code.url()),
            "review-impostor": lambda page: page.goto(self.impostor.url()),
            "review-impostor-unticked": self._unticked,
            "review-other-network": self._other_network,
            "enter": at("/console/verify"),
            "enter-wrong": lambda page: self._entered(page, "ABC-DEF"),
            "enter-decided": self._entered_too_late,
            "enter-approved": self._entered_again,
            "review-by-code": lambda page: self._entered(page, self.code_of(self.claude)),
            "review-by-code-loopback": lambda page: self._entered(page, self.code_of(self.code)),
            "review-by-code-device": lambda page: self._entered(page, self._device_code()),
            "decided-approved": lambda page: self._answered(page, "approve"),
            "decided-denied": lambda page: self._answered(page, "deny"),
            "disconnected": self._disconnected,
            "attempts": at("/console/attempts"),
            "attempts-by-reference": self._looked_up,
            "keys": at("/console/keys"),
            "rotate": lambda page: self._pressed(page, "/console/keys"),
            "one-time-password": at("/console/otp"),
            "one-time-password-shown": lambda page: self._pressed(page, "/console/otp"),
            "members": at("/console/members"),
            "password": at("/console/password"),
            "password-wrong": self._wrong_password_change,
            "sign-out": at("/console/logout"),
            "admin": at("/admin/"),
            "admin-clients": at("/admin/ovauth/client/"),
            "admin-client": lambda page: self._first_row(page, "client"),
            "admin-client-add": at("/admin/ovauth/client/add/"),
            "admin-connections": at("/admin/ovauth/grant/"),
            "admin-connection": lambda page: self._first_row(page, "grant"),
            "admin-members": at("/admin/ovauth/member/"),
            "admin-member": lambda page: self._first_row(page, "member"),
            "admin-audit": at("/admin/ovauth/auditevent/"),
            "admin-audit-event": lambda page: self._first_row(page, "auditevent"),
            "admin-confirm": self._admin_confirm,
            "admin-find": at("/admin/find/"),
            "admin-found": self._admin_found,
            "admin-revoke-since": at("/admin/since/"),
            "admin-export": at("/admin/ovauth/auditevent/export/"),
        }

    def _of_alice(self) -> dict[str, Bring]:
        return {
            "console-empty": self._at("/console/"),
            "members-of-an-account": self._at("/console/members"),
            "error-role": self._at("/admin/"),
        }

    def _of_bob(self) -> dict[str, Bring]:
        return {
            "review-beyond-the-role": lambda page: page.goto(self.greedy.url(scope="admin")),
            "review-partly-beyond-the-role": lambda page: page.goto(self.greedy.url(scope="mcp admin")),
            "new-key": self._new_key,
            "review-blocked": self._blocked,
        }

    def _of_dora(self) -> dict[str, Bring]:
        return {"console-waiting": self._at("/console/")}

    def _of_a_guesser(self) -> dict[str, Bring]:
        return {"enter-too-many": self._too_many_codes}

    # -------------------------------------------------------------- how to get there

    def _at(self, path: str) -> Bring:
        return lambda page: page.goto(f"{self.origin}{path}")

    def _unfolded(self, page: Page, url: str) -> None:
        page.goto(url)
        for summary in page.query_selector_all("summary"):
            summary.click()

    def _pressed(self, page: Page, path: str) -> None:
        page.goto(f"{self.origin}{path}")
        before = page.inner_html("main")
        page.click("main .card form button")
        page.wait_for_function("before => document.querySelector('main')?.innerHTML !== before", arg=before)
        page.wait_for_load_state()

    def _database(self, *statements: tuple[str, tuple[str, ...]]) -> None:
        with closing(sqlite3.connect(self.server.data_dir / "ovauth.sqlite3", timeout=20)) as database, database:
            for statement in statements:
                database.execute(*statement)

    def _pending(self, page: Page, **changes: str) -> None:
        """Changes the row of the request that the tab shows: time passes, or another network asks."""
        pending_id = page.url.partition("pending=")[2]
        for column, value in changes.items():
            change = f"UPDATE ovauth_pendingauthorization SET {column} = ? WHERE public_id = ?"
            self._database((change, (value, pending_id)))

    def _grow_old(self) -> None:
        """Time passes over the operator's connections: some were used, one is forgotten, the app of one is blocked."""
        now = datetime.now(UTC).replace(tzinfo=None)
        agent = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 Chrome/156.0.0.0 Safari/537.36"
        of_app = "FROM ovauth_client WHERE client_id = ?"
        self._database(
            ("UPDATE ovauth_grant SET asked_by = ?", (agent,)),
            (
                f"UPDATE ovauth_grant SET created_at = ? WHERE client_id = (SELECT id {of_app})",
                (str(now - timedelta(days=40)), self.forgotten.client_id),
            ),
            (
                "UPDATE ovauth_grant SET created_at = ?, last_used_at = ?, last_used_ip = '198.51.100.7', "
                f"asked_from_ip = '198.51.100.7' WHERE client_id = (SELECT id {of_app})",
                (str(now - timedelta(days=3)), str(now - timedelta(minutes=12)), self.claude.client_id),
            ),
            (
                "UPDATE ovauth_client SET client_id = 'https://journal.example/client.json', origin = 'document', "
                "document_read_at = ?, document_due_at = ? WHERE client_id = ?",
                (str(now), str(now + timedelta(days=1)), self.vouched.client_id),
            ),
            ("UPDATE ovauth_client SET blocked_at = ? WHERE client_id = ?", (str(now), self.blocked.client_id)),
        )

    def _expired(self, page: Page) -> None:
        page.goto(self.claude.url())
        self._pending(page, expires_at=str(datetime.now(UTC).replace(tzinfo=None) - timedelta(minutes=1)))
        page.goto(page.url)

    def _other_network(self, page: Page) -> None:
        page.goto(self.claude.url())
        self._pending(page, ip="203.0.113.9")
        page.goto(page.url)

    def _other_browser(self, page: Page) -> None:
        assert page.context.browser
        with httpx2.Client() as other:
            page.goto(f"{self.origin}{other.get(self.claude.url()).headers['location']}")

    def _one_time_password(self, page: Page, typed: str) -> None:
        page.goto(self.claude.url())
        page.click("summary:has(~ form #otp)")
        page.fill("#otp", typed)
        page.click("[value=one-time-password]")
        page.wait_for_selector("#fault, [data-guard]")

    def _fresh_one_time_password(self) -> str:
        key = {"Authorization": f"Bearer {self.server.operator_api_key}"}
        return str(httpx2.post(f"{self.origin}/api/v1/auth/otp", headers=key).json()["otp"])

    def _decide(self, code: str | None, decision: str, key: str) -> None:
        sent = {"code": code, "decision": decision}
        answer = httpx2.post(
            f"{self.origin}/api/v1/auth/oauth-verify", json=sent, headers={"Authorization": f"Bearer {key}"}
        )
        assert answer.status_code == 200, answer.text

    def _decided_elsewhere(self, page: Page, app: App, decision: str) -> None:
        page.goto(app.url())
        self._decide(page.get_attribute("[data-code]", "data-code"), decision, self.server.operator_api_key)
        page.wait_for_selector("[data-hand-over]")

    def _to_sign_in(self, page: Page) -> None:
        page.goto(self.claude.url())
        page.click("a.primary")
        page.wait_for_selector("#id_username")

    def _sign_in(self, page: Page, name: str, password: str) -> None:
        page.goto(f"{self.origin}/console/login")
        page.fill("[name=username]", name)
        page.fill("[name=password]", password)
        page.click("main .card form button")
        page.wait_for_selector("#fault, .reference")

    def _locked(self, page: Page) -> None:
        for _ in range(9):
            self._sign_in(page, "nobody", "wrong")

    def _wrong_secret(self, page: Page) -> None:
        page.goto(f"{self.origin}/console/login")
        page.click("summary")
        page.fill("[name=secret]", "ABCDEFGH23")
        page.click("details button")
        page.wait_for_selector("#secret-fault")

    def _stale_form(self, page: Page) -> None:
        """A form whose cookie is gone."""
        page.goto(f"{self.origin}/console/login")
        kept = [cookie for cookie in page.context.cookies() if cookie["name"] != "csrftoken"]
        page.context.clear_cookies()
        page.context.add_cookies(kept)  # type: ignore[arg-type]
        page.fill("[name=username]", "alice")
        page.fill("[name=password]", "wrong")
        page.click("main .card form button")
        page.wait_for_selector(".reference")

    def _looked_up(self, page: Page) -> None:
        """Why it was refused, by the reference that the error page says."""
        page.goto(self.claude.url(redirect_uri="https://claude.ai/other"))
        page.click("a[href*='reference=']")
        page.wait_for_selector("#found")

    def code_of(self, app: App) -> str:
        with httpx2.Client(follow_redirects=True) as other:
            found = re.search(r'data-code="([^"]+)"', other.get(app.url()).text)
        assert found
        return found[1]

    def _entered(self, page: Page, code: str) -> None:
        page.goto(f"{self.origin}/console/verify")
        page.fill("[name=code]", code)
        page.click("main .card button")
        page.wait_for_selector("#fault, [data-guard], .reference")

    def _entered_too_late(self, page: Page) -> None:
        code = self.code_of(self.claude)
        self._decide(code, "deny", self.server.operator_api_key)
        self._entered(page, code)

    def _entered_again(self, page: Page) -> None:
        code = self.code_of(self.claude)
        self._decide(code, "approve", self.server.operator_api_key)
        self._entered(page, code)

    def _too_many_codes(self, page: Page) -> None:
        for _ in range(6):
            self._entered(page, "ABC-DEF")

    def _answered(self, page: Page, decision: str) -> None:
        self._entered(page, self.code_of(self.claude))
        page.click(f"[value={decision}]:enabled")
        page.wait_for_selector(".verdict")

    def _unticked(self, page: Page) -> None:
        page.goto(self.impostor.url())
        page.wait_for_selector("[data-guard]:enabled")
        page.evaluate("document.getElementById('decision').noValidate = true")
        page.click("[value=approve]")
        page.wait_for_selector("#fault")

    def _disconnected(self, page: Page) -> None:
        self.connect(self.notes, self.server.operator_api_key)
        page.goto(f"{self.origin}/console/")
        page.click(".connections form button")
        page.wait_for_selector(".note")

    def _new_key(self, page: Page) -> None:
        self._pressed(page, "/console/keys")
        page.click("main .card form button")
        page.wait_for_selector("[data-copy]")

    def _blocked(self, page: Page) -> None:
        page.goto(self.notes.url())
        page.click("[value=deny]")
        page.click("[value=block]")
        page.wait_for_selector(".warn[role=status]")
        page.goto(self.notes.url())

    def _wrong_password_change(self, page: Page) -> None:
        page.goto(f"{self.origin}/console/password")
        for name, typed in (("old_password", "wrong"), ("new_password1", "short"), ("new_password2", "other")):
            page.fill(f"[name={name}]", typed)
        page.click("main .card form button")
        page.wait_for_selector(".fault")

    def _first_row(self, page: Page, model: str) -> None:
        page.goto(f"{self.origin}/admin/ovauth/{model}/")
        page.click("#result_list tbody th a")
        page.wait_for_selector("#content form, #content .readonly")

    def _admin_confirm(self, page: Page) -> None:
        page.goto(f"{self.origin}/admin/ovauth/member/")
        page.check("#result_list tbody tr:first-child .action-select")
        page.select_option("[name=action]", index=1)
        page.click("#changelist-form [name=index]")
        page.wait_for_selector("[name=confirmed], .messagelist", state="attached")

    def _admin_found(self, page: Page) -> None:
        """An access token that somebody found in a log."""
        token = self.connect(self.cursor, self.keys["alice"])
        page.goto(f"{self.origin}/admin/find/")
        page.fill("#content [name=credential]", token)
        page.click("#content form [type=submit]")
        page.wait_for_selector(".ov-facts")

    # -------------------------------------------------------------- apps

    def connect(self, app: App, key: str) -> str:
        """The whole way of an app, up to its access token."""
        with httpx2.Client(follow_redirects=True) as client:
            page = client.get(app.url())
            found = re.search(r'data-code="([^"]+)"', page.text)
            assert found, page.text
            self._decide(found[1], "approve", key)
            status = client.get(str(page.url).replace("/page?", "/page/status?")).json()
        code = httpx2.URL(status["redirect_url"]).params["code"]
        return app.redeem(code)

    def call(self, token: str) -> None:
        """The first request of an app."""
        answer = httpx2.get(f"{self.origin}/api/v1/whoami", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200, answer.text

    def _device(self, name: str) -> str:
        document = {
            "client_name": name,
            "grant_types": ["urn:ietf:params:oauth:grant-type:device_code"],
            "redirect_uris": [],
            "token_endpoint_auth_method": "none",
        }
        answer = httpx2.post(f"{self.origin}/register", json=document)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["client_id"])

    def _device_code(self) -> str:
        answer = httpx2.post(f"{self.origin}/device_authorization", data={"client_id": self.television})
        return str(answer.json()["user_code"])
