"""What server code imports: who calls, and the scope that a tool needs."""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

import ovauth
from ovauth.resource.identity import Call, calling


def test_where_nobody_calls_there_is_no_identity() -> None:
    with pytest.raises(LookupError, match="here nobody does"):
        ovauth.current_identity()


def test_a_guarded_tool_does_not_run_where_nobody_calls() -> None:
    @ovauth.requires("admin")
    def tool() -> str:
        return "ran"

    with pytest.raises(LookupError, match="needs the scope admin"):
        tool()


def test_a_missed_scope_is_raised_in_the_tool_and_told_to_the_gate() -> None:
    @ovauth.requires("mcp", "admin")
    def tool() -> str:
        return "ran"

    call = Call(ovauth.Identity("acme", "bob", "user", None, None, ("mcp",), from_oauth=False))
    with calling(call), pytest.raises(ovauth.MissingScope, match="This needs the scope admin."):
        tool()
    assert call.missed == {"admin"}


def test_a_guarded_tool_keeps_its_signature_and_words() -> None:
    @ovauth.requires("admin")
    async def tool(count: int, *, name: str = "x") -> list[str]:
        """Does it."""
        return [name] * count

    assert str(inspect.signature(tool)) == "(count: int, *, name: str = 'x') -> list[str]"
    assert (tool.__name__, tool.__doc__) == ("tool", "Does it.")
    assert inspect.iscoroutinefunction(tool)


def _generator() -> Iterator[int]:
    yield 1


async def _async_generator() -> Any:
    yield 1


@pytest.mark.parametrize("wrong", [7, object(), _generator, _async_generator, property(lambda self: 1)])
def test_what_cannot_be_guarded_is_refused_at_once(wrong: Any) -> None:
    with pytest.raises(TypeError):
        ovauth.requires("admin")(wrong)


@pytest.mark.parametrize("scopes", [(), (lambda: 1,)])
def test_a_guard_without_a_scope_is_refused_at_once(scopes: Any) -> None:
    with pytest.raises(TypeError, match="name the scopes"):
        ovauth.requires(*scopes)
