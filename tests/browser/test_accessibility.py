"""What holds on every page in every state: axe-core finds nothing, nothing is too wide, too small or too heavy, and the
browser has nothing to complain of. In both colours, both languages and both widths, paired so that each meets each.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: uv sync --group e2e")
axe_playwright = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="axe is not installed: uv sync --group e2e"
)

from tests.browser.browsing import CHROMIUM, Complaints, chromium
from tests.browser.everywhere import PASSWORD, Site
from tests.serving import running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium"),
]

AXE = axe_playwright.Axe().axe_script
LANGUAGES = {"en": "en-GB", "zh-Hans": "zh-CN"}
VIEWS = {"en": (("light", 320), ("dark", 1280)), "zh-Hans": (("dark", 320), ("light", 1280))}
ONCE = (
    "admin",  # its policy knows no language
    "enter-wrong",  # a guesser is stopped for everybody at that address
    "enter-too-many",
    # Built of the same parts as another state: seen once is enough.
    "hand-over-approved-",
    "hand-over-denied-",
    "code-loopback",
    "enter-decided",
    "error-form",
    "error-request",
    "one-time-password-wrong",
    "review-by-code-",
    "review-impostor-unticked",
    "sign-in-secret-wrong",
    "decided-approved",
    "disconnected",
    "code-other-browser",
)
"""What is looked at in one language alone."""
MOST_BYTES = 60_000
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}}
CONTRAST = {"runOnly": {"type": "rule", "values": ["color-contrast", "target-size", "link-in-text-block"]}}
"""What colours and width can change on a page that was looked at already."""
OPENED = """new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))
  .then(() => document.querySelectorAll("[data-guard]").forEach(button => { button.disabled = false }))"""
"""Approve is closed for a moment after the page has a new size: looked at is what people see then."""
TOO_SMALL = """[...document.querySelectorAll("main button, summary, .button, input:not([type=hidden], [type=checkbox])")]
  .filter(e => e.checkVisibility() && e.getBoundingClientRect().height < 44).map(e => e.outerHTML)"""
POLICY = """window.reports = []; document.addEventListener("securitypolicyviolation",
  e => window.reports.push(`${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber}`))"""


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(data_dir=tmp_path_factory.mktemp("accessibility") / "data") as server:
        yield Site(server)


WEIGHT = """performance.getEntriesByType("navigation").concat(performance.getEntriesByType("resource"))
  .reduce((sum, entry) => sum + entry.decodedBodySize, 0)"""


def look(page: "Page", options: dict[str, Any]) -> list[str]:
    """What axe-core finds on the page as it is now."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    found = page.evaluate("options => axe.run(document, options)", options | {"resultTypes": ["violations"]})
    return [f"{rule['id']}: {node['html'][:160]}" for rule in found["violations"] for node in rule["nodes"]]


def faults_of(page: "Page", language: str, name: str) -> Iterator[str]:
    """Everything that is wrong with what the tab shows."""
    of_us = not name.startswith("admin")  # Django's own pages: their structure is not ours, their policy is
    yield from page.evaluate("window.reports")
    if not of_us:
        return
    if page.locator("h1").count() != 1:
        yield "not one h1"
    if (spoken := page.get_attribute("html", "lang")) != language:
        yield f"speaks {spoken}"
    if (weight := page.evaluate(WEIGHT)) > MOST_BYTES:
        yield f"{weight} bytes"
    for rules, (colours, width) in zip((RULES, CONTRAST), VIEWS[language], strict=True):
        page.emulate_media(color_scheme=colours, reduced_motion="reduce")  # type: ignore[arg-type]
        page.set_viewport_size({"width": width, "height": 720})
        page.evaluate(OPENED)
        yield from (f"{colours} {width}: {fault}" for fault in look(page, rules))
        yield from (f"{width}: too small: {html}" for html in page.evaluate(TOO_SMALL))
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            yield f"{width}: too wide"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_is_accessible_fits_is_light_and_obeys_the_policy(site: Site, browser: "Browser", language: str) -> None:
    contexts: dict[str, BrowserContext] = {}
    complaints = Complaints()
    found: dict[str, list[str]] = {}
    for who, name, bring in site.states():
        if name == "sign-in-locked" or (language != "en" and name.startswith(ONCE)):
            continue  # the former is nine slow hashes, and then the page of enter-too-many
        if who not in contexts:
            contexts[who] = site.open(browser, who, locale=LANGUAGES[language], reduced_motion="reduce")
            contexts[who].add_init_script(POLICY)
            complaints.of(contexts[who])
        page = contexts[who].new_page()
        bring(page)
        if faults := list(faults_of(page, language, name)):
            found[name] = faults
        page.close()
    for context in contexts.values():
        context.close()
    assert found == {}
    assert not complaints


def test_a_page_with_faults_would_be_caught(browser: "Browser") -> None:
    page = browser.new_page()
    page.set_content("<title>x</title><p style='color:#aaa;background:#fff'>pale</p><img src='data:,'><input>")
    rules = {fault.partition(":")[0] for fault in look(page, RULES)}
    assert {"color-contrast", "image-alt", "label", "html-has-lang"} <= rules
    assert "color-contrast" in {fault.partition(":")[0] for fault in look(page, CONTRAST)}
    page.close()


def test_what_the_policy_forbids_would_be_reported(site: Site, browser: "Browser") -> None:
    context = browser.new_context()
    context.add_init_script(POLICY)
    complaints = Complaints().of(context)
    page = context.new_page()
    page.goto(f"{site.origin}/console/login")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<b style=\"color: red\">x</b>')")
    page.wait_for_function("window.reports.length")
    assert page.evaluate("window.reports")[0].startswith("style-src")
    assert complaints
    context.close()


def test_by_keyboard_alone_from_the_app_to_the_approval(site: Site, browser: "Browser") -> None:
    context = site.open(browser, "nobody")
    page = context.new_page()
    page.goto(site.claude.url())
    reach(page, "document.activeElement.matches('a.primary')")
    page.keyboard.press("Enter")
    page.wait_for_selector("#id_password:focus")  # the first operator's name stands in the field before it
    page.keyboard.press("Shift+Tab")
    page.keyboard.type("alice")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-guard]:disabled")
    page.wait_for_selector("[data-guard]:enabled")
    reach(page, "document.activeElement.value === 'deny'")  # before Approve
    reach(page, "document.activeElement.value === 'approve'", most=1)
    assert page.evaluate("getComputedStyle(document.activeElement).outlineWidth") == "3px"
    page.keyboard.press("Enter")
    page.wait_for_selector(".verdict.approved")
    context.close()


def reach(page: "Page", there: str, *, most: int = 20) -> None:
    """Presses Tab until the focus is there."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate(there):
            return
    raise AssertionError(f"Tab does not lead to: {there}")
