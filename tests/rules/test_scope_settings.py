"""The scopes as an operator writes them, and what is said when a line means nothing."""

import pytest

from ovauth.rules import scope_settings
from ovauth.rules.scope_settings import Written

ROLES = ("user", "admin", "root")


def read(text: str) -> tuple[Written, ...]:
    return scope_settings.read(text, roles=ROLES, lowest="user")


def test_a_line_is_a_name_a_role_and_a_sentence_in_one_or_two_languages() -> None:
    assert read("\n notes = read your notes\n\nnotes:write ( Admin )=change them | 修改 \n") == (
        Written("notes", "user", "read your notes", ""),
        Written("notes:write", "admin", "change them", "修改"),
    )


def test_a_semicolon_does_as_well_as_a_new_line() -> None:
    assert [scope.name for scope in read("a = one; b = two;")] == ["a", "b"]


def test_a_sentence_may_have_an_equals_sign() -> None:
    assert read("a = b = c")[0].sentence == "b = c"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("notes", "write `name = sentence`"),
        ("two words = x", "is no scope"),
        (" ; ", "name 1 to 50 scopes"),
        ("; ".join(f"s{number} = x" for number in range(51)), "name 1 to 50 scopes"),
        ("a = x; a = y", "the scope a stands there twice"),
        ("a (boss) = x", "the roles are user, admin, root"),
        ("a () = x", "the roles are user, admin, root"),
        ("a =", "a needs a sentence"),
        ("a = | 中文", "a needs a sentence"),
        ('a"b = x', "is no name of a scope"),
        ("-a = x", "is no name of a scope"),
        (f"{'a' * 65} = x", "is no name of a scope"),
        ("offline_access = x", "belongs to OpenID Connect"),
        (f"a = {'x' * 121}", "longer than 120"),
    ],
)
def test_what_means_nothing_is_named_with_what_to_write(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r".") as fault:
        read(text)
    assert said in str(fault.value)


def test_defaults_are_names_of_scopes_in_the_order_of_the_scopes() -> None:
    assert scope_settings.read_defaults("c, a", known=("a", "b", "c")) == ("a", "c")
    for text in ("d", " "):
        with pytest.raises(ValueError, match="a, b, c"):
            scope_settings.read_defaults(text, known=("a", "b", "c"))
