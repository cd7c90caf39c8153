"""The device grant: RFC 8628, on the same codes and the same form as the code page."""

from collections.abc import Callable

import pytest

from ovauth.errors import (
    AccessDenied,
    AuthorizationPending,
    ExpiredToken,
    Forbidden,
    InvalidGrant,
    OAuthRefusal,
    SlowDown,
    UnauthorizedClient,
)
from ovauth.flows import approval, authorization, device_code
from ovauth.flows.device_code import DeviceAuthorization
from ovauth.models import Client, PendingAuthorization
from tests.conftest import ISSUER, Person, registered, works

pytestmark = pytest.mark.django_db
Clock = Callable[[float], None]


@pytest.fixture
def device(db: None) -> Client:
    return registered(grant_types=[device_code.GRANT_TYPE, "authorization_code", "refresh_token"])


def begun(device: Client) -> DeviceAuthorization:
    return device_code.begin(client=device, scope=None, resource=(), issuer=ISSUER)


def refused(device: Client, code: str) -> type[OAuthRefusal]:
    with pytest.raises(OAuthRefusal) as caught:
        device_code.poll(client=device, device_code=code, issuer=ISSUER)
    return type(caught.value)


def test_a_device_waits_and_then_gets_tokens_that_work(device: Client, bob: Person, clock: Clock) -> None:
    begun_ = begun(device)
    assert refused(device, begun_.device_code) is AuthorizationPending
    approval.approve(authority=bob.by_key, code=begun_.user_code)
    clock(5)
    pair = device_code.poll(client=device, device_code=begun_.device_code, issuer=ISSUER)
    assert works(pair.access_token)
    assert pair.refresh_token is not None


def test_a_device_code_gives_tokens_once(device: Client, bob: Person) -> None:
    begun_ = begun(device)
    approval.approve(authority=bob.by_key, code=begun_.user_code)
    pair = device_code.poll(client=device, device_code=begun_.device_code, issuer=ISSUER)
    assert refused(device, begun_.device_code) is InvalidGrant
    assert works(pair.access_token)


def test_who_asks_too_often_is_told_to_slow_down_and_must(device: Client, clock: Clock) -> None:
    code = begun(device).device_code
    assert refused(device, code) is AuthorizationPending
    clock(1)
    assert refused(device, code) is SlowDown
    clock(6)  # enough for the first interval, not for the longer one
    assert refused(device, code) is SlowDown
    clock(16)
    assert refused(device, code) is AuthorizationPending


def test_a_denial_reaches_the_device(device: Client, bob: Person) -> None:
    begun_ = begun(device)
    approval.deny(authority=bob.by_key, code=begun_.user_code)
    assert refused(device, begun_.device_code) is AccessDenied


def test_an_expired_device_code_says_so(device: Client, clock: Clock) -> None:
    begun_ = begun(device)
    clock(begun_.expires_in + 1)
    assert refused(device, begun_.device_code) is ExpiredToken


def test_another_clients_device_code_is_no_code(device: Client, bob: Person) -> None:
    begun_ = begun(device)
    approval.approve(authority=bob.by_key, code=begun_.user_code)
    stranger = registered(grant_types=[device_code.GRANT_TYPE, "authorization_code"])
    assert refused(stranger, begun_.device_code) is InvalidGrant
    assert works(device_code.poll(client=device, device_code=begun_.device_code, issuer=ISSUER).access_token)


def test_only_a_client_that_registered_for_it_may_begin(client_app: Client) -> None:
    with pytest.raises(UnauthorizedClient):
        begun(client_app)


def test_no_browser_can_collect_what_a_device_began(device: Client) -> None:
    begun(device)
    pending = PendingAuthorization.objects.get()
    with pytest.raises(Forbidden):
        authorization.collect(pending_id=pending.public_id, browser="", issuer=ISSUER)


def test_what_approved_it_ends_it(device: Client, bob: Person) -> None:
    from ovauth.flows import accounts

    begun_ = begun(device)
    approval.approve(authority=bob.by_key, code=begun_.user_code)
    accounts.rotate_api_key(account="acme", name="bob")
    assert refused(device, begun_.device_code) is InvalidGrant
