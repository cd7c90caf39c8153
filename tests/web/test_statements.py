"""How often each page asks the database: once for what it shows.

Before that a signed-in person costs two statements: the session, and the member with their account.
"""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client as Web
from django.test.utils import CaptureQueriesContext

from ovauth.models import Client
from tests.conftest import Person, begun, connected, registered
from tests.web.test_code_page import asked
from tests.web.test_console import HOME, VERIFY, shown_code, signed_in

pytestmark = pytest.mark.django_db

WHO = 2
"""Session and member."""


def statements(ask: Callable[[], Any], *, status: int = 200) -> int:
    with CaptureQueriesContext(connection) as seen:
        answer = ask()
    assert answer.status_code == status
    return len(seen)


@pytest.fixture
def page(client: Web, client_app: Client) -> str:
    """The address of a code page that waits in this browser."""
    return str(client.get("/authorize", asked(client_app))["Location"])


def test_a_stranger_costs_one_statement_at_most(client: Web, page: str) -> None:
    assert statements(lambda: client.get(page)) == 1
    assert statements(lambda: client.get(page.replace("/page?", "/page/status?"))) == 1
    assert statements(lambda: client.get("/console/login", {"next": page})) == 1
    assert statements(lambda: client.get("/console/login")) == 0
    assert statements(lambda: client.get("/nothing"), status=404) == 0
    # Once more for the note about it, which is for known apps alone.
    assert statements(lambda: client.get("/authorize", {"client_id": "unknown"}), status=400) == 2


def test_the_review_asks_for_the_request_for_the_connection_that_is_there_for_a_block_and_for_guesses(
    client: Web, alice: Person, client_app: Client, page: str
) -> None:
    signed_in(client, alice)
    code = shown_code(begun(client_app))
    assert statements(lambda: client.get(page)) == WHO + 3
    # Guesses by person and by address: looked at, and in a transaction a place in each is taken and given back.
    assert statements(lambda: client.post(VERIFY, {"code": code})) == WHO + 3 + 2 + 2 + 4


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("/console/keys", 1),
        ("/console/attempts", 2),  # events, and the grants that they are about
        ("/console/members", 1),
        ("/console/otp", 1),  # the newest, so that a form that is sent again makes none
        ("/console/password", 0),
        ("/console/verify", 0),
        ("/console/logout", 0),
    ],
)
def test_a_page_of_the_console_costs_one_statement(client: Web, alice: Person, path: str, own: int) -> None:
    signed_in(client, alice)
    assert statements(lambda: client.get(path)) == WHO + own


def test_the_home_asks_for_what_lives_for_what_ended_and_for_the_marks_until_the_first_call(
    client: Web, alice: Person, root: Person
) -> None:
    for number in range(5):
        connected(registered(client_name=f"App {number}"), alice.by_key)
    signed_in(client, alice).get(HOME)  # from now on it is noted who finds the server
    assert statements(lambda: client.get(HOME)) == WHO + 3
    assert statements(lambda: client.get("/console/progress")) == WHO + 1
    alice.member.grants.update(last_used_at=alice.member.created_at)
    assert statements(lambda: client.get(HOME)) == WHO + 2
    client.post("/console/logout")
    signed_in(client, root).get(HOME)
    assert statements(lambda: client.get(HOME)) == WHO + 4  # is the key that the first start printed still good?
