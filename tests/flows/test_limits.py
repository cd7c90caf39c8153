"""Who guesses is counted; with IPv6 a household has more addresses than there are guesses."""

import pytest

from ovauth.errors import NotFound, TooManyRequests
from ovauth.flows import approval, limits, sign_in
from tests.conftest import Person


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
