"""API keys, one-time passwords and other members' connections, in a browser without a screen."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client as Web
from django.utils import timezone

from ovauth.flows import accounts, approval, authorization, one_time_password
from ovauth.models import ApiKey, Client, Grant, Member, OneTimePassword
from tests.conftest import Person, begun, connected, registered, works

pytestmark = pytest.mark.django_db
KEYS, OTP, MEMBERS = "/console/keys", "/console/otp", "/console/members"


def signed_in(web: Web, person: Person) -> Web:
    web.force_login(person.member)
    return web


def text(answer: Any) -> str:
    assert "no-store" in answer.headers["cache-control"]
    return str(answer.content.decode())


@pytest.mark.parametrize("path", [KEYS, OTP, MEMBERS])
def test_these_pages_are_for_people_who_are_signed_in(client: Web, path: str) -> None:
    assert client.get(path)["location"].startswith("/console/login?next=")


def test_nobody_makes_a_secret_without_being_signed_in(client: Web) -> None:
    for path in (KEYS, OTP):
        assert client.post(path, {"action": "rotate"})["location"].startswith("/console/login?next=")


# ------------------------------------------------------------------ API keys


def test_a_key_is_known_by_its_last_four_characters_only(client: Web, bob: Person) -> None:
    shown = text(signed_in(client, bob).get(KEYS))
    assert f"ovk_…{bob.api_key[-4:]}" in shown
    assert bob.api_key not in shown


def test_before_a_key_is_replaced_the_page_says_what_will_end(client: Web, bob: Person, client_app: Client) -> None:
    other = registered(client_name="Approved in a session")
    by_key, by_session = connected(client_app, bob.by_key), connected(other, bob.by_session)
    asked = text(signed_in(client, bob).post(KEYS, {"action": "ask"}))
    assert "1 app that it approved" in asked
    assert "Approved in a session" not in asked
    assert works(bob.api_key)

    shown = text(client.post(KEYS, form_on(asked) | {"action": "rotate"}))
    found = re.search(r"<code>(ovk_[\w-]+)</code>", shown)
    assert found
    assert works(found[1])
    assert not works(bob.api_key)
    assert not works(by_key.access_token)
    assert works(by_session.access_token)
    assert found[1] not in text(client.get(KEYS))


def form_on(page: str) -> dict[str, str]:
    """The hidden field by which a form says which key was the newest when it was shown."""
    return {"newest": re.search(r'name="newest" value="(\d+)"', page)[1]}  # type: ignore[index]


@pytest.mark.parametrize("first", [True, False], ids=["the first key", "another key"])
def test_a_new_key_is_made_once_however_often_its_form_comes(client: Web, bob: Person, first: bool) -> None:
    signed_in(client, bob)
    if first:
        ApiKey.objects.update(revoked_at=timezone.now())
        form = form_on(text(client.get(KEYS)))
    else:
        form = form_on(text(client.post(KEYS, {"action": "ask"})))
    shown = text(client.post(KEYS, form | {"action": "rotate"}))
    for _ in range(2):  # the page with the new key is loaded again
        answer = client.post(KEYS, form | {"action": "rotate"})
        assert (answer.status_code, answer["location"]) == (303, KEYS)
    assert "This time nothing was replaced." in text(client.get(KEYS))
    assert works(re.search(r"<code>(ovk_[\w-]+)</code>", shown)[1])  # type: ignore[index]
    assert ApiKey.objects.filter(revoked_at=None).count() == 1


@pytest.mark.parametrize("newest", [None, "", "x", "-1"])
def test_a_form_that_does_not_say_what_it_replaces_replaces_nothing(client: Web, bob: Person, newest: str | None) -> None:
    form = {"action": "rotate"} | ({} if newest is None else {"newest": newest})
    assert signed_in(client, bob).post(KEYS, form).status_code == 400
    assert works(bob.api_key)


def test_a_reload_of_the_page_replaces_nothing(client: Web, bob: Person) -> None:
    signed_in(client, bob).get(KEYS, {"action": "rotate"})
    client.post(KEYS, {"action": "something else"})
    assert works(bob.api_key)


def test_a_form_from_elsewhere_replaces_nothing(bob: Person) -> None:
    strict = Web(enforce_csrf_checks=True)
    strict.force_login(bob.member)
    assert strict.post(KEYS, {"action": "rotate"}).status_code == 403
    assert works(bob.api_key)


# ------------------------------------------------------------------ one-time passwords


def test_a_one_time_password_is_made_on_demand_and_works_on_a_code_page(
    client: Web, bob: Person, client_app: Client
) -> None:
    before = text(signed_in(client, bob).get(OTP))
    assert "ABCDE" not in before
    assert "It works for 5 min from when it is made." in before
    found = re.search(r'data-code="([A-Z2-9]{5}-[A-Z2-9]{5})"', text(client.post(OTP, {"newest": newest_in(before)})))
    assert found
    pending_id = begun(client_app)
    approval.present_one_time_password(pending_id=pending_id, browser="browser", typed=found[1].lower())
    authority = approval.authority_on_page(pending_id=pending_id, browser="browser")
    assert authority is not None
    assert authority.member_pk == bob.member.pk


def newest_in(page: str) -> str:
    found = re.search(r'name="newest" value="(\d+)"', page)
    assert found
    return found[1]


def test_a_form_that_is_sent_again_makes_no_second_one_time_password(client: Web, bob: Person) -> None:
    """A reload of the page that shows it, or a browser that comes back to it."""
    form = {"newest": newest_in(text(signed_in(client, bob).get(OTP)))}
    assert "data-code=" in text(client.post(OTP, form))
    again = client.post(OTP, form, follow=True)
    assert again.redirect_chain == [(OTP, 303)]
    assert "A one-time password was made already" in text(again)
    assert "data-code=" not in text(again)
    assert OneTimePassword.objects.count() == 1
    assert "data-code=" in text(client.post(OTP, {"newest": newest_in(text(again))})), "asked for anew it is another one"
    assert OneTimePassword.objects.count() == 2


# ------------------------------------------------------------------ other members


def test_an_administrator_sees_and_ends_what_others_of_the_account_connected(
    client: Web, alice: Person, bob: Person, charlie: Person, client_app: Client
) -> None:
    ours, theirs, own = (connected(client_app, who.by_key) for who in (bob, charlie, alice))
    page = text(signed_in(client, alice).get(MEMBERS))
    assert "bob: Test client" in page
    assert "charlie" not in page
    assert page.count('name="connection"') == 1  # not her own either
    grant = Grant.objects.get(member=bob.member)
    answer = client.post("/console/members/disconnect", {"connection": grant.pk})
    assert (answer.status_code, answer["location"]) == (303, MEMBERS)
    assert "Stopped: “Test client” of bob. Its next request is refused." in text(client.get(MEMBERS))
    assert not works(ours.access_token)
    foreign = Grant.objects.get(member=charlie.member)
    client.post("/console/members/disconnect", {"connection": foreign.pk})
    assert "had ended already" in text(client.get(MEMBERS))
    assert works(theirs.access_token)
    assert works(own.access_token)


def test_a_user_sees_and_ends_nobody_elses(client: Web, alice: Person, bob: Person, client_app: Client) -> None:
    pair = connected(client_app, alice.by_key)
    assert signed_in(client, bob).get(MEMBERS).status_code == 403
    grant = Grant.objects.get(member=alice.member)
    assert client.post("/console/members/disconnect", {"connection": grant.pk}).status_code == 403
    assert works(pair.access_token)


@pytest.mark.parametrize("which", ["", "x", "-1", "1" * 30, "١"])
def test_a_form_about_no_connection_is_refused(client: Web, alice: Person, which: str) -> None:
    answer = signed_in(client, alice).post("/console/members/disconnect", {"connection": which})
    assert answer.status_code == 400


# ------------------------------------------------------------------ signing in without a password


def sign_in(web: Web, secret: str) -> Any:
    return web.post("/console/login", {"secret": secret, "next": KEYS})


def test_an_api_key_signs_in_and_its_session_ends_with_it(client: Web, bob: Person, client_app: Client) -> None:
    answer = sign_in(client, f" {bob.api_key} ")
    assert (answer.status_code, answer["location"]) == (303, KEYS)
    assert client.get(KEYS).status_code == 200
    code = begun_code(client_app)
    client.post("/console/verify", {"code": code, "action": "approve"})
    grant = Grant.objects.get()
    assert grant.api_key is not None  # what a session of a key approves hangs on the key
    assert grant.password_epoch is None
    client.post(KEYS, form_on(text(client.get(KEYS))) | {"action": "rotate"})
    assert client.get(KEYS)["location"].startswith("/console/login")
    assert not client.session.get("_auth_user_id")


def begun_code(client_app: Client) -> str:
    return authorization.look(pending_id=begun(client_app), browser="browser").display_code


def test_a_one_time_password_signs_in_once(client: Web, bob: Person) -> None:
    plain, _ = one_time_password.issue(authority=bob.by_session)
    assert sign_in(client, plain.lower()).status_code == 303
    assert client.get(KEYS).status_code == 200
    other = Web()
    assert sign_in(other, plain).status_code == 400
    assert other.get(KEYS)["location"].startswith("/console/login")


def test_a_session_of_a_one_time_password_hangs_on_the_key_that_asked_for_it(client: Web, bob: Person) -> None:
    plain, _ = one_time_password.issue(authority=bob.by_key)
    sign_in(client, plain)
    assert client.get(KEYS).status_code == 200
    accounts.rotate_api_key(account="acme", name="bob")
    assert client.get(KEYS)["location"].startswith("/console/login")


def test_what_works_no_more_signs_nobody_in(client: Web, bob: Person, clock: Callable[[float], None]) -> None:
    expired, _ = one_time_password.issue(authority=bob.by_session)
    of_an_old_key, _ = one_time_password.issue(authority=bob.by_key)
    old_key = bob.api_key
    accounts.rotate_api_key(account="acme", name="bob")
    assert sign_in(client, old_key).status_code == 400
    assert sign_in(client, of_an_old_key).status_code == 400
    clock(301)
    answer = sign_in(client, expired)
    assert answer.status_code == 400
    assert "wrong, used or expired" in text(answer)
    assert client.get(KEYS)["location"].startswith("/console/login")


def test_a_deactivated_user_signs_in_with_nothing(client: Web, bob: Person) -> None:
    bob.member.is_active = False
    bob.member.save()
    assert sign_in(client, bob.api_key).status_code == 400


def test_an_oauth_token_signs_nobody_in(client: Web, bob: Person, client_app: Client) -> None:
    assert sign_in(client, connected(client_app, bob.by_key).access_token).status_code == 400


def test_a_guesser_of_one_time_passwords_is_stopped(client: Web, bob: Person) -> None:
    answers = {sign_in(client, f"ABCDEFGH{a}{b}").status_code for a in "2345678" for b in "234567"}
    assert answers == {400, 429}
    assert sign_in(client, bob.api_key).status_code == 429


def test_the_hint_about_what_the_first_start_printed_stays_until_both_are_changed(client: Web, db: None) -> None:
    accounts.create_first_operator(lambda made: None)
    operator = Member.objects.get()
    client.force_login(operator)
    hint = text(client.get("/console/"))
    assert "may be kept in a log" in hint
    assert "Replace the API key" in hint
    accounts.rotate_api_key(account="default", name="operator")
    hint = text(client.get("/console/"))
    assert "may be kept in a log" in hint
    assert "Replace the API key" not in hint
    Member.objects.update(first_password=False)
    assert "may be kept in a log" not in text(client.get("/console/"))
