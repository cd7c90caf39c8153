"""grant_type=authorization_code, from approval to token."""

import pytest

from ovauth.errors import InvalidGrant
from ovauth.models import Client
from tests.conftest import Person, approved, connected, redeemed, registered, works

pytestmark = pytest.mark.django_db


def test_an_approved_code_gives_tokens_that_work(alice: Person, client_app: Client) -> None:
    pair = connected(client_app, alice.by_key)
    assert works(pair.access_token)
    assert pair.refresh_token is not None
    assert pair.refresh_token.startswith("ovrt_")


def test_a_replayed_code_is_refused_and_kills_the_first_tokens(alice: Person, client_app: Client) -> None:
    code = approved(client_app, alice.by_key)
    pair = redeemed(client_app, code)
    with pytest.raises(InvalidGrant):
        redeemed(client_app, code)
    assert not works(pair.access_token)


def test_another_clients_attempt_spends_nothing_and_ends_nothing(alice: Person, client_app: Client) -> None:
    code = approved(client_app, alice.by_key)
    stranger = registered()
    with pytest.raises(InvalidGrant):
        redeemed(stranger, code)
    pair = redeemed(client_app, code)
    with pytest.raises(InvalidGrant):
        redeemed(stranger, code)
    assert works(pair.access_token)
