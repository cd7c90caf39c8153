"""Which two addresses are worth a warning."""

import pytest

from ovauth.rules.networks import alike


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.9", "203.0.113.200"),
        ("2001:db8::1", "2001:db8::ffff:1"),
        ("192.168.1.4", "10.0.0.9"),
        ("127.0.0.1", "::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("fe80::1%eth0", "fe80::2"),
        ("", "203.0.113.9"),
        ("203.0.113.9", "unix:"),
    ],
)
def test_the_same_household_is_no_news(one: str, other: str) -> None:
    assert alike(one, other)
    assert alike(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("203.0.113.9", "203.0.114.9"),
        ("203.0.113.9", "192.168.1.4"),
        ("2001:db8::1", "2001:db8:0:1::1"),
        ("2001:db8::1", "203.0.113.9"),
    ],
)
def test_two_networks_are_worth_a_warning(one: str, other: str) -> None:
    assert not alike(one, other)
    assert not alike(other, one)
