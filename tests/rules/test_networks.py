"""Which two addresses are worth a warning, and what limits count by."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovauth.rules.networks import alike, household


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


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:0:1:ffff::1", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unix:", "unix:"),
    ],
)
def test_failures_are_counted_by_household(address: str, counted: str) -> None:
    assert household(address) == counted


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_an_ipv6_household_counts_as_one(address, other):
    neighbour = type(address)((int(address) >> 64 << 64) | other)
    if address.ipv4_mapped is None and neighbour.ipv4_mapped is None:
        assert household(str(address)) == household(str(neighbour))
