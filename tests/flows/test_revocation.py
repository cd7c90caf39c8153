"""RFC 7009, and the ends of grants and users."""

import pytest

from ovauth.errors import InvalidGrant, NotFound
from ovauth.flows import approval, authorization, one_time_password, refresh_token, revocation
from ovauth.flows.revocation import Ended
from ovauth.models import AuditEvent, Client
from tests.conftest import ISSUER, Person, approved, begun, connected, redeemed, registered, works

pytestmark = pytest.mark.django_db


def test_a_refresh_token_ends_the_whole_grant_and_no_other(bob: Person, client_app: Client) -> None:
    first, other = connected(client_app, bob.by_key), connected(client_app, bob.by_key)
    second = refresh_token.rotate(client=client_app, refresh_token=str(first.refresh_token), issuer=ISSUER)
    revocation.revoke(client=client_app, token=str(first.refresh_token))  # a used one does it as well
    assert not works(first.access_token)
    assert not works(second.access_token)
    with pytest.raises(InvalidGrant):
        refresh_token.rotate(client=client_app, refresh_token=str(second.refresh_token), issuer=ISSUER)
    assert works(other.access_token)


def test_an_access_token_ends_itself_alone(bob: Person, client_app: Client) -> None:
    pair = connected(client_app, bob.by_key)
    revocation.revoke(client=client_app, token=pair.access_token)
    assert not works(pair.access_token)
    again = refresh_token.rotate(client=client_app, refresh_token=str(pair.refresh_token), issuer=ISSUER)
    assert works(again.access_token)


def test_another_clients_tokens_and_unknown_ones_change_nothing_and_are_no_error(bob: Person, client_app: Client) -> None:
    pair, stranger = connected(client_app, bob.by_key), registered()
    events = AuditEvent.objects.count()
    for token in (pair.access_token, str(pair.refresh_token), "ovat_unknown", "ovrt_unknown", "", bob.api_key):
        revocation.revoke(client=stranger, token=token)
    assert works(pair.access_token)
    assert works(bob.api_key)
    assert AuditEvent.objects.count() == events


def test_revoking_twice_is_told_once(bob: Person, client_app: Client) -> None:
    pair = connected(client_app, bob.by_key)
    for token in (pair.access_token, str(pair.refresh_token)) * 2:
        revocation.revoke(client=client_app, token=token)
    assert AuditEvent.objects.filter(event="token.revoked").count() == 1
    assert AuditEvent.objects.filter(event="grant.disconnected").count() == 1


def test_revoking_a_user_ends_everything_of_that_user_and_nothing_of_others(
    alice: Person, bob: Person, client_app: Client
) -> None:
    code = approved(client_app, bob.by_key)
    by_key, by_session = connected(client_app, bob.by_key), connected(client_app, bob.by_session)
    of_alice = connected(client_app, alice.by_key)
    ended = revocation.revoke_user_tokens(account="acme", name="bob")
    assert ended == Ended(authorization_codes=1, access_tokens=2, refresh_tokens=2)
    assert not works(by_key.access_token)
    assert not works(by_session.access_token)
    with pytest.raises(InvalidGrant):
        redeemed(client_app, code)
    assert works(of_alice.access_token)
    assert works(bob.api_key)
    assert revocation.revoke_user_tokens(account="acme", name="bob") == Ended(0, 0, 0)


def test_a_user_of_another_account_is_not_found(bob: Person, charlie: Person) -> None:
    for account, name in (("acme", "charlie"), ("other", "bob"), ("nowhere", "bob")):
        with pytest.raises(NotFound):
            revocation.revoke_user_tokens(account=account, name=name)


def test_revoking_a_user_ends_a_one_time_password_given_or_not(bob: Person, client_app: Client) -> None:
    given, waiting = begun(client_app), begun(client_app)
    present(given, one_time_password.issue(authority=bob.by_key)[0])
    typed, _ = one_time_password.issue(authority=bob.by_key)
    revocation.revoke_user_tokens(account="acme", name="bob")
    with pytest.raises(NotFound):
        present(waiting, typed)
    # Whoever gave a stolen one before would otherwise approve after it.
    assert approval.authority_on_page(pending_id=given, browser="browser") is None


def present(pending_id: str, typed: str) -> None:
    approval.present_one_time_password(pending_id=pending_id, browser="browser", typed=typed)


def test_an_approval_that_was_not_yet_collected_ends_too(bob: Person, client_app: Client) -> None:
    pending = begun(client_app)
    approval.approve(authority=bob.by_key, pending_id=pending)
    revocation.revoke_user_tokens(account="acme", name="bob")
    url = authorization.collect(pending_id=pending, browser="browser", issuer=ISSUER).redirect_url
    code = str(url).partition("code=")[2].partition("&")[0]
    with pytest.raises(InvalidGrant):
        redeemed(client_app, code)
