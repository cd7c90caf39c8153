"""In a real Chromium, against a real `serve` process: what no test client can tell.

A form whose redirect would leave for another origin, an app's scheme, no JavaScript, a popup whose opener waits, a second
browser, a click that comes too early. And on no page does the browser complain of the policy.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: uv sync --group e2e")

from tests.browser.browsing import (
    CHROMIUM,
    App,
    Complaints,
    Listener,
    chromium,
    parameters,
    sign_in,
)
from tests.fetching.https import Authority, HttpsServer, reply
from tests.serving import Server, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("browser"),  # one server, one browser
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium"),
]

HTTPS_CALLBACK = "https://app.example/callback"
HTTPS_HOST = "app.example"
TOO_SMALL = """[...document.querySelectorAll("button, summary, .button, input:not([type=hidden], [type=checkbox])")]
  .filter(e => e.checkVisibility() && e.getBoundingClientRect().height < 44).map(e => e.outerHTML)"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(data_dir=tmp_path_factory.mktemp("browser") / "data") as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    with chromium() as browser:
        yield browser


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as listener:
        yield listener


@pytest.fixture
def https_app(tmp_path: Path) -> Iterator[HttpsServer]:
    """The web server of a hosted app, with a certificate of its own CA: Chromium is told where that host is."""
    with HttpsServer(Authority(tmp_path).context(HTTPS_HOST)) as running_app:
        yield running_app


@pytest.fixture
def open_context(browser: "Browser") -> "Iterator[Callable[..., BrowserContext]]":
    """New browsers without memory; at the end none of them may have complained."""
    opened: list[tuple[BrowserContext, Complaints]] = []

    def open_one(**options: Any) -> "BrowserContext":
        context = browser.new_context(**options)
        context.set_default_timeout(10_000)
        opened.append((context, Complaints().of(context)))
        return context

    yield open_one
    for context, complaints in opened:
        context.close()
        assert not complaints


@pytest.fixture(scope="module")
def session(server: Server, browser: "Browser") -> Any:
    """The cookies of the operator, who has signed in by the form."""
    context = browser.new_context()
    sign_in(context.new_page(), server.url, "operator", server.operator_password)
    state = context.storage_state()
    context.close()
    return state


def decide(server: Server, page: "Page", decision: str) -> None:
    """Somebody else types the code that the page shows, with an API key."""
    sent = {"code": page.get_attribute("[data-code]", "data-code"), "decision": decision}
    key = {"Authorization": f"Bearer {server.operator_api_key}"}
    assert httpx2.post(f"{server.url}/api/v1/auth/oauth-verify", json=sent, headers=key).status_code == 200


def test_the_waiting_page_goes_on_to_a_loopback_app_by_itself(
    server: Server, open_context: Any, listener: Listener
) -> None:
    app = App(server.url, "Loopback app", f"{listener.origin}/callback")
    page = open_context().new_page()
    page.goto(app.url())
    decide(server, page, "approve")
    page.wait_for_url(f"{listener.origin}/**")
    (received,) = listener.received
    assert (received["state"], received["iss"]) == ("the-state", server.url)
    assert not received["referer"]
    assert app.redeems(received["code"])


def test_approve_here_goes_on_to_another_origin_though_forms_may_not(
    server: Server, open_context: Any, session: Any, listener: Listener
) -> None:
    app = App(server.url, "Loopback app", f"{listener.origin}/callback")
    page = open_context(storage_state=session).new_page()
    page.goto(app.url())
    page.click("[value=approve]")
    page.wait_for_url(f"{listener.origin}/**")
    assert app.redeems(listener.received[0]["code"])


@pytest.mark.parametrize("scripts", [True, False], ids=["with-javascript", "without"])
def test_approve_goes_on_to_an_https_app(
    server: Server, open_context: Any, session: Any, https_app: HttpsServer, scripts: bool
) -> None:
    https_app.answer = reply(b"<!doctype html><title>app</title><h1>Back in the app</h1>", content_type="text/html")
    app = App(server.url, "Some app", https_app.url("/callback", HTTPS_HOST))
    page = open_context(storage_state=session, ignore_https_errors=True, java_script_enabled=scripts).new_page()
    page.goto(app.url())
    page.click("[value=approve]")
    page.wait_for_url(f"{app.redirect_uri}?**")
    assert page.inner_text("h1") == "Back in the app"
    asked = https_app.requests[0].decode()
    assert "referer:" not in asked.lower()
    sent = parameters(asked.split()[1])
    assert (sent["state"], sent["iss"]) == ("the-state", server.url)
    assert app.redeems(sent["code"])


