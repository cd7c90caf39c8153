"""Pictures of every page, in light and dark, for a phone and a desk: `uv run python -m tests.browser.look [folder]`."""

import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import httpx2
from playwright.sync_api import Page

from tests.browser.browsing import App, chromium, sign_in
from tests.serving import Server, running

SIZES = {"phone": (320, 640), "desk": (1280, 800)}
LOOPBACK = "http://127.0.0.1:9/callback"


def pages(server: Server) -> dict[str, Callable[[Page], object]]:
    """How to bring a tab to each page, by name and in this order."""
    origin = server.url
    claude = App(origin, "Claude", "https://claude.ai/api/mcp/auth_callback")
    local = App(origin, "Claude Code", LOOPBACK)
    cursor = App(origin, "Cursor", "cursor://anysphere.cursor-mcp/oauth/callback")
    impostor = App(origin, "Claude", "https://evil.example/callback")
    key = {"Authorization": f"Bearer {server.operator_api_key}"}

    def code_of(app: App) -> str:
        with httpx2.Client(follow_redirects=True) as other:
            found = re.search(r'data-code="([^"]+)"', other.get(app.url()).text)
        assert found
        return found[1]

    def decided(page: Page, app: App, decision: str) -> None:
        page.goto(app.url())
        code = page.get_attribute("[data-code]", "data-code")
        sent = {"code": code, "decision": decision}
        assert httpx2.post(f"{origin}/api/v1/auth/oauth-verify", json=sent, headers=key).status_code == 200
        page.wait_for_selector("[data-hand-over]")

    def entered(page: Page, code: str) -> None:
        page.goto(f"{origin}/console/verify")
        page.fill("[name=code]", code)
        page.click("main .card button")

    def answered(page: Page, name: str) -> None:
        entered(page, code_of(claude))
        page.click(f"[value={name}]:enabled")
        page.wait_for_selector(".verdict")

    def opened(page: Page, url: str) -> None:
        page.goto(url)
        for summary in page.query_selector_all("summary"):
            summary.click()

    def wrong_password(page: Page) -> None:
        page.goto(f"{origin}/console/login")
        page.fill("[name=username]", "operator")
        page.fill("[name=password]", "wrong")
        page.click("main button")

    def to_sign_in(page: Page) -> None:
        page.goto(claude.url())
        page.click("a.primary")

    return {
        "code": lambda page: page.goto(claude.url()),
        "code-folds-open": lambda page: opened(page, claude.url()),
        "code-loopback": lambda page: page.goto(local.url()),
        "sign-in": lambda page: page.goto(f"{origin}/console/login"),
        "sign-in-for-a-connection": to_sign_in,
        "sign-in-wrong": wrong_password,
        "hand-over-approved": lambda page: decided(page, cursor, "approve"),
        "hand-over-denied": lambda page: decided(page, cursor, "deny"),
        "error-link": lambda page: opened(page, claude.url(redirect_uri="https://claude.ai/other")),
        "error-not-found": lambda page: page.goto(f"{origin}/nothing"),
        "error-request": lambda page: page.goto(f"{origin}/oauth/authorize/page?pending=unknown"),
        "home-first": lambda page: sign_in(page, origin, "operator", server.operator_password),
        "review-here": lambda page: page.goto(claude.url()),
        "review-here-loopback": lambda page: page.goto(local.url()),
        "review-impostor": lambda page: page.goto(impostor.url()),
        "enter": lambda page: page.goto(f"{origin}/console/verify"),
        "enter-wrong": lambda page: entered(page, "ABC-DEF"),
        "review-elsewhere": lambda page: entered(page, code_of(local)),
        "decided-approved": lambda page: answered(page, "approve"),
        "decided-denied": lambda page: answered(page, "deny"),
        "password": lambda page: page.goto(f"{origin}/console/password"),
        "sign-out": lambda page: page.goto(f"{origin}/console/logout"),
    }


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as data, chromium() as browser:
        for colours in ("light", "dark"):
            for size, (width, height) in SIZES.items():
                with running(data_dir=Path(data) / f"{colours}-{size}") as server:
                    context = browser.new_context(
                        color_scheme=colours,
                        viewport={"width": width, "height": height},  # type: ignore[arg-type]
                    )
                    # Nobody's app is called from here: pictures are of our pages.
                    context.route(re.compile(r"^(https://|http://127\.0\.0\.1:9/)"), lambda route: route.abort())
                    for name, bring in pages(server).items():
                        page = context.new_page()  # its own tab: a question about an app's scheme blocks a tab
                        bring(page)
                        page.wait_for_timeout(900)  # past the guard of Approve
                        page.screenshot(path=folder / f"{name}-{colours}-{size}.png", full_page=True)
                        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
                        if wide > 0:
                            print(f"{name} {colours} {size}: {wide} px too wide")
                        page.close()
                    context.close()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "screenshots"))
