"""Text of strangers beside our own words."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovauth.rules import display_text

HARD = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("a e\u0301\u0301\u0323\u200d\ufe0f\u202e\n\t\u3164\u2800…\u1100\u1161\u11a8\u09c7\u09be\u0344"),
    )
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Claude", "Claude"),
        ("  Claude \r\n\t Code\u2028\u3000x ", "Claude Code x"),
        (
            "Café \u4f60\u597d \u0645\u0631\u062d\u0628\u0627 \U0001f600",
            "Café \u4f60\u597d \u0645\u0631\u062d\u0628\u0627 \U0001f600",
        ),
        ("Cafe\u0301", "Café"),
        ("\u202eedualC\u202c", "edualC"),
        ("a\u2066b\u2069c\u200fd\u061ce", "abcde"),
        ("Cl\u200bau\u200dde\ufeff\u2060\u00ad", "Claude"),
        ("a\U000e0041\U000e007fb", "ab"),
        ("a\ufe0fb\U000e0100c\u180bd", "abcd"),
        ("a\x00\x1b[31mb\x7f\x9b", "a[31mb"),
        ("a\ud800b\ue000c\U0010ffffd", "abcd"),
        ("a\u3164b\u115fc\u034fd", "abcd"),
        ("a\u2800b", "a b"),
        ("\u0301\u0301a", "a"),
        ("a \u0301b", "a b"),
        ("Z" + "\u0335" * 50 + "algo", "Z\u0335\u0335algo"),
        ("\u200b\u202e", ""),
        ("", ""),
    ],
)
def test_what_is_shown_is_all_that_there_is(text, shown):
    assert display_text.clean(text) == shown


def test_long_text_is_shortened_visibly():
    assert display_text.clean("a" * 60) == "a" * 60
    assert display_text.clean("a" * 61) == "a" * 59 + "…"
    assert display_text.clean("abc def", 5) == "abc…"
    assert display_text.clean("abc", 1) == "…"


@given(HARD, st.integers(1, 80))
def test_cleaning_twice_changes_nothing_more(text, limit):
    once = display_text.clean(text, limit)
    assert display_text.clean(once, limit) == once


@given(HARD, st.integers(1, 80))
def test_what_is_left_is_one_short_visible_line(text, limit):
    shown = display_text.clean(text, limit)
    assert len(shown) <= limit
    assert shown == shown.strip()
    assert unicodedata.is_normalized("NFC", shown)
    assert all(unicodedata.category(each) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} for each in shown)
    marks = "".join("m" if unicodedata.category(each)[0] == "M" else "." for each in shown)
    assert "mmm" not in marks
    assert not marks.startswith("m")


@given(st.text(st.characters(max_codepoint=0x7F), max_size=60))
def test_plain_text_comes_to_the_same_on_its_short_way(text):
    assert display_text.clean(text) == "".join(display_text._calm("".join(display_text._visible(text))))
