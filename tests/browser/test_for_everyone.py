"""By keyboard, in forced colours, without motion, at 400 %, with wider text: what axe-core cannot see."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: uv sync --group e2e")

from tests.browser.browsing import CHROMIUM, Complaints, chromium
from tests.browser.everywhere import PASSWORD, Bring, Site
from tests.serving import running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium"),
]

PAGES = (
    "code",
    "sign-in-for-a-connection",
    "error-link",
    "console",
    "review-impostor",
    "enter",
    "keys",
    "one-time-password",
)
"""One of each kind of page: between them they have every part that there is."""

STOPS = """() => {
  const kinds = "a[href], button, input:not([type=hidden]), summary";
  window.stops = [...document.querySelectorAll(kinds)].filter(e => e.checkVisibility() && !e.disabled);
  return window.stops.length;
}"""
WHERE = """() => {
  const e = document.activeElement, style = getComputedStyle(e), box = e.getBoundingClientRect();
  return {stop: window.stops.indexOf(e), ring: style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth),
          seen: box.bottom > 0 && box.top < innerHeight, what: e.outerHTML.slice(0, 120)};
}"""
SHIFTED = """() => new Promise(done => {
  let sum = 0;
  new PerformanceObserver(list => list.getEntries().forEach(e => { if (!e.hadRecentInput) sum += e.value; }))
    .observe({type: "layout-shift", buffered: true});
  setTimeout(() => done(sum), 1500);
})"""
WIDER = """() => document.querySelectorAll("body *").forEach(e => {
  e.style.setProperty("letter-spacing", ".12em", "important");
  e.style.setProperty("word-spacing", ".16em", "important");
  e.style.setProperty("line-height", "1.5", "important");
})"""
CUT_OFF = """() => [...document.querySelectorAll("body *")]
  .filter(e => e.checkVisibility() && !e.closest(".unseen, svg") && e.scrollWidth > e.clientWidth + 1 && e.clientWidth
    && getComputedStyle(e).overflowX !== "visible" && !e.matches("input")).map(e => e.outerHTML.slice(0, 120))"""
EDGES = """() => [...document.querySelectorAll(".card button, .card .button")]
  .filter(e => e.checkVisibility() && !e.matches(".linkish")).map(e => getComputedStyle(e))
  .map(style => parseFloat(style.borderTopWidth) > 0 && style.borderTopColor !== style.backgroundColor)"""
TOO_WIDE = "document.documentElement.scrollWidth > innerWidth"


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(data_dir=tmp_path_factory.mktemp("everyone") / "data") as server:
        yield Site(server)


@pytest.fixture(scope="module")
def states(site: Site) -> dict[str, tuple[str, Bring]]:
    return {name: (who, bring) for who, name, bring in site.states()}


@pytest.fixture(params=PAGES)
def page(request: pytest.FixtureRequest, site: Site, browser: "Browser", states: Any) -> "Iterator[Page]":
    """One of the pages, as it comes; the browser complains of nothing."""
    who, bring = states[request.param]
    context = site.open(browser, who)
    complaints = Complaints().of(context)
    page = context.new_page()
    bring(page)
    if page.query_selector("[data-guard]"):
        page.wait_for_selector("[data-guard]:enabled")
    yield page
    context.close()
    assert not complaints


def test_tab_comes_to_every_control_in_the_order_of_the_page_and_one_sees_where_it_is(page: "Page") -> None:
    page.evaluate("document.activeElement.blur()")
    count = page.evaluate(STOPS)
    assert count >= 2
    for expected in range(count):
        page.keyboard.press("Tab")
        where = page.evaluate(WHERE)
        if (
            expected == 0 and where["stop"] > 0
        ):  # the field that has the focus when the page comes is where Tab goes on from
            page.evaluate("window.stops[0].focus()")
            page.keyboard.press("Shift+Tab")
            page.keyboard.press("Tab")
            where = page.evaluate(WHERE)
        assert where["stop"] == expected, where
        assert where["ring"] >= 3, where
        assert where["seen"], where


def test_at_400_percent_and_with_wider_text_nothing_is_cut_off(page: "Page") -> None:
    """1280 by 1024 at 400 % (WCAG 1.4.10), and the text spacing of 1.4.12 on top of it."""
    page.set_viewport_size({"width": 320, "height": 256})
    for summary in page.query_selector_all("details:not([open]) > summary"):
        summary.click()
    assert not page.evaluate(TOO_WIDE)
    page.evaluate(WIDER)
    assert not page.evaluate(TOO_WIDE)
    assert page.evaluate(CUT_OFF) == []


def test_nothing_jumps_while_a_page_comes(page: "Page") -> None:
    assert page.evaluate(SHIFTED) < 0.01


def test_nothing_moves_for_who_wants_no_motion(site: Site, browser: "Browser") -> None:
    context = site.open(browser, "nobody", reduced_motion="reduce")
    page = context.new_page()
    page.goto(site.claude.url())
    moving = "[...document.querySelectorAll('*')].filter(e => e.getAnimations({subtree: true}).length).length"
    assert page.evaluate(moving) == 0
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(moving) > 0  # the dot that waits
    context.close()


def test_in_forced_colours_a_button_has_its_edge_and_a_mark_its_tick(site: Site, browser: "Browser", states: Any) -> None:
    context = site.open(browser, "operator", forced_colors="active")
    page = context.new_page()
    states["console"][1](page)
    edges = page.evaluate(EDGES)
    assert len(edges) > 3
    assert all(edges)
    states["review-impostor"][1](page)
    warning = page.evaluate("getComputedStyle(document.querySelector('.warn.bad')).borderTopWidth")
    assert warning == "1px"
    context.close()


def test_the_marks_tick_by_themselves_are_spoken_and_give_way_to_the_list(site: Site, browser: "Browser") -> None:
    context = site.open(browser, "bob")
    page = context.new_page()
    page.goto(f"{site.origin}/console/")
    page.wait_for_selector("[data-mark=called]:not(.done)")
    token = site.connect(site.code, site.keys["bob"])
    page.wait_for_selector("[data-mark=approved].done")
    assert "done" in page.inner_text("[data-said]")
    site.call(token)
    page.wait_for_selector("#connected")
    assert page.locator("[data-progress]").count() == 0
    context.close()


def test_a_code_from_the_phones_camera_leaves_the_address_survives_sign_in_and_needs_a_click(
    site: Site, browser: "Browser"
) -> None:
    context = site.open(browser, "nobody")
    page = context.new_page()
    code = site.code_of(site.claude)
    page.goto(f"{site.origin}/console/verify?code={code}")
    page.wait_for_selector("#id_username")
    assert code not in page.url
    page.fill("#id_username", "alice")
    page.fill("#id_password", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_selector("#code")
    assert page.url == f"{site.origin}/console/verify"
    assert page.input_value("#code") == code
    page.keyboard.press("Enter")
    page.wait_for_selector("[value=approve]")
    context.close()


def test_copy_copies_on_plain_http_too(site: Site, browser: "Browser", states: Any) -> None:
    """A page on http and no loopback has no clipboard of its own."""
    context = site.open(browser, "operator", permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    for without in (False, True):
        if without:
            page.add_init_script("Object.defineProperty(Navigator.prototype, 'clipboard', {value: undefined})")
        states["console"][1](page)
        button = page.locator(".copyable button").first
        wanted = button.get_attribute("data-copy")
        button.click()
        assert button.inner_text() == "Copied"
        assert button.evaluate("button => button === document.activeElement")
        other = context.new_page()
        other.goto(f"{site.origin}/console/verify")
        other.click("#code")
        other.keyboard.press("Control+V")
        assert other.input_value("#code") == (wanted or "")[:16]
        other.close()
    context.close()


def test_what_jumps_and_what_is_cut_off_would_be_noticed(browser: "Browser") -> None:
    page = browser.new_page()
    page.set_content("<p style='height: 20vh'>x</p><p style='width: 2em; overflow: hidden'>cutoffbyitsparent</p>")
    assert page.evaluate(CUT_OFF)
    page.wait_for_timeout(500)  # painted
    page.evaluate("document.body.insertAdjacentHTML('afterbegin', '<p style=\"height: 30vh\">new')")
    assert page.evaluate(SHIFTED) > 0.01
    page.close()
