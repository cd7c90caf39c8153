"""Pictures of every page in every state, light and dark, phone and desk, English and Chinese.

    uv run python -m tests.screenshots [folder] [name …]

into the git-ignored `screenshots/`, or those pages alone whose names begin with one of the names. Needs the group e2e
(`uv sync --group e2e`) and Chromium.
"""

import sys
import tempfile
from pathlib import Path
from typing import Literal

from playwright.sync_api import BrowserContext, Page

from tests.browser.browsing import chromium
from tests.browser.everywhere import Site
from tests.serving import running

SIZES = {"phone": (320, 640), "desk": (1280, 800)}
COLOURS: tuple[Literal["light", "dark"], ...] = ("light", "dark")
PAINTED = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
"""The page knows of its new size: Approve is closed for a moment then."""
SETTLED = "document.getAnimations().forEach(running => running.finish())"
"""The admin lets colours fade into each other, whatever a person prefers: pictures show where they end."""
LANGUAGES = {"en": "en-GB", "zh": "zh-CN"}


def main(folder: Path, wanted: tuple[str, ...]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as data, chromium() as browser:
        for language, locale in LANGUAGES.items():
            with running(data_dir=Path(data) / language) as server:
                site = Site(server)
                contexts: dict[str, BrowserContext] = {}
                for who, name, bring in site.states():
                    if not name.startswith(wanted):
                        continue
                    if who not in contexts:
                        contexts[who] = site.open(browser, who, locale=locale, reduced_motion="reduce")
                    page = contexts[who].new_page()  # its own tab: a question about an app's scheme blocks a tab
                    bring(page)
                    take(page, folder, f"{name}-{language}")
                    page.close()
                for context in contexts.values():
                    context.close()


def take(page: Page, folder: Path, name: str) -> None:
    """In both colours and both sizes."""
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        # The whole page as the view: a picture beyond the view would change its size, and close Approve for a moment.
        tall = page.evaluate("document.documentElement.scrollHeight")
        page.set_viewport_size({"width": width, "height": max(height, tall)})
        page.evaluate(PAINTED)
        if page.query_selector("[data-guard]"):
            page.wait_for_selector("[data-guard]:enabled")
        for colours in COLOURS:
            page.emulate_media(color_scheme=colours, reduced_motion="reduce")
            page.evaluate(SETTLED)
            page.screenshot(path=folder / f"{name}-{size}-{colours}.png")
        too_wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if too_wide > 0:
            print(f"{name} {size}: {too_wide} px too wide")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "screenshots"), tuple(sys.argv[2:]) or ("",))
