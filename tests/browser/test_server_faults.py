"""What a person sees when the fault is the server's: real ones, in a real Chromium."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: uv sync --group e2e")

from tests.browser.browsing import CHROMIUM, App, chromium
from tests.serving import running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium"),
]

WORDS = {
    "en-GB": ("This page shared nothing.", "What to do now", "give the operator the reference below"),
    "zh-CN": ("此页面未共享任何内容。", "现在该怎么做", "请将下方的参考编号"),
}


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    with chromium() as browser:
        yield browser


def read(page: "Page", answer: Any, status: int, language: str) -> str:
    """The reference on the page, which says what happened, whether anything was shared, and what to do now."""
    assert answer.status == status
    said = page.inner_text("main")
    assert [words for words in WORDS[language] if words not in said] == []
    assert "Traceback" not in page.content()
    assert page.evaluate("getComputedStyle(document.querySelector('main')).maxWidth") != "none"  # it has its style sheet
    reference: str = page.inner_text(".reference .mono")
    assert answer.headers["x-request-id"] == reference
    return reference


@pytest.mark.parametrize("language", WORDS)
def test_a_fault_of_ours_is_a_page_whose_reference_the_log_has(tmp_path: Any, browser: "Browser", language: str) -> None:
    env = {"DJANGO_SETTINGS_MODULE": "tests.browser.faulty_settings"}
    with running(data_dir=tmp_path / "data", env=env, fails=True) as server:
        page = browser.new_page(locale=language)
        reference = read(page, page.goto(f"{server.url}/fault"), 500, language)
        page.close()
        server.waits_for(rf".*unexpected fault at /fault.*{reference}.*")
        server.waits_for("ZeroDivisionError")
        assert "a-secret-in-a-traceback" not in server.output()


@pytest.mark.parametrize("language", WORDS)
def test_a_database_that_cannot_be_written_is_a_page_and_the_next_try_succeeds(
    tmp_path: Any, browser: "Browser", language: str
) -> None:
    with running(data_dir=tmp_path / "data") as server:
        app = App(server.url, "Some app", "https://app.example/callback")
        page = browser.new_page(locale=language)
        with closing(sqlite3.connect(server.data_dir / "ovauth.sqlite3", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            reference = read(page, page.goto(app.url(), timeout=60_000), 503, language)
            other.execute("ROLLBACK")
        server.waits_for(rf".*{reference}.*")
        answer = page.goto(app.url())
        assert answer is not None
        assert answer.status == 200
        page.close()
