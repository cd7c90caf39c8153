"""Who calls the tool that is running, and the one line by which a tool asks for a scope.

The gate sets both for each request in a context variable. Tasks, and threads that anyio or asyncio start, inherit it; the
mcp package carries it from the request into its own tasks. A leaf: server code imports it through `ovauth`.
"""

import functools
import inspect
import logging
from collections.abc import Callable, Iterable
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import WeakSet

if TYPE_CHECKING:
    from ovauth import bearer

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Identity:
    """The caller of a tool. `client_id` and `client_name` are None when an API key was used.

    `scopes` are those of the token; an API key holds every scope that its owner's role may have.
    """

    account_id: str
    user_id: str
    role: str
    client_id: str | None
    client_name: str | None
    scopes: tuple[str, ...]
    from_oauth: bool


def of(found: "bearer.Identity") -> Identity:
    """What server code may know of a caller that the bearer check recognised."""
    return Identity(
        account_id=found.account_id,
        user_id=found.user_id,
        role=found.role,
        client_id=found.client_id,
        client_name=found.client_name,
        scopes=found.scopes,
        from_oauth=found.from_oauth,
    )


@dataclass(slots=True)
class Call:
    """One request to the MCP server: who sent it, and which scopes its tools missed (told to the gate by `requires`)."""

    caller: "Identity | bearer.Identity"
    missed: set[str] = field(default_factory=set)

    @property
    def identity(self) -> Identity:
        """Made when somebody asks: most requests run no tool that does."""
        return self.caller if isinstance(self.caller, Identity) else of(self.caller)


class MissingScope(Exception):
    """A tool was called without a scope that it requires. The gate answers 403 in its place (RFC 6750 §3.1)."""


_SCOPES = "ovauth_scopes"
_TELL_OF_CRASHES = (
    "mcp.server.mcpserver.server",
    "mcp.server.runner",
    "mcp.shared.jsonrpc_dispatcher",
    "fastmcp.server.server",
)
_call: ContextVar[Call] = ContextVar("ovauth_call")
_elsewhere: list[Callable[[], Identity | None]] = []
_unguarded: WeakSet[Callable[..., Any]] = WeakSet()


def current_identity() -> Identity:
    """The caller of the tool that is running. Raises LookupError where no request is being answered."""
    return _current("current_identity() tells who calls while a tool answers a request; here nobody does.").identity


def requires(*scopes: str) -> Callable[[Function], Function]:
    """The decorated tool runs only for a caller who holds all these scopes, wherever in a server it is called from.

    To be written directly above the function, below the server's own decorator. Everybody else is answered 403
    `insufficient_scope`, so that clients ask for more (step-up). Raises MissingScope in the tool, TypeError when it
    decorates no function.
    """
    if not scopes or not all(isinstance(scope, str) for scope in scopes):
        raise TypeError('name the scopes: @ovauth.requires("admin")')

    def guard(function: Function) -> Function:
        if not inspect.isfunction(function):
            raise TypeError("@ovauth.requires belongs directly above the function, below the server's own decorator")
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def guarded(*args: Any, **kwargs: Any) -> Any:
                _insist(scopes)
                return await function(*args, **kwargs)

        elif inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
            raise TypeError("@ovauth.requires guards functions and coroutines, not generators")
        else:

            @functools.wraps(function)
            def guarded(*args: Any, **kwargs: Any) -> Any:
                _insist(scopes)
                return function(*args, **kwargs)

        _unguarded.add(function)
        guarded.__dict__[_SCOPES] = scopes
        _keep_refusals_out_of_the_log()
        return cast(Function, guarded)

    return guard


def is_left_open(function: object) -> bool:
    """Whether this is the inside of a guarded function: a tool registered with it would run without the guard."""
    return inspect.isfunction(function) and function in _unguarded


def required_by(function: object) -> tuple[str, ...]:
    """The scopes that a guarded function requires; none for any other."""
    return tuple(getattr(function, _SCOPES, ()))


def miss(scopes: Iterable[str]) -> None:
    """Notes that the call that is being answered needs these scopes: the gate answers 403 in place of the server."""
    _current("nobody is calling").missed.update(scopes)


class calling:  # noqa: N801 read as a verb: `with calling(call):`
    """Inside, this is the call that is being answered."""

    __slots__ = ("_before", "_call")

    def __init__(self, call: Call) -> None:
        self._call = call

    def __enter__(self) -> None:
        self._before: Token[Call] = _call.set(self._call)

    def __exit__(self, *fault: object) -> None:
        _call.reset(self._before)


def _insist(scopes: tuple[str, ...]) -> None:
    call = _current(f"This tool needs the scope {' '.join(scopes)}, and nobody is calling.")
    missing = [scope for scope in scopes if scope not in call.identity.scopes]
    if missing:
        call.missed.update(missing)
        raise MissingScope(f"This needs the scope {' '.join(missing)}.")


def _keep_refusals_out_of_the_log() -> None:
    """A caller without a scope is no crash of the server, and must not fill its log with tracebacks."""
    for name in _TELL_OF_CRASHES:
        logging.getLogger(name).addFilter(_is_a_crash)


def _is_a_crash(record: logging.LogRecord) -> bool:
    fault = record.exc_info[1] if record.exc_info else None
    while fault is not None and not isinstance(fault, MissingScope):
        fault = fault.__cause__ or fault.__context__
    return fault is None


def also_known_from(caller: Callable[[], Identity | None]) -> None:
    """Where else to ask who calls, when no gate is in front of the server."""
    _elsewhere.append(caller)


def _current(otherwise: str) -> Call:
    call = _call.get(None)
    if call is not None:
        return call
    for ask in _elsewhere:
        if (found := ask()) is not None:
            return Call(found)
    raise LookupError(otherwise)
