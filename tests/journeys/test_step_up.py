"""An app that needs more asks for more: 403, the wider request, one decision; and it stays one connection."""

import re
from collections.abc import Iterator
from typing import Any

import anyio
import httpx2
import pytest

from tests.journeys.people import Browser, OfficialClient, Person
from tests.serving import Server, running

SCOPES = "notes = read your notes; more = read more; admin (admin) = see how the server is"
NEEDS_MORE = "server_status"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    env = {"OVAUTH_SCOPES": SCOPES, "OVAUTH_DEFAULT_SCOPES": "more notes"}
    with running(data_dir=tmp_path_factory.mktemp("step_up"), env=env) as server:
        yield server


@pytest.fixture
def operator(server: Server) -> Person:
    return Person(server.url, server.operator_api_key)


def text_of(result: Any) -> str:
    return "".join(part.text for part in result.content)


def signed_in(server: Server) -> Browser:
    """A browser in which the operator is signed in."""
    browser = Browser(server.url)
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', browser.open("/console/login").text)
    assert token
    form = {"csrfmiddlewaretoken": token[1], "username": "operator", "password": server.operator_password}
    answer = browser.http.post("/console/login", data=form, headers={"referer": f"{server.url}/console/login"})
    assert answer.is_redirect, answer.text
    return browser


def connections_of(server: Server) -> list[list[str]]:
    """What each connection in the operator's list may do."""
    page = signed_in(server).open("/console/").text
    lists = [re.findall(r"<li>([^<]+)</li>", each) for each in re.findall(r'<ul class="may">(.*?)</ul>', page)]
    assert page.count('name="connection"') == len(lists)
    return lists


def test_who_needs_more_gets_it_by_one_decision_and_stays_one_connection(server: Server, operator: Person) -> None:
    official = OfficialClient(server.url, operator.approve, client_name="Steps")
    seen: list[httpx2.Response] = []

    async def journey() -> None:
        async with official.connected() as client:
            await client.call_tool("whoami", {})
            assert connections_of(server) == [["read your notes", "read more"]]
            assert '"python"' in text_of(await client.call_tool(NEEDS_MORE, {}))
            seen.extend(answer for answer in official.recorder.responses if answer.status_code == 403)

    anyio.run(journey)
    challenge = seen[0].headers["www-authenticate"]
    assert len(seen) == 1
    assert 'error="insufficient_scope"' in challenge
    assert 'scope="notes more admin"' in challenge
    assert [tokens.scope for tokens in official.storage.stored] == ["notes more", "notes more admin"]
    assert connections_of(server) == [["read your notes", "read more", "see how the server is"]]
    assert official.recorder.lines.count("201 POST /register") == 1


def test_who_is_denied_more_keeps_what_it_has(server: Server, operator: Person) -> None:
    decisions = iter((operator.approve, operator.deny))
    official = OfficialClient(server.url, lambda browser: next(decisions)(browser), client_name="Denied")
    before = len(connections_of(server))

    async def connect() -> None:
        async with official.connected() as client:
            await client.call_tool("whoami", {})
            await client.call_tool(NEEDS_MORE, {})

    with pytest.raises(BaseException):  # noqa: B017, PT011 the client wraps it in groups of its own
        anyio.run(connect)
    assert official.browser.result()["error"] == "access_denied"
    tokens = official.storage.tokens
    assert tokens is not None
    me = httpx2.get(f"{server.url}/api/v1/whoami", headers={"Authorization": f"Bearer {tokens.access_token}"})
    assert me.json()["scopes"] == ["notes", "more"]
    assert len(connections_of(server)) == before + 1
