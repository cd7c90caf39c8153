"""Everything that a page says is there in Chinese: complete, with the same placeholders, and compiled.

What is said is read from templates and source here, without gettext's programs: whoever adds a sentence learns so without
having them. `docs/contributing.md` names the command that brings it into the catalogue.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import polib
import pytest
from django.utils.translation.template import templatize

from ovauth import errors
from ovauth.conf import Config
from ovauth.doctor import Target
from ovauth.errors import InvalidRequest, OAuthRefusal, Refusal
from ovauth.roles import Role

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "ovauth" / "locale" / "zh_Hans" / "LC_MESSAGES"
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
MODULES = sorted(path for path in (ROOT / "ovauth").rglob("*.py") if "migrations" not in path.parts)
CALLS = {"_", "gettext", "gettext_lazy", "gettext_noop", "ngettext", "ngettext_lazy"}
_STRING = r"""u?(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")"""
_CALL = re.compile(rf"\b(?:_|n?gettext)\(\s*({_STRING})")

FACING_PEOPLE = ("web/authorize", "web/console", "web/faults", "web/middleware", "web/review", "web/serving", "flows/")
"""Whose refusals are shown on pages."""
FACING_PROGRAMS = {
    "Send either code or pending_id.",
    "Only the response mode query is supported.",
    "There is no such user.",
    "request_uri cannot be pushed.",
    "The keys of the client cannot be reached.",
    "The redirect_uri is not registered.",
    "Somebody has to have the role root. Give it to another member first.",  # the admin's, which is in English
}
"""Said in rooms that face people, but never on a page; InvalidRequest and its like at /authorize travel to the client."""


@pytest.fixture(scope="module")
def catalogue() -> polib.POFile:
    return polib.pofile(str(FOLDER / "django.po"))


def in_templates() -> Iterator[tuple[str, str]]:
    for path in TEMPLATES:
        for found in _CALL.finditer(templatize(path.read_text())):
            yield path.name, ast.literal_eval(found[1])


def in_modules() -> Iterator[tuple[str, str]]:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS):
                continue
            if node.args and isinstance(node.args[0], ast.Constant):
                yield path.name, str(node.args[0].value)


def refusals() -> Iterator[tuple[str, str]]:
    """The descriptions that are written out where something is refused, in the rooms whose refusals people see."""
    for path in MODULES:
        name = path.relative_to(ROOT / "ovauth").as_posix()
        if not name.startswith(FACING_PEOPLE):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            kind = getattr(errors, node.func.id, None)
            if not (isinstance(kind, type) and issubclass(kind, Refusal)) or travels(kind, name):
                continue
            texts = node.args[1:] if kind is errors.TooManyRequests else node.args
            if texts and isinstance(texts[0], ast.Constant):
                yield name, str(texts[0].value)


def travels(kind: type[Refusal], name: str) -> bool:
    """Whether it goes to the client as an OAuth error, and never to a page."""
    return issubclass(kind, OAuthRefusal) and (kind is not InvalidRequest or name.startswith("flows/"))


def family(kind: type[Refusal]) -> Iterator[type[Refusal]]:
    yield kind
    for below in kind.__subclasses__():
        yield from family(below)


def missing(said: set[str] | list[str], catalogue: polib.POFile) -> set[str]:
    known = {entry.msgid for entry in catalogue if entry.translated()}
    return {text for text in said if text not in known}


def test_the_search_finds_what_is_said() -> None:
    templates, modules = dict(in_templates()), dict(in_modules())
    assert len(list(in_templates())) > 150, templates
    assert {"console.py", "sentences.py"} <= set(modules)
    assert "Let “%(name)s” use %(host)s as you?" in {text for _, text in in_templates()}
    assert "(no name)" in {text for _, text in in_templates()}  # inside of a filter
    assert "This one-time password is wrong, used or expired." in {text for _, text in refusals()}


def test_every_text_of_a_template_is_in_chinese(catalogue: polib.POFile) -> None:
    assert missing([text for _, text in in_templates()], catalogue) == set()


def test_every_text_of_a_view_is_in_chinese(catalogue: polib.POFile) -> None:
    assert missing([text for _, text in in_modules()], catalogue) == set()


def test_every_refusal_that_reaches_a_page_is_in_chinese(catalogue: polib.POFile) -> None:
    kinds = {kind for kind in family(Refusal) if not issubclass(kind, OAuthRefusal)} | {InvalidRequest}
    assert missing({kind.default for kind in kinds}, catalogue) == set()
    assert missing({text for _, text in refusals()} - FACING_PROGRAMS, catalogue) == set()


def test_every_scope_and_role_is_in_chinese(catalogue: polib.POFile) -> None:
    scopes = Config.model_fields["scopes"].default
    assert missing({scope.sentence for scope in scopes} | {role.label for role in Role}, catalogue) == set()


def test_every_sentence_of_the_doctor_is_marked_for_the_catalogue() -> None:
    """Two words beside each other are a sentence, and whoever says one says it by `_`, or it would stay English."""
    unmarked = []
    for path in sorted((ROOT / "ovauth" / "doctor").glob("*.py")):
        if path.name == "clients.py":  # what clients send
            continue
        tree = ast.parse(path.read_text())
        quiet = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"_", "ValueError", "httpx2.ReadTimeout"}:
                quiet |= {id(arg) for arg in node.args}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and id(node) not in quiet and re.search(r"[a-z]+ [a-z]+", str(node.value)):
                unmarked.append(f"{path.name}: {node.value}")
    assert [
        text for text in unmarked if "ovauth doctor" not in text and "Mozilla" not in text
    ] == []  # how it introduces itself


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://a b",
        "https://a/%zz",
        "ov.example.com",
        "https://me@a",
        "https://a/[",
        "https://[::1]a",
        "https://",
        "https://[x]",
        "https://-.1.2",
        "https://a:0",
        "https://a?b",
    ],
)
def test_every_reason_why_the_doctor_takes_no_address_is_in_chinese(url: str, catalogue: polib.POFile) -> None:
    with pytest.raises(ValueError, match=".") as why:
        Target(url)
    assert missing([str(why.value)], catalogue) == set()


def test_no_translation_is_missing_or_a_guess(catalogue: polib.POFile) -> None:
    assert not catalogue.untranslated_entries()
    assert [entry.msgid for entry in catalogue if entry.fuzzy or entry.obsolete] == []


PLACEHOLDER = re.compile(r"%%|%\(\w+\)[sd]|%[sd]|</?\w+>|\{\{|\}\}|\{\w+\}|`[^`]*`")
"""Also the code in backticks: what is typed stays as it is."""


def test_every_translation_has_the_placeholders_and_marks_of_its_text(catalogue: polib.POFile) -> None:
    for entry in catalogue:
        if entry.msgid_plural:
            assert list(entry.msgstr_plural) == [0], entry.msgid
            expected, given = entry.msgid_plural, entry.msgstr_plural[0]
        else:
            expected, given = entry.msgid, entry.msgstr
        assert sorted(PLACEHOLDER.findall(expected)) == sorted(PLACEHOLDER.findall(given)), entry.msgid


def test_the_compiled_catalogue_is_that_of_the_source(catalogue: polib.POFile) -> None:
    compiled = polib.mofile(str(FOLDER / "django.mo"))
    assert {entry.msgid: (entry.msgstr, entry.msgstr_plural) for entry in compiled} == {
        entry.msgid: (entry.msgstr, entry.msgstr_plural) for entry in catalogue
    }
    assert "nplurals=1" in compiled.metadata["Plural-Forms"]
