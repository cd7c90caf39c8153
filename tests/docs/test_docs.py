"""The documentation holds: what is made from the program is up to date, what exists is named, what is named exists."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.urls import URLPattern, URLResolver, get_resolver

from ovauth import conf
from ovauth.web import openapi
from tests.docs.reference import CHINESE, DOCS, MADE, ROOT, chinese, in_chinese, in_english, sentences, written

ENGLISH = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
FIGURES = DOCS / "performance-results.md"
"""Written by the benchmark as it is; the page beside it tells what they mean, in both languages."""
TRANSLATED = {
    page: ROOT / "README.zh.md" if page.parent == ROOT else CHINESE / page.name for page in ENGLISH if page != FIGURES
}
COMMANDS = sorted(path.stem for path in (ROOT / "ovauth/management/commands").glob("[a-z]*.py"))
LINK = re.compile(r"\]\(([^)\s]+)\)")


def all_english() -> str:
    return "\n".join(page.read_text() for page in ENGLISH)


@pytest.mark.parametrize(("page", "mark"), MADE)
def test_what_is_made_from_the_program_is_up_to_date(page: str, mark: str) -> None:
    for path, say in ((DOCS / page, in_english), (CHINESE / page, in_chinese)):
        assert path.read_text() == written(path, mark, MADE[page, mark](say)), "run  uv run python -m tests.docs"


def test_what_is_made_is_translated() -> None:
    assert [text for text in sentences() if not getattr(chinese().find(text), "msgstr", "")] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_told_of(command: str) -> None:
    assert re.search(rf"manage\.py {command}\b|`{command}`", all_english())


@pytest.mark.parametrize("variable", [conf.variable(name) for name in conf.SETTINGS])
def test_each_setting_is_told_of(variable: str) -> None:
    assert f"`{variable}`" in (DOCS / "configuration.md").read_text()


def test_no_setting_is_told_of_that_there_is_not() -> None:
    known = {conf.variable(name) for name in conf.Config.model_fields}
    named = set(re.findall(r"\bOVAUTH_[A-Z_]+[A-Z]\b", all_english()))
    assert {name for name in named if not name.startswith("OVAUTH_BENCH_")} <= known  # those are of tests/bench


def routes(patterns: list[URLPattern | URLResolver], before: str = "/") -> Iterator[str]:
    for pattern in patterns:
        path = before + str(pattern.pattern)
        if path.startswith("/admin/") or str(pattern.pattern) == "" and before == "/api/v1/":
            continue  # the admin's own pages, and the name that Ninja gives to its root
        if isinstance(pattern, URLPattern):
            yield re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path)
        else:
            yield from routes(pattern.url_patterns, path)


@pytest.mark.parametrize("route", sorted(set(routes(get_resolver().url_patterns))))
def test_each_route_is_told_of(route: str) -> None:
    assert re.search(rf"`{re.escape(route)}[`?]", (DOCS / "api.md").read_text())


def test_the_openapi_page_tells_of_what_there_is_and_of_nothing_else() -> None:
    told = {(method, path) for path, operations in openapi.schema()["paths"].items() for method in operations}
    assert told == set(openapi.OPERATIONS)


@pytest.mark.parametrize(
    "page", [*ENGLISH, *sorted((DOCS / "zh").glob("*.md"))], ids=lambda page: str(page.relative_to(ROOT))
)
def test_each_link_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        if re.match(r"https?:|mailto:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.name)
def test_each_page_is_there_in_chinese_with_the_same_parts(page: Path) -> None:
    assert parts(TRANSLATED[page].read_text()) == parts(page.read_text())


def test_no_page_is_in_chinese_alone() -> None:
    assert set(CHINESE.glob("*.md")) <= set(TRANSLATED.values())


def parts(text: str) -> dict[str, list[str]]:
    """What a translation keeps: levels of headings, rows of tables, code without its comments, names."""
    blocks = re.findall(r"^```(?:\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return {
        "headings": re.findall(r"^(#+) ", prose, re.MULTILINE),
        "rows": [str(row.count("|")) for row in re.findall(r"^\|.*\|$", prose, re.MULTILINE)],
        "code": [_without_comments(block) for block in blocks],
        "names": sorted(set(re.findall(r"`(OVAUTH_\w+|DATABASE_URL|/[\w./{}-]+|ov[a-z]+_)`", prose))),
        "pictures": re.findall(r'<img src="(?:docs/|\.\./)?([^"]+)"', prose),
    }


def _without_comments(block: str) -> str:
    return "\n".join(re.sub(r"\s+#.*$|^#.*$", "", line).rstrip() for line in block.splitlines())
