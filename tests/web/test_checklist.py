"""The console's home for somebody whose first app is on its way: what to do in which app, and marks that tick."""

import base64
import json
import re
import shlex
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from django.test import Client as Web

from ovauth import statements, tools
from ovauth.flows import progress
from ovauth.models import Grant, Tally
from ovauth.provenance import Provenance, serving
from ovauth.tools import Oddity, Tool
from ovauth.web import connecting
from tests.conftest import CALLBACK, Person, approved, begun, connected, redeemed, registered, works
from tests.web.test_console import HOME, signed_in, text

pytestmark = pytest.mark.django_db

PROGRESS = "/console/progress"
METADATA = "/.well-known/oauth-protected-resource"
IN_ORDER = ("found", "registered", "asked", "approved", "called")
HTTPS = "https://ov.example.com/mcp"


@pytest.fixture
def web(client: Web) -> Web:
    return client


def ticked(web: Web) -> tuple[str, ...]:
    """The marks that are passed, as the script and the page are told alike, in their order."""
    marks = web.get(PROGRESS).json()
    assert tuple(marks) == IN_ORDER
    done = tuple(name for name in IN_ORDER if marks[name])
    on_page = tuple(re.findall(r'<li data-mark="(\w+)" class="done">', text(web.get(HOME))))
    assert on_page == done
    return done


def registered_from(ip: str) -> Any:
    with serving(Provenance(ip=ip, request_id="r")):
        return registered()


# ------------------------------------------------------------------ marks


def test_nothing_is_ticked_before_anything_happened(web: Web, alice: Person) -> None:
    assert ticked(signed_in(web, alice)) == ()


def test_each_step_ticks_its_mark_and_after_the_first_call_the_apps_are_listed(web: Web, alice: Person) -> None:
    signed_in(web, alice).get(HOME)
    web.get(METADATA)
    assert ticked(web) == IN_ORDER[:1]
    answer = web.post("/register", json.dumps({"redirect_uris": [CALLBACK]}), content_type="application/json")
    assert answer.status_code == 201
    assert ticked(web) == IN_ORDER[:2]
    app = registered_from("127.0.0.1")
    with serving(Provenance(ip="127.0.0.1", request_id="r")):
        begun(app)
    assert ticked(web) == IN_ORDER[:3]
    code = approved(app, alice.by_session)
    assert ticked(web) == IN_ORDER[:4]
    assert "Connect your first app" in text(web.get(HOME))
    tokens = redeemed(app, code)
    assert ticked(web) == IN_ORDER[:4]
    waiting = text(web.get(HOME))
    assert "Connect your first app" not in waiting  # it is connected, and has not called
    assert "Waiting for the first call" in waiting
    assert works(tokens.access_token)
    assert web.get(PROGRESS).json()["called"] is True
    page = text(web.get(HOME))
    assert "Connect your first app" not in page
    assert "Waiting for the first call" not in page
    assert "data-progress" not in page
    assert "Connected apps" in page


def test_what_happens_at_another_address_ticks_nothing_but_ones_own_approval_does(
    web: Web, alice: Person, bob: Person
) -> None:
    signed_in(web, alice).get(HOME)
    web.get(METADATA, REMOTE_ADDR="203.0.113.9")
    elsewhere = registered_from("203.0.113.9")
    approved(elsewhere, bob.by_session)
    assert ticked(web) == ()
    approved(elsewhere, alice.by_session)
    assert ticked(web) == IN_ORDER[:4]


def test_an_hour_later_the_list_begins_anew(web: Web, alice: Person, clock: Any) -> None:
    signed_in(web, alice).get(HOME)
    web.get(METADATA)
    registered_from("127.0.0.1")
    assert ticked(web) == IN_ORDER[:2]
    clock(3601)
    assert ticked(web) == ()


def test_an_approval_that_was_taken_back_is_no_progress(web: Web, alice: Person) -> None:
    connected(registered(), alice.by_session)
    signed_in(web, alice).post("/console/disconnect", {"connection": Grant.objects.get().pk})
    assert ticked(web) == ()


def test_whoever_reads_how_to_connect_writes_nothing_where_nobody_waits(web: Web, alice: Person) -> None:
    for number in range(5):
        assert web.get(METADATA, REMOTE_ADDR=f"203.0.113.{number}").status_code == 200
    assert not Tally.objects.exists()
    for _ in range(2):
        progress.of(member_pk=alice.member.pk, ip="127.0.0.1", watch=True)
    for _ in range(3):
        web.get(METADATA)
    assert Tally.objects.get().count == 1