def test_the_waiting_page_goes_on_to_an_https_app_by_itself(
    server: Server, open_context: Any, https_app: HttpsServer
) -> None:
    https_app.answer = reply(b"<!doctype html><title>app</title><h1>Back in the app</h1>", content_type="text/html")
    app = App(server.url, "Some app", https_app.url("/callback", HTTPS_HOST))
    page = open_context(ignore_https_errors=True).new_page()
    page.goto(app.url())
    decide(server, page, "approve")
    page.wait_for_url(f"{app.redirect_uri}?**")
    assert app.redeems(parameters(page.url)["code"])


@pytest.mark.parametrize("scripts", [True, False], ids=["with-javascript", "without"])
@pytest.mark.parametrize("secure", [True, False], ids=["https", "loopback"])
def test_a_callback_that_hops_to_its_own_scheme_is_reached(
    server: Server, open_context: Any, session: Any, listener: Listener, https_app: HttpsServer, secure: bool, scripts: bool
) -> None:
    """What claude.ai does: its callback answers 307 to claude://, which a policy for forms would stop as well."""
    https_app.answer = reply(b"", status="307 Temporary Redirect", headers=("Location: claude://callback",))
    app = App(server.url, "Hopping app", https_app.url("/hop", HTTPS_HOST) if secure else f"{listener.origin}/hop")
    page = open_context(storage_state=session, ignore_https_errors=True, java_script_enabled=scripts).new_page()
    opened: list[str] = []
    page.on("requestfailed", lambda request: opened.append(request.url))
    page.goto(app.url())
    page.click("[value=approve]")
    page.wait_for_selector("[data-hand-over]")
    until(lambda: any(url.startswith("claude://") for url in opened), page)
    code = parameters(https_app.requests[0].decode().split()[1])["code"] if secure else listener.received[0]["code"]
    assert app.redeems(code)
    assert page.is_visible("[data-hand-over]")  # the scheme was for the operating system: the page and its link remain


def until(done: Callable[[], bool], page: "Page") -> None:
    """While the browser goes on."""
    for _ in range(100):
        if done():
            return
        page.wait_for_timeout(100)
    raise AssertionError("waited for 10 s")


def test_an_apps_own_scheme_is_opened_and_a_link_remains(server: Server, open_context: Any) -> None:
    app = App(server.url, "Some app", "claude-like://callback")
    context = open_context()
    page = context.new_page()
    wanted: list[str] = []
    protocol = context.new_cdp_session(page)
    protocol.on("Page.frameRequestedNavigation", lambda event: wanted.append(event["url"]))
    protocol.send("Page.enable")
    page.goto(app.url())
    decide(server, page, "approve")
    link = page.wait_for_selector("a.primary[href^='claude-like://callback?code=ovac_']")
    assert link is not None
    page.wait_for_timeout(1000)  # longer than the page waits before it goes on
    assert wanted[-1] == link.get_attribute("href")
    assert "Open the app again" in page.inner_text("main")


def test_without_javascript_everything_works_by_forms_and_refreshes(
    server: Server, open_context: Any, listener: Listener
) -> None:
    app = App(server.url, "Loopback app", f"{listener.origin}/callback")
    page = open_context(java_script_enabled=False).new_page()
    page.goto(app.url())
    page.click("a.primary")
    page.fill("[name=username]", "operator")
    page.fill("[name=password]", server.operator_password)
    page.click("main .card button.primary")
    page.click("[value=approve]")
    page.wait_for_url(f"{listener.origin}/**")
    assert app.redeems(listener.received[0]["code"])


def test_without_javascript_a_decision_elsewhere_is_noticed(server: Server, open_context: Any, listener: Listener) -> None:
    app = App(server.url, "Loopback app", f"{listener.origin}/callback")
    page = open_context(java_script_enabled=False).new_page()
    page.goto(app.url())
    decide(server, page, "deny")
    page.wait_for_url(f"{listener.origin}/**")
    assert listener.received[0]["error"] == "access_denied"


def test_a_popup_keeps_its_opener_all_the_way(server: Server, open_context: Any, session: Any, listener: Listener) -> None:
    app = App(server.url, "Popup app", f"{listener.origin}/callback")
    page = open_context(storage_state=session).new_page()
    page.goto(f"{listener.origin}/opener")
    with page.expect_popup() as opened:
        page.evaluate("url => { window.popup = window.open(url, 'sign-in', 'width=500,height=700') }", app.url())
    popup = opened.value
    popup.wait_for_selector("[value=approve]")
    assert page.evaluate("window.popup.closed") is False
    popup.click("[value=approve]")
    popup.wait_for_url(f"{listener.origin}/callback**")
    assert popup.evaluate("window.opener !== null")
    assert page.evaluate("window.popup.closed") is False


