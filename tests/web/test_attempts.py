"""Why an app did not connect: each attempt with the step where it ended, for the person who started it."""

import re
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.test import Client as Web
from django.utils import timezone

from ovauth.flows import attempts, blocking, limits
from ovauth.models import AuditEvent, Client
from tests.conftest import CALLBACK, VERIFIER, Person, works
from tests.web.test_code_page import asked
from tests.web.test_console import signed_in, text

pytestmark = pytest.mark.django_db

PAGE = "/console/attempts"


@pytest.fixture
def web(client: Web) -> Web:
    return client


@pytest.fixture
def app(web: Web) -> Client:
    """An app that registered itself over HTTP, from this address."""
    body = {"client_name": "Notes", "redirect_uris": [CALLBACK]}
    answer = web.post("/register", body, content_type="application/json")
    assert answer.status_code == 201
    return Client.objects.get(client_id=answer.json()["client_id"])


def told(web: Web, **query: str) -> list[tuple[str, str]]:
    """Of each attempt on the page the state of its steps (done, Ended, open) and its sentence."""
    page = text(web.get(PAGE, query))
    rows = re.findall(r'<ol class="marks short">(.*?)</ol>\n<p>([^<]+)</p>', page, re.DOTALL)
    states = {"done": "d", "ended": "E", "": "."}
    return [
        ("".join(states[found[1] or ""] for found in re.findall(r'<li( class="(\w+)")?>', steps)), sentence)
        for steps, sentence in rows
    ]


def begun(web: Web, app: Client, **changes: str) -> str:
    return str(web.get("/authorize", asked(app, **changes))["Location"])


def code_of(web: Web, page: str) -> str:
    status = web.get(page.replace("/page?", "/page/status?")).json()
    return parse_qs(urlsplit(status["redirect_url"]).query)["code"][0]


def redeem(web: Web, app: Client, code: str, **changes: str) -> Any:
    form = {
        "grant_type": "authorization_code",
        "client_id": app.client_id,
        "code": code,
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
    }
    return web.post("/token", urlencode(form | changes), content_type="application/x-www-form-urlencoded")


def test_an_attempt_is_told_step_by_step_up_to_the_first_call(web: Web, alice: Person, app: Client) -> None:
    signed_in(web, alice)
    assert told(web) == [("d....", "It is registered, and has not asked for access yet.")]
    page = begun(web, app)
    assert told(web) == [("dd...", "It waits for your approval.")]
    web.post(page, {"action": "approve"})
    assert told(web) == [("ddd..", "It is approved, and has not fetched its tokens yet.")]
    tokens = redeem(web, app, code_of(web, page)).json()
    assert told(web) == [("dddd.", "It is connected, and has not called yet.")]
    assert works(tokens["access_token"])
    assert told(web) == [("ddddd", "It is connected, and has called.")]


def test_a_denial_and_silence_are_where_an_attempt_ends(clock: Any, web: Web, alice: Person, app: Client) -> None:
    signed_in(web, alice)
    web.post(begun(web, app), {"action": "deny"})
    assert told(web) == [("ddE..", "It was denied. Nothing was shared.")]
    begun(web, app)
    clock(601)
    assert told(web)[0] == ("ddE..", "Nobody approved it in time. Nothing was shared.")
    web.post(begun(web, app), {"action": "approve"})
    clock(301)
    assert told(web)[0] == ("dddE.", "It was approved, and never fetched its tokens.")
    assert len(told(web)) == 3


def test_an_attempt_of_a_blocked_app_says_so(web: Web, alice: Person, bob: Person, app: Client) -> None:
    signed_in(web, bob)
    page = begun(web, app)
    blocking.block(authority=alice.by_session, client_id=app.client_id)
    assert told(web) == [("ddE..", "The app is blocked, so nothing can be approved for it. The operator can unblock it.")]
    web.post(page, {"action": "deny"})
    assert told(web) == [("ddE..", "The app is blocked, so nothing can be approved for it. The operator can unblock it.")]
    Client.objects.update(blocked_at=timezone.now())
    assert "Ask the operator to unblock the app." in text(web.get("/authorize", asked(app)))
    assert told(web)[0] == ("dE...", "The app is blocked, so its link was refused. The operator can unblock it.")


def test_a_refused_link_is_found_by_the_reference_of_its_page_by_whoever_has_it(
    web: Web, alice: Person, charlie: Person, app: Client
) -> None:
    refused = text(web.get("/authorize", asked(app, redirect_uri="https://evil.example/")))
    reference = re.search(r'Reference 400 · <span class="mono">(\w+)<', refused)[1]  # type: ignore[index]
    signed_in(web, alice)
    assert told(web)[0] == ("dE...", "Its link was refused. Nothing was shared.")
    web.post("/console/logout")
    elsewhere = {"REMOTE_ADDR": "192.0.2.9"}
    web.post("/console/login", {"username": "charlie", "password": charlie.password}, **elsewhere)
    assert "Notes" not in text(web.get(PAGE, **elsewhere))
    assert "unregistered redirect_uri: it differs in the scheme" in text(
        web.get(PAGE, {"reference": reference}, **elsewhere)
    )
    assert "Nothing is noted under this reference" in text(web.get(PAGE, {"reference": "unknown"}, **elsewhere))


def test_a_code_that_is_refused_says_why(web: Web, alice: Person, app: Client) -> None:
    signed_in(web, alice)
    page = begun(web, app)
    web.post(page, {"action": "approve"})
    assert redeem(web, app, code_of(web, page), code_verifier="x" * 43).status_code == 400
    assert told(web) == [("dddE.", "It was approved, and then the code that it brought was refused.")]
    assert "code_verifier does not match" in text(web.get(PAGE))


def test_what_an_app_asks_wrongly_is_told_too(web: Web, alice: Person, app: Client) -> None:
    begun(web, app, code_challenge_method="plain")
    assert told(signed_in(web, alice))[0] == ("dE...", "Its link was refused. Nothing was shared.")


def test_others_at_the_same_address_are_not_told_who_approved(web: Web, alice: Person, bob: Person, app: Client) -> None:
    signed_in(web, alice)
    page = begun(web, app)
    web.post(page, {"action": "approve"})
    web.post("/console/logout")
    assert "alice" not in text(signed_in(web, bob).get(PAGE))


def test_strangers_note_nothing_and_nobody_notes_without_end(web: Web, client_app: Client) -> None:
    web.get("/authorize", {"client_id": "unknown", "redirect_uri": "https://evil.example/"})
    assert not AuditEvent.objects.filter(event="authorization.refused").exists()
    for _ in range(limits.REFUSED_BY_CLIENT_AND_ADDRESS.most + 5):
        assert web.get("/authorize", asked(client_app, redirect_uri="https://evil.example/")).status_code == 400
    noted = AuditEvent.objects.filter(event="authorization.refused")
    assert noted.count() == limits.REFUSED_BY_CLIENT_AND_ADDRESS.most


def test_a_refusal_is_told_even_if_it_cannot_be_noted(
    web: Web, client_app: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import OperationalError

    def locked(*_: object, **__: object) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr(limits, "count", locked)
    assert web.get("/authorize", asked(client_app, redirect_uri="https://evil.example/")).status_code == 400


def test_an_app_that_is_gone_is_not_spoken_of(alice: Person, web: Web, app: Client) -> None:
    begun(web, app)
    app.delete()
    assert attempts.recent(member_pk=alice.member.pk, sign_in_name="acme/alice", ip="127.0.0.1") == []
