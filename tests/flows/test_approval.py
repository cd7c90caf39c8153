"""A person decides: the first decision stands, unknown and expired look alike, guessing ends."""

from collections.abc import Callable
from typing import Any

import pytest

from ovauth.errors import Conflict, Forbidden, Gone, InvalidRequest, NotFound, Refusal, TooManyRequests
from ovauth.flows import accounts, approval, authorization, one_time_password
from ovauth.flows.authority import Authority
from ovauth.models import Client, Grant, Member
from ovauth.roles import Role
from tests.conftest import ISSUER, Person, begun, redeemed, registered, works

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock")]
Clock = Callable[[float], None]
NOBODYS_CODE = "ZZZ-ZZ9"


def code_of(pending_id: str) -> str:
    return authorization.look(pending_id=pending_id, browser="browser").display_code


def said(call: Callable[..., Any], **arguments: Any) -> tuple[type[Refusal], str]:
    with pytest.raises(Refusal) as caught:
        call(**arguments)
    return type(caught.value), caught.value.description


def status(pending_id: str) -> str:
    return authorization.collect(pending_id=pending_id, browser="browser", issuer=ISSUER).status


@pytest.mark.parametrize("spelling", ["{}", " {} ", "{}".lower()])
def test_a_code_is_taken_as_people_type_it(bob: Person, client_app: Client, spelling: str) -> None:
    for change in (str, str.lower, lambda code: code.replace("-", ""), lambda code: code.replace("-", " ")):
        pending = begun(client_app)
        approval.approve(authority=bob.by_key, code=spelling.format(change(code_of(pending))))
        assert status(pending) == "approved"


def test_the_first_decision_stands(bob: Person, alice: Person, client_app: Client) -> None:
    pending = begun(client_app)
    assert approval.deny(authority=bob.by_key, pending_id=pending).status == "denied"
    for decide in (approval.approve, approval.deny, approval.review):
        for who in (bob.by_key, alice.by_session):
            assert said(decide, authority=who, pending_id=pending)[0] is Conflict
    assert status(pending) == "denied"
    assert not Grant.objects.exists()


def test_an_approval_cannot_be_taken_back_by_a_denial_or_a_cancellation(bob: Person, client_app: Client) -> None:
    pending = begun(client_app)
    approval.approve(authority=bob.by_key, pending_id=pending)
    assert said(approval.deny, authority=bob.by_key, pending_id=pending)[0] is Conflict
    assert said(approval.cancel, pending_id=pending, browser="browser")[0] is Conflict
    assert status(pending) == "approved"


def test_only_the_browser_that_began_may_cancel(client_app: Client) -> None:
    pending = begun(client_app)
    for browser in ("another", "", None):
        assert said(approval.cancel, pending_id=pending, browser=browser)[0] is Forbidden
    approval.cancel(pending_id=pending, browser="browser")
    assert status(pending) == "denied"


@pytest.mark.parametrize("decide", [approval.approve, approval.deny, approval.review])
def test_unknown_and_expired_are_answered_alike(
    bob: Person, client_app: Client, clock: Clock, decide: Callable[..., Any]
) -> None:
    pending = begun(client_app)
    code = code_of(pending)
    clock(600)
    unknown, expired = (said(decide, authority=bob.by_key, pending_id=asked) for asked in ("nothing", pending))
    assert unknown == expired
    assert unknown[0] is NotFound
    unknown, expired, senseless = (said(decide, authority=bob.by_key, code=asked) for asked in (NOBODYS_CODE, code, "?"))
    assert unknown == expired == senseless
    assert unknown[0] is NotFound


def test_one_way_of_asking_is_needed_and_not_two(bob: Person, client_app: Client) -> None:
    pending = begun(client_app)
    assert said(approval.approve, authority=bob.by_key)[0] is InvalidRequest
    assert said(approval.approve, authority=bob.by_key, pending_id=pending, code=code_of(pending))[0] is InvalidRequest


def test_failures_are_counted_and_successes_are_not(bob: Person, client_app: Client) -> None:
    for _ in range(12):
        approval.deny(authority=bob.by_key, code=code_of(begun(client_app)), ip="192.0.2.1")


def test_a_guesser_is_stopped_and_nobody_else_is(bob: Person, alice: Person, client_app: Client, clock: Clock) -> None:
    pending = begun(client_app)
    for _ in range(5):
        assert said(approval.approve, authority=bob.by_key, code=NOBODYS_CODE)[0] is NotFound
    # Not even the right one now, by key or by session; by pending id there is nothing to guess.
    for authority in (bob.by_key, bob.by_session):
        assert said(approval.approve, authority=authority, code=code_of(pending))[0] is TooManyRequests
    other = begun(client_app)
    approval.approve(authority=bob.by_key, pending_id=other)
    approval.review(authority=alice.by_key, code=code_of(pending))
    clock(600)
    fresh = begun(client_app)
    assert approval.approve(authority=bob.by_key, code=code_of(fresh)).status == "approved"


def test_guessers_that_share_an_address_are_stopped_together(bob: Person, alice: Person, charlie: Person) -> None:
    for who, times in ((bob, 4), (charlie, 4), (alice, 2)):
        for _ in range(times):
            assert said(approval.review, authority=who.by_key, code=NOBODYS_CODE, ip="192.0.2.1")[0] is NotFound
    assert said(approval.review, authority=alice.by_key, code=NOBODYS_CODE, ip="192.0.2.1")[0] is TooManyRequests
    assert said(approval.review, authority=alice.by_key, code=NOBODYS_CODE, ip="192.0.2.2")[0] is NotFound


