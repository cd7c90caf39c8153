"""The list of connected apps: which is which, what each may do, and what is odd about it."""

import re
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client as Web
from django.utils import timezone

from ovauth import tools
from ovauth.flows import approval, connections
from ovauth.models import Client, Grant, PendingAuthorization
from ovauth.tools import Tool
from tests.conftest import Person, begun, connected, registered, works
from tests.web.test_console import HOME, signed_in, text

pytestmark = pytest.mark.django_db

CHROME = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
)


@pytest.fixture
def web(client: Web) -> Web:
    return client


def rows(web: Web, path: str = HOME) -> list[str]:
    """Each row of the list, without its tags."""
    page = text(web.get(path))
    found = re.search(r'<ul class="connections">(.*?)\n</ul>', page, re.DOTALL)
    items = found[1].split("<li>\n  <div><h3>")[1:] if found else []
    return [re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", item)).replace("\xa0", " ") for item in items]


def test_two_connections_of_one_name_are_told_apart(web: Web, alice: Person, clock: Any) -> None:
    for _ in range(2):
        connected(registered(client_name="Claude Code"), alice.by_key)
        clock(3600)
    first, second = rows(signed_in(web, alice))
    assert "Connected 1 hour ago" in first
    assert "Connected 2 hours ago" in second
    numbers = [re.search(r"connection (\d+)", row)[1] for row in (first, second)]  # type: ignore[index]
    assert numbers == [str(grant.pk) for grant in Grant.objects.order_by("-created_at")]
    buttons = re.findall(r'aria-label="(Disconnect [^"]+)"', text(web.get(HOME)))
    assert buttons == [f"Disconnect Claude Code, connection {number}" for number in numbers]


def test_a_row_says_where_the_connection_began_and_in_which_browser(web: Web, alice: Person, client_app: Client) -> None:
    connected(client_app, alice.by_session)
    Grant.objects.update(asked_from_ip="192.0.2.1", asked_by=CHROME)
    (row,) = rows(signed_in(web, alice))
    assert "Connected just now from 192.0.2.1 · Chrome on macOS" in row
    assert "Not used yet" in row


def test_an_approval_keeps_where_its_request_began(alice: Person, client_app: Client) -> None:
    pending = begun(client_app)
    PendingAuthorization.objects.filter(public_id=pending).update(ip="192.0.2.1", user_agent=CHROME)
    approval.approve(authority=alice.by_session, pending_id=pending)
    grant = Grant.objects.get()
    assert (grant.asked_from_ip, grant.asked_by) == ("192.0.2.1", CHROME)


def test_a_row_says_what_the_app_may_do_and_when_it_ends(
    web: Web, alice: Person, client_app: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "_served", None)
    tools.announce("x", [Tool("search", "", False), Tool("erase", "", True), Tool("rule", "", True, ("admin",))])
    connected(client_app, alice.by_session)
    (row,) = rows(signed_in(web, alice))
    assert "use its tools as you" in row
    assert "erase may change things search" in row
    assert "rule" not in row
    assert "Ends by itself in 4 weeks, unless it is used." in row


def test_what_is_unused_for_thirty_days_is_marked(web: Web, alice: Person, client_app: Client, configure: Any) -> None:
    connected(client_app, alice.by_session)
    month = timezone.now() - timedelta(days=30, minutes=1)
    Grant.objects.update(created_at=month)
    assert "unused for 30 days" in rows(signed_in(web, alice))[0]
    Grant.objects.update(last_used_at=timezone.now() - timedelta(days=29))
    assert "unused for 30 days" not in rows(web)[0]


def test_what_an_operator_blocked_stays_in_sight(web: Web, alice: Person, client_app: Client) -> None:
    tokens = connected(client_app, alice.by_key)
    Client.objects.update(blocked_at=timezone.now())
    assert not works(tokens.access_token)
    assert "blocked by the operator" in rows(signed_in(web, alice))[0]
    assert "Test client" not in text(web.post("/console/keys", {"action": "ask"}))  # nothing would end that works


def test_a_connection_that_ended_says_why_and_that_its_app_tried_again_in_vain(
    web: Web, alice: Person, client_app: Client, clock: Any
) -> None:
    tokens = connected(client_app, alice.by_key)
    grant = Grant.objects.get()
    signed_in(web, alice).post("/console/disconnect", {"connection": grant.pk})
    assert "disconnected by its owner · just now" in text(web.get(HOME))
    assert "Tried again" not in text(web.get(HOME))
    form = urlencode(
        {"grant_type": "refresh_token", "client_id": client_app.client_id, "refresh_token": tokens.refresh_token}
    )
    clock(180)
    for _ in range(2):
        refused = web.post("/token", form, content_type="application/x-www-form-urlencoded")
        assert refused.json()["error"] == "invalid_grant"
    clock(120)
    assert "Tried again 2\xa0minutes ago, refused." in text(web.get(HOME))
    clock(86_400)
    assert "Ended within a day" not in text(web.get(HOME))


def test_the_app_of_a_living_connection_leaves_no_such_mark(alice: Person, client_app: Client) -> None:
    tokens = connected(client_app, alice.by_key)
    connections.tried_again(refresh_token=tokens.refresh_token or "")
    connections.tried_again(refresh_token="ovrt_unknown")
    assert Grant.objects.get().refused_at is None
