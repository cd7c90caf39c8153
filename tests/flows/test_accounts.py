"""Accounts, members, keys and passwords."""

import pytest

from ovauth.errors import Conflict, InvalidGrant, InvalidRequest, NotFound
from ovauth.flows import accounts, connections, refresh_token
from ovauth.flows.accounts import NewMember
from ovauth.models import Account, ApiKey, Client, Member
from ovauth.roles import Role
from tests.conftest import ISSUER, Person, approved, connected, redeemed, works

pytestmark = pytest.mark.django_db


def test_a_new_user_has_a_key_that_works_and_no_password(db: None) -> None:
    made = accounts.create_user(account="acme", name="dora", role=Role.USER)
    assert works(made.api_key)
    member = Member.objects.get()
    assert (member.account.name, member.role, member.sign_in_name) == ("acme", Role.USER, "acme/dora")
    assert not member.has_usable_password()


def test_the_same_name_lives_once_in_an_account_and_again_in_another(bob: Person) -> None:
    with pytest.raises(Conflict):
        accounts.create_user(account="acme", name="bob", role=Role.ROOT)
    accounts.create_user(account="other", name="bob", role=Role.USER)
    assert Member.objects.filter(name="bob").count() == 2
    assert Account.objects.count() == 2


@pytest.mark.parametrize("name", ["", "a/b", " a", "a b", "-a", "é", "a" * 65, "a\n", "a\x00"])
def test_a_name_that_would_be_read_as_something_else_is_refused(db: None, name: str) -> None:
    for account, user in (("acme", name), (name, "dora")):
        with pytest.raises(InvalidRequest):
            accounts.create_user(account=account, name=user, role=Role.USER)
    assert not Account.objects.exists()


def test_the_first_operator_is_shown_once(db: None) -> None:
    shown: list[NewMember] = []
    assert accounts.create_first_operator(shown.append)
    assert not accounts.create_first_operator(shown.append)
    (operator,) = shown
    member = Member.objects.get()
    assert member.check_password(str(operator.password))
    assert (member.role, member.first_password) == (Role.ROOT, True)
    assert works(operator.api_key)


def test_an_interrupted_first_start_creates_nobody(db: None) -> None:
    def interrupted(_: NewMember) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        accounts.create_first_operator(interrupted)
    assert not Member.objects.exists()


def test_a_rotation_ends_the_key_and_what_it_authorized_and_nothing_else(bob: Person, client_app: Client) -> None:
    code = approved(client_app, bob.by_key)
    by_key, by_session = connected(client_app, bob.by_key), connected(client_app, bob.by_session)
    plain, ended = accounts.rotate_api_key(account="acme", name="bob")
    assert (ended.authorization_codes, ended.access_tokens, ended.refresh_tokens) == (1, 1, 1)
    assert works(plain)
    assert not works(bob.api_key)
    assert not works(by_key.access_token)
    with pytest.raises(InvalidGrant):
        redeemed(client_app, code)
    with pytest.raises(InvalidGrant):
        refresh_token.rotate(client=client_app, refresh_token=str(by_key.refresh_token), issuer=ISSUER)
    assert works(by_session.access_token)


def test_a_new_password_ends_what_the_old_one_approved_and_nothing_else(bob: Person, client_app: Client) -> None:
    by_key, by_session = connected(client_app, bob.by_key), connected(client_app, bob.by_session)
    accounts.set_password(account="acme", name="bob", password="another-long-password")
    assert not works(by_session.access_token)
    assert works(by_key.access_token)
    assert works(bob.api_key)
    assert works(connected(client_app, bob.by_session).access_token)


def test_the_same_password_again_is_a_change_too(bob: Person, client_app: Client) -> None:
    pair = connected(client_app, bob.by_session)
    accounts.set_password(account="acme", name="bob", password=bob.password)
    assert not works(pair.access_token)


def test_revoking_one_key_ends_what_that_one_authorized(bob: Person, client_app: Client) -> None:
    pair = connected(client_app, bob.by_key)
    key = ApiKey.objects.get(member=bob.member)
    assert accounts.revoke_api_key(key_pk=key.pk) is not None
    assert accounts.revoke_api_key(key_pk=key.pk) is None
    assert not works(pair.access_token)
    assert not works(bob.api_key)


def test_a_demotion_ends_what_was_approved_with_more_for_good(alice: Person, client_app: Client) -> None:
    pair = connected(client_app, alice.by_key, scope="mcp admin")
    for role in (Role.USER, Role.ADMIN):
        accounts.change(account="acme", name="alice", role=role, is_active=True)
        assert not works(pair.access_token)
    assert works(alice.api_key)


def test_a_promotion_ends_nothing_and_adds_nothing(bob: Person, client_app: Client) -> None:
    pair = connected(client_app, bob.by_key)
    accounts.change(account="acme", name="bob", role=Role.ADMIN, is_active=True)
    assert works(pair.access_token)
    assert connections.living(member_pk=bob.member.pk)[0].scopes == ("mcp",)


def test_a_deactivated_user_is_nobody_and_comes_back_without_connections(bob: Person, client_app: Client) -> None:
    pair = connected(client_app, bob.by_key)
    accounts.change(account="acme", name="bob", role=Role.USER, is_active=False)
    assert not works(bob.api_key)
    assert not works(pair.access_token)
    accounts.change(account="acme", name="bob", role=Role.USER, is_active=True)
    assert works(bob.api_key)
    assert not works(pair.access_token)


def test_somebody_stays_root(root: Person) -> None:
    for role, is_active in ((Role.ADMIN, True), (Role.ROOT, False)):
        with pytest.raises(Conflict):
            accounts.change(account="default", name="operator", role=role, is_active=is_active)
    assert Member.objects.get(name="operator").is_staff


def test_nobody_of_another_account_is_found(bob: Person, charlie: Person) -> None:
    with pytest.raises(NotFound):
        accounts.rotate_api_key(account="acme", name="charlie")
    with pytest.raises(NotFound):
        accounts.set_password(account="other", name="bob", password="another-long-password")
    assert works(bob.api_key)
    assert works(charlie.api_key)
