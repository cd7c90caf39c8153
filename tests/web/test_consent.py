"""The consent: what an app may do, piece by piece, and which tools that means."""

import re
from typing import Any

import pytest
from django.test import Client as Web
from django.urls import reverse

from ovauth.flows import approval
from ovauth.models import Client, Grant, PendingAuthorization
from tests.conftest import Person, begun, registered
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
    assert PendingAuthorization.objects.get().decision == ""


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