def test_a_second_browser_gets_nothing(server: Server, open_context: Any, listener: Listener) -> None:
    app = App(server.url, "Loopback app", f"{listener.origin}/callback")
    first = open_context().new_page()
    first.goto(app.url())
    code = first.get_attribute("[data-code]", "data-code")
    second = open_context().new_page()
    answer = second.goto(first.url)
    assert answer is not None
    assert answer.status == 403
    assert code not in second.content()
    decide(server, first, "approve")
    first.wait_for_url(f"{listener.origin}/**")
    second.reload()
    assert "ovac_" not in second.content()


def test_approve_opens_only_after_the_page_could_be_seen(server: Server, open_context: Any, session: Any) -> None:
    app = App(server.url, "Some app", HTTPS_CALLBACK)
    page = open_context(storage_state=session).new_page()
    page.goto(app.url(), wait_until="domcontentloaded")
    assert page.is_disabled("[value=approve]")
    assert page.is_enabled("[value=deny]")
    page.wait_for_selector("[value=approve]:enabled")
    page.evaluate("window.dispatchEvent(new Event('blur'))")
    assert page.is_disabled("[value=approve]")


def test_a_server_that_is_away_is_told_and_found_again(server: Server, open_context: Any) -> None:
    app = App(server.url, "Some app", HTTPS_CALLBACK)
    context = open_context()
    page = context.new_page()
    context.route("**/page/status**", lambda route: route.fulfill(status=503, body="{}"))
    page.goto(app.url())
    page.wait_for_selector(".waiting.away")
    assert "does not answer" in page.inner_text("[role=status]")
    context.unroute("**/page/status**")
    page.wait_for_selector(".waiting:not(.away)")
    assert "Waiting" in page.inner_text("[role=status]")


def test_time_runs_and_what_is_over_says_so(server: Server, open_context: Any) -> None:
    app = App(server.url, "Some app", HTTPS_CALLBACK)
    context = open_context()
    page = context.new_page()
    page.goto(app.url())
    before = page.inner_text("[data-countdown]")
    assert re.fullmatch(r"9 min \d+ s", before)
    page.wait_for_selector(f"[data-countdown]:not(:text-is('{before}'))")
    pages = re.compile(r"/oauth/authorize/page\?")
    context.route(pages, lambda route: route.fulfill(status=410, body="<h1>over</h1>", content_type="text/html"))
    context.route("**/page/status**", lambda route: route.fulfill(status=410, body='{"status": "expired"}'))
    page.wait_for_selector("h1:text-is('over')")


def test_from_another_screen_by_keyboard_alone(server: Server, open_context: Any, session: Any, listener: Listener) -> None:
    app = App(server.url, "Loopback app", f"{listener.origin}/callback")
    screen = open_context().new_page()
    screen.goto(app.url())
    code = screen.get_attribute("[data-code]", "data-code")
    phone = open_context(storage_state=session).new_page()
    phone.goto(f"{server.url}/console/verify")
    phone.keyboard.type(code.lower())
    phone.keyboard.press("Enter")
    phone.wait_for_selector("[value=approve]:enabled")
    for _ in range(12):
        phone.keyboard.press("Tab")
        if phone.evaluate("document.activeElement.value") == "approve":
            break
    phone.keyboard.press("Enter")
    phone.wait_for_url("**/console/verify/decided")
    screen.wait_for_url(f"{listener.origin}/**")
    assert app.redeems(listener.received[0]["code"])


def test_every_page_is_accessible_fits_and_obeys_the_policy(server: Server, open_context: Any, session: Any) -> None:
    """Narrow and light, wide and dark."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    good = App(server.url, "Claude", "https://claude.ai/api/mcp/auth_callback")
    local = App(server.url, "Claude Code", "http://127.0.0.1:9/callback")
    impostor = App(server.url, "Claude", HTTPS_CALLBACK)
    stranger = {
        "code": local.url(),
        "sign-in": f"{server.url}/console/login",
        "wrong link": good.url(redirect_uri="https://claude.ai/other"),
    }
    member = {
        "review": good.url(),
        "impostor": impostor.url(),
        "enter": f"{server.url}/console/verify",
        "home": f"{server.url}/console/",
        "password": f"{server.url}/console/password",
    }
    for who, urls in ((None, stranger), (session, member)):
        page = open_context(storage_state=who, reduced_motion="reduce").new_page()
        for name, url in urls.items():
            page.goto(url)
            for summary in page.query_selector_all("summary"):
                summary.click()
            if page.query_selector("[data-guard]"):
                page.wait_for_selector("[data-guard]:enabled")
            for colours, width in (("light", 320), ("dark", 1280)):
                page.emulate_media(color_scheme=colours, reduced_motion="reduce")  # type: ignore[arg-type]
                page.set_viewport_size({"width": width, "height": 720})
                found = axe.run(page)
                assert found.violations_count == 0, f"{name} {colours}: {found.generate_report()}"
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} is too wide"
                assert not page.evaluate(TOO_SMALL), name
            assert page.locator("h1").count() == 1, name
