"""The consent: what an app may do, piece by piece, and which tools that means."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client as Web
from django.urls import reverse
from django.utils import timezone
from fastmcp import FastMCP
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer
from mcp_types import ToolAnnotations

from ovauth import tools
from ovauth.conf import BUNDLED_SERVER, Scope
from ovauth.flows import approval, blocking
from ovauth.models import BlockedClient, Client, Grant, PendingAuthorization
from ovauth.resource import loading
from ovauth.roles import Role
from ovauth.tools import Oddity, Tool
from tests.conftest import Person, begun, connected, registered, works
from tests.web.test_console import VERIFY, decide, shown_code, signed_in, text

pytestmark = pytest.mark.django_db


@pytest.fixture
def web(client: Web) -> Web:
    client.cookies["ovauth_browser"] = "browser"
    return client


def page_of(pending_id: str) -> str:
    return f"{reverse('code_page')}?pending={pending_id}"


def boxes(page: str) -> dict[str, bool]:
    """The scopes that can be ticked, and whether they are."""
    found = re.findall(r'<input type="checkbox" form="decision" name="scope" value="(\w+)"( checked)?', page)
    return {name: bool(checked) for name, checked in found}


# ------------------------------------------------------------------ scopes


@pytest.mark.parametrize("here", [True, False], ids=["code page", "console"])
def test_every_scope_begins_ticked_and_what_stays_ticked_is_granted(web: Web, alice: Person, here: bool) -> None:
    pending = begun(registered(), scope="mcp fs admin")
    signed_in(web, alice)
    if here:
        assert boxes(text(web.get(page_of(pending)))) == {"mcp": True, "fs": True, "admin": True}
        web.post(page_of(pending), {"action": "approve", "scope": ["fs", "admin"]})
    else:
        assert len(boxes(text(web.post(VERIFY, {"code": shown_code(pending)})))) == 3
        web.post(VERIFY, {"code": shown_code(pending), "action": "approve", "scope": ["fs", "admin"]})
    assert Grant.objects.get().scope == "fs admin"


@pytest.mark.parametrize("here", [True, False], ids=["code page", "console"])
@pytest.mark.parametrize("sent", [[], ["nonsense"]], ids=["none", "unknown"])
def test_with_nothing_ticked_nothing_is_approved_and_the_page_says_so(
    web: Web, alice: Person, here: bool, sent: list[str]
) -> None:
    pending = begun(registered(), scope="mcp fs")
    signed_in(web, alice)
    form: dict[str, Any] = {"action": "approve", "scope": sent}
    answer = web.post(page_of(pending), form) if here else web.post(VERIFY, form | {"code": shown_code(pending)})
    assert answer.status_code == 400
    page = text(answer)
    assert "Leave at least one of the permissions ticked" in page
    assert "<title>Error:" in page
    assert boxes(page) == {"mcp": False, "fs": False}
    assert page.count(" autofocus") == 1
    assert PendingAuthorization.objects.get().decision == ""


def test_the_operators_own_sentence_is_shown_and_in_chinese_where_there_is_one(
    web: Web, alice: Person, configure: Callable[..., Any]
) -> None:
    configure(
        scopes=(
            Scope("mcp", "use its tools as you", Role.USER),
            Scope("notes", "read your notes", Role.USER, "读取你的笔记"),
            Scope("more", "do more", Role.USER),
        )
    )
    pending = begun(registered(), scope="mcp notes more")
    signed_in(web, alice)
    english = text(web.get(page_of(pending)))
    chinese = text(web.get(page_of(pending), headers={"Accept-Language": "zh-CN"}))
    assert "read your notes" in english
    assert "读取你的笔记" not in english
    assert "读取你的笔记" in chinese
    assert "use its tools as you" not in chinese  # ovauth's own words, which it translates by itself
    assert "do more" in chinese


def test_an_app_that_is_connected_already_says_so_and_what_is_new(web: Web, alice: Person, bob: Person) -> None:
    app = registered()
    connected(app, alice.by_session, scope="mcp")
    pending = begun(app, scope="mcp fs")
    asked_by_alice = text(signed_in(web, alice).get(page_of(pending)))
    assert "<dt>Connected already</dt><dd>Last approved just now. It stays one connection in your list." in asked_by_alice
    assert "It asks for more than before." in asked_by_alice
    assert re.findall(r"<span>([^<]*) <span class=\"tag\">new</span>", asked_by_alice) == [
        "read and write files through its tools"
    ]
    web.logout()
    web.cookies["ovauth_browser"] = "browser"
    asked_by_bob = text(signed_in(web, bob).get(page_of(pending)))
    assert "Connected already" not in asked_by_bob
    assert ">new<" not in asked_by_bob
    web.logout()
    web.cookies["ovauth_browser"] = "browser"
    again = text(signed_in(web, alice).get(page_of(begun(app, scope="mcp"))))
    assert "It asks for nothing new." in again
    assert ">new<" not in again


def test_a_client_that_the_operator_knows_is_marked(web: Web, alice: Person) -> None:
    app = registered()
    signed_in(web, alice)
    assert "not verified" in text(web.get(page_of(begun(app))))
    Client.objects.update(approved_at=timezone.now())
    page = text(web.get(page_of(begun(app))))
    assert "known to the operator here" in page
    assert "not verified" not in page


def test_scopes_that_were_not_asked_for_are_ignored(web: Web, alice: Person) -> None:
    pending = begun(registered(), scope="mcp fs")
    signed_in(web, alice).post(page_of(pending), {"action": "approve", "scope": ["fs", "admin", "nonsense"]})
    assert Grant.objects.get().scope == "fs"


def test_what_the_role_does_not_allow_is_shown_as_such_and_cannot_be_ticked(web: Web, bob: Person) -> None:
    pending = begun(registered(), scope="mcp fs admin")
    page = text(signed_in(web, bob).get(page_of(pending)))
    assert boxes(page) == {"mcp": True, "fs": True}
    assert re.search(r'use its administrative tools <span class="tag">not with your role', page)
    web.post(page_of(pending), {"action": "approve", "scope": ["mcp", "admin"]})
    assert Grant.objects.get().scope == "mcp"


def test_a_role_that_allows_nothing_of_it_is_offered_no_approve(web: Web, bob: Person) -> None:
    pending = begun(registered(), scope="admin")
    page = text(signed_in(web, bob).get(page_of(pending)))
    assert "Your role does not allow any of what this app asks for." in page
    assert 'value="approve"' not in page
    assert 'value="deny"' in page


def test_a_single_scope_has_no_box_and_is_granted_without(web: Web, alice: Person) -> None:
    pending = begun(registered())
    assert boxes(text(signed_in(web, alice).get(page_of(pending)))) == {}
    web.post(page_of(pending), {"action": "approve"})
    assert Grant.objects.get().scope == "mcp"


def test_an_untrusted_name_leaves_the_ticks_as_they_were_sent(web: Web, alice: Person) -> None:
    impostor = registered(client_name="Claude", redirect_uris=["https://evil.example/cb"])
    pending = begun(impostor, scope="mcp fs")
    answer = signed_in(web, alice).post(page_of(pending), {"action": "approve", "scope": ["fs"]})
    assert answer.status_code == 400
    assert "Tick the box if you are certain" in text(answer)
    assert boxes(text(answer)) == {"mcp": False, "fs": True}


def test_deny_needs_no_tick(web: Web, alice: Person) -> None:
    pending = begun(registered(), scope="mcp fs")
    assert decide(signed_in(web, alice), shown_code(pending), "deny").status_code == 303
    assert PendingAuthorization.objects.get().decision == "denied"


def test_programs_that_name_no_scopes_grant_all_of_them(alice: Person, client_app: Client) -> None:
    approval.approve(authority=alice.by_key, pending_id=begun(client_app, scope="mcp fs"))
    assert Grant.objects.get().scope == "mcp fs"


# ------------------------------------------------------------------ tools


@pytest.fixture
def offered() -> Iterator[Callable[..., None]]:
    """Says what the MCP server offers, for one test."""
    before = tools.served()
    yield lambda *found: tools.announce("notes", found)
    tools._served = before


def tools_on(page: str) -> list[tuple[str, bool]]:
    """The names on the page in its order, and whether each is marked as one that may change things."""
    listed = re.search(r'<ul class="tools">(.*?)</ul>', page)
    one = r'<(strong|span) class="mono">(.*?)</(?:strong|span)>( <span class="tag careful">)?'
    found = re.findall(one, listed[1] if listed else "")
    assert all((tag == "strong") == bool(mark) for tag, _, mark in found)
    return [(name, bool(mark)) for _, name, mark in found]


def reviewed(web: Web, person: Person, scope: str = "mcp") -> str:
    web.post("/console/logout")
    return text(signed_in(web, person).get(page_of(begun(registered(), scope=scope))))


def test_the_tools_stand_by_name_and_those_that_change_things_come_first(
    web: Web, alice: Person, offered: Callable[..., None]
) -> None:
    offered(Tool("search_notes", "Search", False), Tool("add_note", "", False), Tool("delete_note", "", True))
    assert tools_on(reviewed(web, alice)) == [("delete_note", True), ("search_notes", False), ("add_note", False)]


def test_a_tool_that_none_of_the_scopes_opens_is_not_named(web: Web, alice: Person, bob: Person, offered: Any) -> None:
    offered(Tool("whoami", "", False), Tool("server_status", "", False, ("admin",)))
    assert tools_on(reviewed(web, alice)) == [("whoami", False)]
    assert tools_on(reviewed(web, alice, "mcp admin")) == [("whoami", False), ("server_status", False)]
    assert tools_on(reviewed(web, bob, "mcp admin")) == [("whoami", False)]


def test_of_many_tools_twelve_are_named_and_the_rest_counted(web: Web, alice: Person, offered: Any) -> None:
    offered(*(Tool(f"look_{number}", "", False) for number in range(14)), Tool("wipe", "", True))
    page = reviewed(web, alice)
    assert len(tools_on(page)) == 12
    assert tools_on(page)[0] == ("wipe", True)
    assert "and 3 more" in page


def test_a_tools_name_is_hostile_text(web: Web, alice: Person, offered: Any) -> None:
    offered(Tool("<b>x\u202eevil\u200b" + "y" * 100, "", False))
    [(name, _)] = tools_on(reviewed(web, alice))
    assert name.startswith("&lt;b&gt;xevily")
    assert len(name) < 60


def test_a_server_whose_tools_cannot_be_told_shows_none(web: Web, alice: Person, offered: Any) -> None:
    offered()
    tools.announce("somewhere", None)
    assert 'class="tools"' not in reviewed(web, alice)


def test_the_bundled_server_announces_its_tools(offered: Any) -> None:
    offered()
    loading.load(BUNDLED_SERVER)
    assert tools.served() == tools.Served(
        "bundled example",
        (
            Tool("whoami", "Who am I", False),
            Tool("compare_texts", "Compare two texts", False),
            Tool("server_status", "Server status", False, ("admin",)),
        ),
        own_name="ovauth example",
    )


annotated = MCPServer("annotated")
HINTS = {
    "unsaid": None,
    "wipes": ToolAnnotations(read_only_hint=False, destructive_hint=True),
    "adds": ToolAnnotations(read_only_hint=False, destructive_hint=False),
    "looks": ToolAnnotations(read_only_hint=True),
}
for each, hints in HINTS.items():
    annotated.add_tool(lambda: "", name=each, annotations=hints)

lowlevel: Server[Any] = Server("low-level")
fast = FastMCP("fast")
for each, hints in HINTS.items():
    fast.tool(lambda: "", name=each, annotations=hints)


@pytest.mark.parametrize("kind", ["annotated", "fast", "lowlevel"])
def test_a_server_that_nobody_named_is_odd(offered: Any, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    offered()
    unnamed = {"annotated": MCPServer(), "fast": FastMCP(), "lowlevel": Server("")}
    for own, odd in ((None, set()), (unnamed[kind], {Oddity.NO_NAME})):
        if own is not None:
            monkeypatch.setattr(f"tests.web.test_consent.{kind}", own)
        loading.load(f"tests.web.test_consent:{kind}")
        served = tools.served()
        assert served is not None
        assert served.odd == odd


@pytest.mark.parametrize("kind", ["annotated", "fast"])
def test_a_tool_that_does_not_say_otherwise_may_change_things(offered: Any, kind: str) -> None:
    offered()
    loading.load(f"tests.web.test_consent:{kind}")
    served = tools.served()
    assert served is not None
    told = {tool.name: tool.changes_things for tool in served.tools or ()}
    assert told == {"unsaid": True, "wipes": True, "adds": False, "looks": False}


# ------------------------------------------------------------------ “I did not start this”

BLOCK = "/console/verify/block"


def test_after_a_denial_in_the_console_the_app_can_be_blocked(web: Web, alice: Person, client_app: Client) -> None:
    signed_in(web, alice)
    page = text(web.get(decide(web, shown_code(begun(client_app)), "deny")["Location"]))
    assert f'action="{BLOCK}"' in page
    page = text(web.get(web.post(BLOCK, {"action": "block"})["Location"]))
    assert "“Test client” is blocked for everybody in acme." in page
    assert f'action="{BLOCK}"' not in page
    assert BlockedClient.objects.get().client == client_app


def test_after_an_approval_nothing_can_be_blocked(web: Web, alice: Person, client_app: Client) -> None:
    signed_in(web, alice)
    assert web.post(BLOCK).status_code == 400
    page = text(web.get(decide(web, shown_code(begun(client_app)), "approve")["Location"]))
    assert BLOCK not in page
    assert web.post(BLOCK).status_code == 400
    assert not BlockedClient.objects.exists()


def test_a_link_blocks_nothing(web: Web, alice: Person, client_app: Client) -> None:
    decide(signed_in(web, alice), shown_code(begun(client_app)), "deny")
    assert web.get(BLOCK).status_code == 405
    assert not BlockedClient.objects.exists()


def test_after_a_denial_on_the_code_page_the_app_can_be_blocked_before_the_page_goes_on(
    web: Web, bob: Person, client_app: Client
) -> None:
    here = page_of(begun(client_app))
    signed_in(web, bob)
    assert web.post(here, {"action": "block"}).status_code == 400
    web.post(here, {"action": "deny"})
    page = text(web.get(here))
    assert 'value="block"' in page
    assert "for everybody in your account" not in page
    assert web.post(here, {"action": "block"})["Location"] == here
    page = text(web.get(here))
    assert "“Test client” is blocked for bob." in page
    assert "error=access_denied" in page
    assert 'value="block"' not in page


def test_who_is_not_signed_in_blocks_nothing_and_is_not_asked(web: Web, client_app: Client) -> None:
    here = page_of(begun(client_app))
    web.post(here, {"action": "cancel"})
    assert 'value="block"' not in text(web.get(here))
    assert web.post(here, {"action": "block"}).status_code == 403
    assert not BlockedClient.objects.exists()


def test_a_blocked_app_is_not_approved_and_the_page_says_why(web: Web, alice: Person, client_app: Client) -> None:
    blocking.block(authority=alice.by_session, client_id=client_app.client_id)
    answer = signed_in(web, alice).post(page_of(begun(client_app)), {"action": "approve"})
    assert answer.status_code == 403
    assert "This app is blocked here: nothing can be approved for it." in text(answer)
    assert "Ask the operator to unblock the app." in text(answer)
    assert "start connecting again in this browser" not in text(answer)


@pytest.mark.parametrize("here", [True, False], ids=["code page", "console"])
@pytest.mark.parametrize("by", ["the account", "the person", "an operator"])
def test_the_review_of_a_blocked_app_says_so_and_offers_deny_alone(
    web: Web, alice: Person, bob: Person, client_app: Client, here: bool, by: str
) -> None:
    pending = begun(client_app, scope="mcp fs")
    if by == "an operator":
        Client.objects.update(blocked_at=timezone.now())
    else:
        who = alice if by == "the account" else bob
        blocking.block(authority=who.by_session, client_id=client_app.client_id)
    signed_in(web, bob)
    page = text(web.get(page_of(pending)) if here else web.post(VERIFY, {"code": shown_code(pending)}))
    assert "This app is blocked." in page
    said = {
        "the account": "for everybody in acme just now",
        "the person": "bob did not start",
        "an operator": "An operator",
    }
    assert said[by] in page
    assert "The operator can unblock it." in page
    assert boxes(page) == {}
    assert 'value="approve"' not in page
    assert 'value="deny"' in page


def test_who_denies_a_blocked_app_has_it_told_so_and_the_attempt_says_blocked(
    web: Web, alice: Person, bob: Person, client_app: Client
) -> None:
    blocking.block(authority=alice.by_session, client_id=client_app.client_id)
    here = page_of(begun(client_app))
    signed_in(web, bob).post(here, {"action": "deny"})
    assert "error=access_denied" in text(web.get(here))
    assert "The app is blocked, so nothing can be approved for it." in text(web.get("/console/attempts"))


def test_a_block_concerns_nobody_else(web: Web, bob: Person, charlie: Person, client_app: Client) -> None:
    blocking.block(authority=bob.by_session, client_id=client_app.client_id)
    page = text(signed_in(web, charlie).get(page_of(begun(client_app))))
    assert "This app is blocked." not in page
    assert 'value="approve"' in page


def test_what_is_unticked_for_an_app_that_is_connected_ends_for_it_at_once(
    web: Web, alice: Person, client_app: Client
) -> None:
    before = connected(client_app, alice.by_session, scope="mcp fs")
    here = page_of(begun(client_app, scope="mcp fs"))
    assert "What you untick ends for it at once." in text(signed_in(web, alice).get(here))
    web.post(here, {"action": "approve", "scope": ["mcp", "fs"]})
    assert works(before.access_token)
    again = page_of(begun(client_app, scope="mcp fs"))
    web.post(again, {"action": "approve", "scope": ["mcp"]})
    assert not works(before.access_token)
    assert "approved again with less" in text(web.get("/console/"))


def test_the_question_names_the_mcp_server_where_it_has_a_name(
    web: Web, alice: Person, client_app: Client, offered: Callable[..., None]
) -> None:
    offered()
    signed_in(web, alice)
    for own_name, asked in (("Notes", "use Notes (testserver) as you?"), ("", "use testserver as you?")):
        tools.announce("notes.app:mcp", None, own_name=own_name)
        assert f"Let “Test client” {asked}" in text(web.get(page_of(begun(client_app))))


@pytest.mark.parametrize(
    ("server", "own_name"),
    [
        (MCPServer("notes", title="My notes"), "My notes"),
        (MCPServer("notes"), "notes"),
        (MCPServer(), ""),
        (Server("low"), "low"),
        (FastMCP("fast"), "fast"),
        (FastMCP(), ""),
    ],
)
def test_a_server_calls_itself_by_its_title_or_else_by_its_name(
    offered: Any, monkeypatch: pytest.MonkeyPatch, server: Any, own_name: str
) -> None:
    offered()
    monkeypatch.setattr("tests.web.test_consent.annotated", server)
    loading.load("tests.web.test_consent:annotated")
    served = tools.served()
    assert served is not None
    assert served.own_name == own_name


@pytest.mark.parametrize(
    ("host", "began_at", "said"),
    [
        ("127.0.0.1:1933", "127.0.0.1", "An app on this computer asks, in another browser."),
        ("127.0.0.1:1933", "192.0.2.1", "An app on another computer asks."),
        ("ov.example.com", "127.0.0.1", "An app on another computer asks."),
    ],
)
def test_an_app_on_the_same_computer_is_said_to_be_there_when_both_came_by_loopback(
    web: Web, alice: Person, client_app: Client, settings: Any, host: str, began_at: str, said: str
) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    pending = begun(client_app)
    PendingAuthorization.objects.update(ip=began_at)
    page = text(signed_in(web, alice).post(VERIFY, {"code": shown_code(pending)}, headers={"Host": host}))
    assert said in page


def test_the_operator_unblocks_in_the_administration(web: Web, alice: Person, root: Person, client_app: Client) -> None:
    blocking.block(authority=alice.by_session, client_id=client_app.client_id)
    row = BlockedClient.objects.get()
    page = "/admin/ovauth/blockedclient/"
    chosen = {"action": "unblock", "_selected_action": [row.pk]}
    assert "everybody of the account" in text(signed_in(web, root).get(page))
    assert "Unblock these apps?" in text(web.post(page, chosen))
    assert BlockedClient.objects.exists()
    web.post(page, chosen | {"confirmed": "yes"})
    assert not BlockedClient.objects.exists()