def test_discovery_answers_even_when_nothing_can_be_noted(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import OperationalError

    def locked(**_: object) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr(statements.TALLY, "row", locked)
    assert web.get(METADATA).status_code == 200


def test_the_marks_are_told_to_nobody_who_is_not_signed_in(web: Web) -> None:
    assert web.get(PROGRESS).status_code == 401


def test_without_oauth_there_is_no_checklist(web: Web, alice: Person, configure: Any) -> None:
    configure(enabled=False)
    page = text(signed_in(web, alice).get(HOME))
    assert "data-progress" not in page
    assert 'name="app"' not in page
    assert "http://testserver/mcp" in page


# ------------------------------------------------------------------ apps


def way(app: str, url: str = HTTPS) -> connecting.Way:
    return next(found for found in connecting.ways(url) if found.app == app)


def test_every_app_has_its_section_with_the_real_address_and_one_copy_button(web: Web, alice: Person) -> None:
    page = text(signed_in(web, alice).get(HOME, secure=True, headers={"Host": "ov.example.com"}))
    sections = re.findall(r'<details name="app"(?: open)?>(.*?)</details>', page, re.DOTALL)
    apps = [re.search(r"<summary>([\w ]+?) ?[<]", section)[1] for section in sections]  # type: ignore[index]
    assert apps == ["Claude", "Claude Code", "Cursor", "VS Code", "ChatGPT", "Inspector", "curl"]
    for section in sections:
        assert HTTPS in section
        assert section.count("data-copy=") == 1


def test_an_app_that_cannot_reach_this_address_is_offered_nothing_to_copy(web: Web, alice: Person, root: Person) -> None:
    page = text(signed_in(web, alice).get(HOME))
    sections = re.findall(r'<details name="app"(?: open)?>(.*?)</details>', page, re.DOTALL)
    without = [section for section in sections if "data-copy=" not in section]
    assert [re.search(r"<summary>([\w ]+?) ?[<]", section)[1] for section in without] == ["Claude", "ChatGPT"]  # type: ignore[index]
    assert all("Ask the operator for a public https address." in section for section in without)
    web.post("/console/logout")
    assert "OVAUTH_PUBLIC_BASE_URL=https://" in text(signed_in(web, root).get(HOME))


def test_the_link_for_cursor_holds_the_address_in_its_format() -> None:
    parts = urlsplit(way("Cursor").link)
    assert (parts.scheme, parts.netloc, parts.path) == ("cursor", "anysphere.cursor-deeplink", "/mcp/install")
    sent = parse_qs(parts.query, strict_parsing=True)
    assert sent["name"] == ["ovauth"]
    assert json.loads(base64.b64decode(sent["config"][0], validate=True)) == {"url": HTTPS}


def test_the_link_for_vs_code_holds_the_address_in_its_format() -> None:
    start, _, document = way("VS Code").link.partition("?")
    assert start == "vscode:mcp/install"
    assert json.loads(unquote(document)) == {"name": "ovauth", "type": "http", "url": HTTPS}


@pytest.mark.parametrize("app", ["Claude Code", "VS Code", "Inspector", "curl"])
def test_a_command_stays_one_command_whatever_the_address(app: str) -> None:
    odd = "https://ov.example.com/a;rm -rf $HOME/'`x`/mcp"
    words = shlex.split(way(app, odd).copied)
    assert len(words) == len(shlex.split(way(app).copied))
    assert any(odd in word or odd in json.loads(word).values() for word in words if odd in word or word.startswith("{"))


@pytest.mark.parametrize(
    ("url", "public"),
    [
        (HTTPS, True),
        ("http://ov.example.com/mcp", False),
        ("https://localhost:1933/mcp", False),
        ("https://127.0.0.1/mcp", False),
        ("https://[::1]:1933/mcp", False),
        ("http://127.0.0.1:1933/mcp", False),
    ],
)
def test_apps_that_call_from_the_internet_are_said_to_need_a_public_https_address(url: str, public: bool) -> None:
    assert connecting.is_public(url) is public
    opened = connecting.first_open(connecting.ways(url), public=public)
    assert opened == ("Claude" if public else "Claude Code")


def test_the_page_says_which_apps_cannot_connect_yet(web: Web, alice: Person) -> None:
    page = text(signed_in(web, alice).get(HOME))
    assert "Claude (web) and ChatGPT call from the internet and need a public https address." in page
    assert page.count("needs a public https address") == 2


# ------------------------------------------------------------------ what is served


def test_the_page_names_what_is_served_and_tells_operators_how_to_serve_their_own(
    web: Web, alice: Person, root: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "_served", None)
    tools.announce("notes.app:mcp", [Tool("a", "", False), Tool("b", "", True)])
    page = text(signed_in(web, alice).get(HOME))
    assert "<strong>notes.app:mcp</strong>, 2 tools" in page
    assert "OVAUTH_MCP_SERVER=" not in page
    web.post("/console/logout")
    assert "OVAUTH_MCP_SERVER=" in text(signed_in(web, root).get(HOME))
    tools.announce("notes.app:mcp", [])
    assert "It has no tools" in text(web.get(HOME))
    tools.announce("notes.app:mcp", None)
    assert "It has no tools" not in text(web.get(HOME))


def test_operators_are_told_of_both_ways_to_serve_their_own(
    web: Web, root: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "_served", None)
    tools.announce("notes.app:mcp", [])
    page = text(signed_in(web, root).get(HOME))
    assert "OVAUTH_MCP_SERVER=notes.app:mcp uv run manage.py serve" in page
    assert "OVAUTH_UPSTREAM_MCP_URL=http://127.0.0.1:8000/mcp uv run manage.py serve" in page


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (Oddity.NO_NAME, "It has no name"),
        (Oddity.WANTS_A_KEY, "OVAUTH_UPSTREAM_API_KEY"),
        (Oddity.SILENT, "It does not answer as an MCP server."),
    ],
)
def test_what_is_odd_about_the_server_is_told_to_operators_alone(
    web: Web, alice: Person, root: Person, monkeypatch: pytest.MonkeyPatch, odd: Oddity, said: str
) -> None:
    monkeypatch.setattr(tools, "_served", None)
    tools.announce("http://127.0.0.1:8000/mcp", None, [odd])
    assert said not in text(signed_in(web, alice).get(HOME))
    web.post("/console/logout")
    page = text(signed_in(web, root).get(HOME))
    assert said in page
    tools.announce("http://127.0.0.1:8000/mcp", None)
    assert said not in text(web.get(HOME))
