"""Who guesses is counted; with IPv6 a household has more addresses than there are guesses."""

from collections.abc import Callable
from typing import Any

import pytest

from ovauth.errors import NotFound, TooManyRequests
from ovauth.flows import approval, clients, limits, sign_in
from ovauth.models import AuditEvent, Client, Tally
from tests.conftest import CALLBACK, Person


def test_the_addresses_of_one_ipv6_household_are_one_guesser(db: None) -> None:
    for number in range(limits.SIGN_IN_BY_ADDRESS.most):
        sign_in.failed(sign_in.begin(name=f"somebody {number}", ip=f"2001:db8:0:1::{number:x}"))
    with pytest.raises(TooManyRequests):
        sign_in.begin(name="somebody else", ip="2001:db8:0:1:ffff::1")
    sign_in.begin(name="somebody else", ip="2001:db8:0:2::1")


def test_wrong_codes_are_counted_by_household_too(alice: Person, bob: Person, charlie: Person) -> None:
    for number in range(limits.CODE_BY_ADDRESS.most):
        person = (alice, bob, charlie)[number % 3]
        with pytest.raises(NotFound):
            approval.review(authority=person.by_key, code="ABCDEF", ip=f"2001:db8::{number + 1:x}")
    with pytest.raises(TooManyRequests):
        approval.review(authority=charlie.by_key, code="ABCDEF", ip="2001:db8::ffff")


def register() -> None:
    clients.register(document={"redirect_uris": [CALLBACK]}, ip="203.0.113.9")


def test_a_flood_of_registrations_is_refused_without_a_turn_to_write(
    db: None, clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    most = 3
    monkeypatch.setattr(limits, "REGISTRATION_BY_ADDRESS", limits.Limit("registration/address", most, 600))
    for _ in range(most):
        register()
    with pytest.raises(TooManyRequests):  # this one finds out, in its transaction
        register()
    with django_assert_num_queries(1), pytest.raises(TooManyRequests):  # this one only asks whether it still holds
        register()
    assert Tally.objects.get().count == Client.objects.count() == AuditEvent.objects.count() == most
    clock(601)
    register()
    assert Client.objects.count() == most + 1


def test_whoever_was_let_in_again_is_let_in_by_a_process_that_refused_them(
    db: None, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REGISTRATION_BY_ADDRESS", limits.Limit("registration/address", 1, 600))
    register()
    for _ in range(2):
        with pytest.raises(TooManyRequests):
            register()
    assert limits.forget(tally_pk=Tally.objects.get().pk, member=alice.member)
    register()