def test_scopes_beyond_the_role_are_left_out(bob: Person, alice: Person, client_app: Client) -> None:
    for who, granted in ((bob, "mcp"), (alice, "mcp admin")):
        pending = begun(client_app, scope="mcp admin")
        approval.approve(authority=who.by_key, pending_id=pending)
        assert Grant.objects.get(member=who.member).scope == granted


def test_nothing_but_scopes_beyond_the_role_is_refused_and_stays_undecided(bob: Person, client_app: Client) -> None:
    pending = begun(client_app, scope="admin")
    assert said(approval.approve, authority=bob.by_key, pending_id=pending)[0] is Forbidden
    assert status(pending) == "pending"
    assert not Grant.objects.exists()


def test_the_grant_keeps_the_role_of_the_moment(bob: Person, client_app: Client) -> None:
    pending = begun(client_app)
    approval.approve(authority=bob.by_key, pending_id=pending)
    Member.objects.filter(pk=bob.member.pk).update(role=Role.ADMIN)
    assert Grant.objects.get().role == Role.USER


@pytest.mark.parametrize("decide", [approval.approve, approval.deny])
def test_an_authority_that_no_longer_stands_decides_nothing(
    bob: Person, alice: Person, client_app: Client, decide: Callable[..., Any]
) -> None:
    old_key, old_session, of_alice = bob.by_key, bob.by_session, alice.by_key
    accounts.rotate_api_key(account="acme", name="bob")
    accounts.set_password(account="acme", name="bob", password="another-long-password")
    Member.objects.filter(pk=alice.member.pk).update(is_active=False)
    pending = begun(client_app)
    foreign_key = Authority(bob.member.pk, api_key_pk=of_alice.api_key_pk)
    for authority in (old_key, old_session, of_alice, foreign_key, Authority(99_999, password_epoch=1)):
        assert said(decide, authority=authority, pending_id=pending)[0] is Forbidden
    assert status(pending) == "pending"


def test_an_authority_is_exactly_one_thing() -> None:
    for facts in ({}, {"api_key_pk": 1, "password_epoch": 1}):
        with pytest.raises(ValueError, match="a key or a session"):
            Authority(1, **facts)


def test_deleting_the_client_ends_what_waits(bob: Person, client_app: Client) -> None:
    pending = begun(client_app)
    Client.objects.all().delete()
    assert said(approval.approve, authority=bob.by_key, pending_id=pending)[0] is NotFound


# ------------------------------------------------------------------ one-time passwords


def present(pending: str, typed: str, *, browser: str | None = "browser") -> None:
    approval.present_one_time_password(pending_id=pending, browser=browser, typed=typed)


def test_a_one_time_password_stands_for_its_owner_on_one_page(bob: Person, client_app: Client) -> None:
    typed, lives = one_time_password.issue(authority=bob.by_session)
    assert lives == 300
    pending, another = begun(client_app), begun(client_app)
    present(pending, typed.lower().replace("-", " "))
    authority = approval.authority_on_page(pending_id=pending, browser="browser")
    assert authority == bob.by_session
    assert approval.authority_on_page(pending_id=another, browser="browser") is None
    assert said(present, pending=another, typed=typed)[0] is NotFound
    approval.approve(authority=authority, pending_id=pending)
    url = authorization.collect(pending_id=pending, browser="browser", issuer=ISSUER).redirect_url
    pair = redeemed(client_app, str(url).partition("code=")[2].partition("&")[0])
    assert works(pair.access_token)
    accounts.set_password(account="acme", name="bob", password="another-long-password")
    assert not works(pair.access_token)


def test_wrong_used_and_expired_one_time_passwords_are_answered_alike(
    bob: Person, client_app: Client, clock: Clock
) -> None:
    used, expired = (one_time_password.issue(authority=bob.by_key)[0] for _ in range(2))
    present(begun(client_app), used)
    clock(300)
    pending = begun(client_app)
    answers = {said(present, pending=pending, typed=typed) for typed in ("ABCDE-FGHJK", used, expired, "", "?")}
    assert len(answers) == 1
    assert said(present, pending=pending, typed=used)[0] is TooManyRequests


def test_a_one_time_password_is_not_spent_in_a_wrong_browser_or_on_an_expired_page(
    bob: Person, client_app: Client, clock: Clock
) -> None:
    expired = begun(client_app)
    clock(600)
    typed, _ = one_time_password.issue(authority=bob.by_key)
    pending = begun(client_app)
    assert said(present, pending=pending, typed=typed, browser="another")[0] is Forbidden
    assert said(present, pending="nothing", typed=typed)[0] is NotFound
    assert said(present, pending=expired, typed=typed)[0] is Gone
    present(pending, typed)


def test_an_authority_that_no_longer_stands_gets_no_one_time_password(bob: Person) -> None:
    old = bob.by_key
    accounts.rotate_api_key(account="acme", name="bob")
    assert said(one_time_password.issue, authority=old)[0] is Forbidden


def test_one_clients_pending_request_is_no_other_clients(bob: Person, client_app: Client) -> None:
    pending = begun(registered(client_name="One"))
    begun(registered(client_name="Two"))
    assert approval.approve(authority=bob.by_key, pending_id=pending).client_name == "One"
