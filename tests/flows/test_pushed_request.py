"""Pushed authorization requests (RFC 9126)."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import pytest

from ovauth.errors import InvalidRequest, OAuthRefusal, UntrustedRedirect
from ovauth.flows import pushed_request
from ovauth.models import Client
from tests.conftest import CALLBACK, CHALLENGE, ISSUER, RESOURCE, registered

pytestmark = pytest.mark.django_db

GOOD = {
    "response_type": "code",
    "redirect_uri": CALLBACK,
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
    "state": "a state & more",
}


def push(client: Client, *, resource: Any = (RESOURCE,), **changes: str | None) -> str:
    parameters = {name: value for name, value in (GOOD | changes).items() if value is not None}
    reference, ttl = pushed_request.push(client=client, parameters=parameters, resource=resource, issuer=ISSUER)
    assert ttl == pushed_request.TTL
    return reference


def test_what_was_pushed_comes_back_once_and_whole(client_app: Client) -> None:
    reference = push(client_app)
    query = pushed_request.take(client_id=client_app.client_id, request_uri=reference)
    sent = {name: values[0] for name, values in parse_qs(query).items()}
    assert sent == GOOD | {"client_id": client_app.client_id, "resource": RESOURCE}
    with pytest.raises(UntrustedRedirect):
        pushed_request.take(client_id=client_app.client_id, request_uri=reference)


def test_another_client_cannot_use_the_reference_and_does_not_spend_it(client_app: Client) -> None:
    reference = push(client_app)
    with pytest.raises(UntrustedRedirect):
        pushed_request.take(client_id=registered().client_id, request_uri=reference)
    assert pushed_request.take(client_id=client_app.client_id, request_uri=reference)


def test_a_reference_expires(client_app: Client, clock: Callable[[float], None]) -> None:
    reference = push(client_app)
    clock(pushed_request.TTL + 1)
    with pytest.raises(UntrustedRedirect):
        pushed_request.take(client_id=client_app.client_id, request_uri=reference)


@pytest.mark.parametrize(
    "changes",
    [
        {"response_type": None},
        {"response_type": "token"},
        {"redirect_uri": "https://evil.example/callback"},
        {"code_challenge": None},
        {"code_challenge_method": "plain"},
        {"request_uri": "urn:ietf:params:oauth:request_uri:x"},
        {"scope": "nothing known"},
    ],
)
def test_a_faulty_request_is_refused_when_it_is_pushed(client_app: Client, changes: dict[str, str | None]) -> None:
    with pytest.raises(OAuthRefusal):
        push(client_app, **changes)


def test_a_foreign_redirect_uri_is_told_as_json_and_not_as_a_page(client_app: Client) -> None:
    with pytest.raises(InvalidRequest):
        push(client_app, redirect_uri="https://evil.example/callback")
