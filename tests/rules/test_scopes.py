"""RFC 6749 §3.3 and §6."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovauth.errors import InvalidScope
from ovauth.rules import scopes

KNOWN = ("mcp", "fs", "admin")
words = st.lists(st.sampled_from([*KNOWN, "unknown", "openid", "offline_access"])).map(" ".join)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        (None, ()),
        ("", ()),
        ("   ", ()),
        ("mcp", ("mcp",)),
        (" fs  mcp fs ", ("fs", "mcp")),
        ("https://x/y!#[]~", ("https://x/y!#[]~",)),
    ],
)
def test_scopes_are_split_at_spaces(text, parsed):
    assert scopes.parse(text) == parsed


@pytest.mark.parametrize("text", ['a"', "a\\b", "a\tb", "a\nb", "a\x00", "é", "mcp\n", "\x7f", "mcp\u00a0fs"])
def test_a_character_outside_of_the_grammar_is_refused(text):
    with pytest.raises(InvalidScope) as refused:
        scopes.parse(text)
    assert refused.value.description.isprintable()


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        (None, ("mcp",)),
        ("", ("mcp",)),
        ("openid profile email offline_access", ("mcp",)),
        ("fs openid", ("fs",)),
        ("admin mcp", ("mcp", "admin")),
        ("read write fs", ("fs",)),
    ],
)
def test_known_scopes_are_chosen_in_their_own_order(asked, chosen):
    assert scopes.choose(asked, known=KNOWN, default=("mcp",)) == chosen


@pytest.mark.parametrize("asked", ["read", "read openid", "MCP"])
def test_nothing_but_unknown_scopes_is_refused(asked):
    with pytest.raises(InvalidScope):
        scopes.choose(asked, known=KNOWN, default=("mcp",))


def test_openid_scopes_are_dropped_even_when_an_operator_knows_them():
    assert scopes.choose("email mcp", known=("email", "mcp"), default=("mcp",)) == ("mcp",)


def test_a_scope_that_was_not_granted_is_refused():
    for asked in ("fs", "mcp fs", "unknown"):
        with pytest.raises(InvalidScope):
            scopes.narrow(("mcp",), asked)


@pytest.mark.parametrize(
    ("asked", "left"),
    [(None, KNOWN), ("", KNOWN), ("openid", KNOWN), ("admin mcp", ("mcp", "admin")), ("fs email", ("fs",))],
)
def test_scopes_shrink(asked, left):
    assert scopes.narrow(KNOWN, asked) == left


@given(st.lists(st.sampled_from(KNOWN), unique=True), words)
def test_narrowing_never_grows(granted, asked):
    try:
        left = scopes.narrow(granted, asked)
    except InvalidScope:
        return
    assert set(left) <= set(granted)
    assert list(left) == [scope for scope in granted if scope in left]


@given(words)
def test_a_choice_is_never_empty_and_never_unknown(asked):
    try:
        chosen = scopes.choose(asked, known=KNOWN, default=("mcp",))
    except InvalidScope:
        assert "unknown" in asked
        return
    assert chosen
    assert set(chosen) <= set(KNOWN)
    assert scopes.choose(scopes.joined(chosen), known=KNOWN, default=("mcp",)) == chosen


@pytest.mark.parametrize(("role", "left"), [(0, ()), (1, ("mcp", "fs")), (2, KNOWN), (3, KNOWN)])
def test_a_role_reaches_the_scopes_up_to_its_height(role, left):
    assert scopes.allowed(KNOWN, role=role, lowest_role={"mcp": 1, "fs": 1, "admin": 2}) == left


def test_a_scope_without_a_lowest_role_is_for_nobody():
    assert scopes.allowed(("mcp",), role=99, lowest_role={}) == ()


@given(st.lists(st.sampled_from(KNOWN), unique=True))
def test_joining_is_undone_by_parsing(each):
    assert scopes.parse(scopes.joined(each)) == tuple(each)
