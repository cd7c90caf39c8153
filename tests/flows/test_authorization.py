"""The authorization endpoint: who may be answered, what waits, and who collects the result."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ovauth.errors import (
    Forbidden,
    Gone,
    InvalidRequest,
    InvalidScope,
    InvalidTarget,
    NotFound,
    OAuthRefusal,
    TooManyRequests,
    UnauthorizedClient,
    UnsupportedResponseType,
    UntrustedRedirect,
)
from ovauth.flows import approval, authorization
from ovauth.models import Client, PendingAuthorization
from tests.conftest import CALLBACK, CHALLENGE, ISSUER, RESOURCE, Person, begun, redeemed, registered, works

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock")]
Clock = Callable[[float], None]


def collect(pending: str, browser: str | None = "browser") -> authorization.Collected:
    return authorization.collect(pending_id=pending, browser=browser, issuer=ISSUER)


def sent(url: str | None) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(str(url)).query).items()}


# ------------------------------------------------------------------ destination


def test_a_registered_redirect_uri_is_a_destination_as_it_was_sent(client_app: Client) -> None:
    for uri in (CALLBACK, "http://127.0.0.1:1/callback", "http://127.0.0.1/callback"):
        found = authorization.destination(client_id=client_app.client_id, redirect_uri=uri)
        assert (found.client, found.redirect_uri) == (client_app, uri)


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:33418/callback/",
        "http://127.0.0.1:33418/Callback",
        "http://localhost:33418/callback",
        "http://127.0.0.1:33418/callback?x=1",
        "http://127.0.0.1:33418/callback#x",
        "https://127.0.0.1:33418/callback",
        "http://127.0.0.1:33418@evil.example/callback",
        "",
    ],
)
def test_any_other_is_none(client_app: Client, uri: str) -> None:
    with pytest.raises(UntrustedRedirect):
        authorization.destination(client_id=client_app.client_id, redirect_uri=uri)


def test_unknown_and_blocked_clients_are_answered_nowhere(client_app: Client) -> None:
    Client.objects.update(blocked_at=client_app.created_at)
    for client_id in (None, "", "unknown", client_app.client_id):
        with pytest.raises(UntrustedRedirect):
            authorization.destination(client_id=client_id, redirect_uri=CALLBACK)


def test_only_a_client_with_one_redirect_uri_may_leave_it_out(client_app: Client) -> None:
    assert authorization.destination(client_id=client_app.client_id, redirect_uri=None).redirect_uri == CALLBACK
    two = registered(redirect_uris=[CALLBACK, "https://app.example/cb"])
    with pytest.raises(UntrustedRedirect):
        authorization.destination(client_id=two.client_id, redirect_uri=None)


# ------------------------------------------------------------------ begin


@pytest.mark.parametrize(
    ("wrong", "refusal"),
    [
        ({"response_type": None}, InvalidRequest),
        ({"response_type": "token"}, UnsupportedResponseType),
        ({"state": "x" * 4097}, InvalidRequest),
        ({"code_challenge": None}, InvalidRequest),
        ({"code_challenge": "short"}, InvalidRequest),
        ({"code_challenge_method": None}, InvalidRequest),
        ({"code_challenge_method": "plain"}, InvalidRequest),
        ({"scope": "nothing known"}, InvalidScope),
        ({"resource": ("https://other.example/mcp",)}, InvalidTarget),
    ],
)
def test_a_faulty_request_opens_nothing(client_app: Client, wrong: dict[str, Any], refusal: type[OAuthRefusal]) -> None:
    good: dict[str, Any] = {
        "to": authorization.destination(client_id=client_app.client_id, redirect_uri=CALLBACK),
        "response_type": "code",
        "state": "st",
        "scope": None,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "resource": (),
        "issuer": ISSUER,
        "browser": "browser",
    }
    with pytest.raises(refusal):
        authorization.begin(**good | wrong)
    assert not PendingAuthorization.objects.exists()
    authorization.begin(**good)


def test_a_client_without_the_code_grant_opens_nothing(client_app: Client) -> None:
    Client.objects.update(grant_types=["refresh_token"])
    client_app.refresh_from_db()
    with pytest.raises(UnauthorizedClient):
        begun(client_app)


def test_a_flood_of_one_client_from_one_address_is_stopped_and_others_are_not(client_app: Client) -> None:
    for _ in range(120):
        begun(client_app)
    with pytest.raises(TooManyRequests):
        begun(client_app)
    assert begun(registered())


def test_living_requests_have_different_codes(client_app: Client) -> None:
    codes = {authorization.look(pending_id=begun(client_app), browser="browser").display_code for _ in range(50)}
    assert len(codes) == 50


def test_a_code_in_use_is_given_to_no_second_request(client_app: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from ovauth import credentials

    monkeypatch.setattr(credentials, "display_code", lambda key, pending_id, attempt: f"AAAAA{'BCDEFGHJ'[attempt]}")
    assert [authorization.look(pending_id=begun(client_app), browser="browser").display_code for _ in range(3)] == [
        "AAA-AAB",
        "AAA-AAC",
        "AAA-AAD",
    ]


# ------------------------------------------------------------------ look


def test_the_page_shows_the_same_code_at_every_look_and_programs_never_see_it(bob: Person, client_app: Client) -> None:
    pending = begun(client_app, scope="mcp fs")
    first, second = (authorization.look(pending_id=pending, browser="browser") for _ in range(2))
    assert first == second
    assert first.scopes == ("mcp", "fs")
    assert first.is_loopback
    assert approval.review(authority=bob.by_key, pending_id=pending).display_code == ""


@pytest.mark.parametrize("ask", [authorization.look, lambda **which: collect(which["pending_id"], which["browser"])])
def test_only_the_browser_that_began_and_only_in_time(client_app: Client, clock: Clock, ask: Callable[..., Any]) -> None:
    pending = begun(client_app)
    for browser in ("another", "", None):
        with pytest.raises(Forbidden):
            ask(pending_id=pending, browser=browser)
    with pytest.raises(NotFound):
        ask(pending_id="unknown", browser="browser")
    clock(599)
    ask(pending_id=pending, browser="browser")
    clock(1)
    with pytest.raises(Gone):
        ask(pending_id=pending, browser="browser")


# ------------------------------------------------------------------ collect


def test_before_the_decision_there_is_nothing_to_collect(client_app: Client) -> None:
    assert collect(begun(client_app)) == authorization.Collected("pending")


def test_an_approval_goes_to_the_client_with_code_state_and_issuer(bob: Person, client_app: Client) -> None:
    pending = begun(client_app, state="a state & more")
    approval.approve(authority=bob.by_key, pending_id=pending)
    collected = collect(pending)
    assert str(collected.redirect_url).startswith(CALLBACK + "?")
    told = sent(collected.redirect_url)
    assert (told.pop("state"), told.pop("iss")) == ("a state & more", ISSUER)
    assert works(redeemed(client_app, told.pop("code")).access_token, resource=RESOURCE)
    assert not told


def test_a_denial_goes_to_the_client_as_access_denied(bob: Person, client_app: Client) -> None:
    pending = begun(client_app)
    approval.deny(authority=bob.by_key, pending_id=pending)
    for _ in range(2):
        told = sent(collect(pending).redirect_url)
        assert (told["error"], told["state"], told["iss"]) == ("access_denied", "st", ISSUER)
        assert "code" not in told


def test_collected_again_it_is_the_same_url_until_the_code_is_redeemed(bob: Person, client_app: Client) -> None:
    pending = begun(client_app)
    approval.approve(authority=bob.by_key, pending_id=pending)
    urls = {collect(pending).redirect_url for _ in range(3)}
    (url,) = urls
    redeemed(client_app, sent(url)["code"])
    with pytest.raises(Gone):
        collect(pending)


def test_an_approval_waits_no_longer_than_a_code_lives(bob: Person, client_app: Client, clock: Clock) -> None:
    pending = begun(client_app)
    approval.approve(authority=bob.by_key, pending_id=pending)
    clock(299)
    url = collect(pending).redirect_url
    clock(299)
    assert collect(pending).redirect_url == url
    clock(1)
    with pytest.raises(Gone):
        collect(pending)


def test_no_state_asked_no_state_told(bob: Person, client_app: Client) -> None:
    pending = begun(client_app, state=None)
    approval.approve(authority=bob.by_key, pending_id=pending)
    assert "state" not in sent(collect(pending).redirect_url)
