"""The house stays as it was drawn: who may import whom, and which few rooms have a thing to themselves.

Read off the syntax tree, so that an import inside of a function counts as well.
"""

import ast
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Which modules of ovauth a room may import (each with everything below it), and what it never imports from outside.
# The first room that fits a module is its room.
TABLE: dict[str, tuple[set[str], set[str]]] = {
    "errors": (set(), {"django", "ninja"}),
    "roles": (set(), {"django", "ninja"}),
    "provenance": (set(), {"django", "ninja"}),
    "metrics": (set(), {"django", "ninja"}),
    "logs": ({"provenance"}, {"django", "ninja"}),
    "threads": (set(), {"django", "ninja"}),
    "leaving": (set(), {"django", "ninja"}),
    "pool": (set(), {"ninja", "django.http"}),
    "tools": (set(), {"django", "ninja"}),
    "credentials": (set(), {"django", "ninja"}),
    "request_body": ({"errors"}, {"django", "ninja"}),
    "conf": ({"credentials", "roles", "rules"}, {"django", "ninja"}),
    "rules": ({"errors", "rules"}, {"django", "ninja"}),
    "fetching": ({"errors", "rules"}, {"django", "ninja"}),
    "wire": ({"errors"}, {"django.db"}),
    "sql": (set(), {"ninja", "django.http"}),
    "statements": ({"sql"}, {"ninja", "django"}),
    "models": ({"credentials", "roles", "sql"}, {"ninja", "django.http"}),
    "glances": ({"sql"}, {"ninja", "django.http"}),
    "bearer": ({"credentials", "errors", "glances", "roles", "sql", "statements"}, {"ninja", "django.http"}),
    # Around the requests, not part of one.
    "flows.commits": ({"flows.readiness"}, {"ninja", "django.http"}),
    # Of other flows only those that are made to be shared: what is issued, what ends, what is noted, on whose behalf, how
    # often, and the pending request that a browser's, a device's and a pushed request are. Four more, each for one
    # reader or two: a client that is described by a document is a client, a one-time password stands for a decision or a
    # sign-in, a client that is blocked is not approved, and what a person withholds from an app ends in the connection
    # that it has: `connections` alone knows which earlier grants are of the same installation.
    "flows": (
        {"models", "credentials", "rules", "errors", "roles", "provenance", "metrics", "logs", "sql", "statements"}
        | {
            f"flows.{shared}"
            for shared in (
                "issuance",
                "presented",
                "revocation",
                "audit",
                "authority",
                "limits",
                "authorization",
                "garbage",
            )
        }
        | {
            "flows.one_time_password",
            "flows.garbage",
            "flows.client_documents",
            "flows.client_assertions",
            "flows.clients",
            "flows.blocking",
            "flows.connections",
            "fetching",
        },
        {"ninja", "django.http", "django.shortcuts", "django.urls"},
    ),
    "web": (
        {
            "wire",
            "flows",
            "rules",
            "bearer",
            "errors",
            "glances",
            "leaving",
            "roles",
            "logs",
            "metrics",
            "provenance",
            "request_body",
            "threads",
            "tools",
            "templatetags",
            "web",
        },
        {"django.db"},
    ),
    # The adapter for the mcp package's own routes is to them what `web` is to ours.
    "resource.sdk": ({"bearer", "errors", "flows", "rules", "threads", "resource"}, {"ninja", "django.http", "django.db"}),
    # The gate reads an Authorization header as the web does: by wire. That a key was used for the first time is told by
    # whoever recognised it. An upstream's session ids carry a mark, which is made where all such things are made.
    "resource": (
        {
            "flows.api_keys",
            "logs",
            "metrics",
            "provenance",
            "bearer",
            "credentials",
            "rules",
            "errors",
            "conf",
            "wire",
            "request_body",
            "threads",
            "tools",
            "resource",
        },
        {"ninja", "django.http"},
    ),
    "templatetags": (set(), {"ninja", "django.db", "django.http"}),
    # It goes to a server from outside, and so knows nothing of one from inside.
    "doctor": ({"credentials", "doctor", "rules"}, {"django", "ninja"}),
    "admin": ({"admin", "flows", "models", "conf", "rules", "roles", "errors"}, {"ninja"}),
    "admin_site": ({"provenance"}, {"ninja"}),
    "management": (
        {
            "management",
            "doctor",
            "flows",
            "leaving",
            "logs",
            "models",
            "conf",
            "rules",
            "roles",
            "errors",
            "provenance",
            "resource.loading",
        },
        {"ninja"},
    ),
    "checks": ({"flows", "models", "conf", "rules", "resource.loading"}, {"ninja", "django.http"}),
    "apps": ({"checks"}, {"ninja", "django.http"}),
    "": ({"resource.identity"}, {"ninja", "django"}),
}

NOTHING: tuple[set[str], set[str]] = (set(), set())

RANDOM_AND_HASHES = {"secrets", "hashlib", "hmac", "random"}
AT_HOME_WITH_HASHES = {"credentials", "rules.pkce"}
MAY_ASK_THE_DATABASE_ITSELF = {
    "bearer",  # pragmas of SQLite
    "sql",
    "flows.readiness",  # SELECT 1: is it there?
    "flows.measures",  # PostgreSQL's own list of connections
    "management.preparation",  # PostgreSQL's own: a lock, so that two servers do not migrate at once; a table's identity
}


def named(path: Path) -> str:
    """The module of ovauth in that file: `flows.audit` for `ovauth/flows/audit.py`."""
    parts = path.relative_to(ROOT / "ovauth").with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


FILES = {named(path): path for path in sorted((ROOT / "ovauth").rglob("*.py")) if path.parent.name != "migrations"}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def imported(path: Path) -> Iterator[str]:
    """Everything that is imported in the file, anywhere, each with its full name."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_below(name: str, above: str) -> bool:
    return name == above or name.startswith(f"{above}.")


def room_of(module: str) -> str:
    return next((room for room in TABLE if room and is_below(module, room)), "" if not module else "?")


def offenders(judge: Callable[[str], set[str]]) -> dict[str, set[str]]:
    """What the judge finds in each module, where it finds something."""
    return {module: found for module in FILES if (found := judge(module))}


def test_every_module_has_a_room() -> None:
    assert not [module for module in FILES if room_of(module) not in TABLE], "in no row of the table"


def test_a_module_imports_only_what_its_room_may() -> None:
    def strangers(module: str) -> set[str]:
        allowed, _ = TABLE.get(room_of(module), NOTHING)
        inside = {name.removeprefix("ovauth.") for name in imported(FILES[module]) if is_below(name, "ovauth")}
        inside = {"resource.identity" if name == "ovauth" else name for name in inside}  # all that the package offers
        # `from ovauth import conf` and `from ovauth.conf import Config` are both an import of conf.
        return {name for name in inside if not any(is_below(name, above) for above in allowed)}

    assert offenders(strangers) == {}


def test_a_module_imports_nothing_that_its_room_never_does() -> None:
    def forbidden(module: str) -> set[str]:
        _, never = TABLE.get(room_of(module), NOTHING)
        return {name for name in imported(FILES[module]) if any(is_below(name, above) for above in never)}

    assert offenders(forbidden) == {}


def test_randomness_and_hashes_have_one_home() -> None:
    def drawn(module: str) -> set[str]:
        return {name for name in imported(FILES[module]) if name.split(".")[0] in RANDOM_AND_HASHES}

    assert offenders(drawn).keys() == AT_HOME_WITH_HASHES


def test_raw_sql_has_one_home() -> None:
    def raw(module: str) -> set[str]:
        used = {node.attr for node in ast.walk(tree(FILES[module])) if isinstance(node, ast.Attribute)}
        return used & {"cursor", "raw"} | {name for name in imported(FILES[module]) if name.endswith("RawSQL")}

    assert offenders(raw).keys() == MAY_ASK_THE_DATABASE_ITSELF


def test_the_environment_is_read_in_one_place() -> None:
    """By conf, and there by pydantic-settings."""

    def read(module: str) -> set[str]:
        readers = {name for name in imported(FILES[module]) if is_below(name, "pydantic_settings")}
        return readers | set(environment_uses(FILES[module]))

    assert offenders(read).keys() == {"conf"}


@pytest.mark.parametrize("program", ["manage.py", "project/asgi.py"])
def test_a_program_names_its_settings_in_the_environment_and_nothing_else(program: str) -> None:
    for use in environment_uses(ROOT / program):
        assert use.startswith("os.environ.setdefault('DJANGO_SETTINGS_MODULE'"), use


def environment_uses(path: Path) -> list[str]:
    """The innermost expressions around each mention of the environment."""
    parents = {child: node for node in ast.walk(tree(path)) for child in ast.iter_child_nodes(node)}
    uses = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv", "putenv"}:
            around: ast.AST = node
            while isinstance(parents[around], ast.Attribute | ast.Call | ast.Subscript):
                around = parents[around]
            uses.append(ast.unparse(around))
    return uses + [name for name in imported(path) if name in {"os.environ", "os.getenv"}]


def test_only_the_composition_root_imports_the_project() -> None:
    assert not [module for module, path in FILES.items() for name in imported(path) if is_below(name, "project")]


def test_the_gate_to_a_code_used_twice_is_two_files() -> None:
    """`consume` is defined in models alone, and nobody else sets the column; a refresh token's, by the one statement that
    names its successor as well."""

    def writes(node: ast.AST) -> bool:
        if isinstance(node, ast.keyword):
            return node.arg == "consumed_at" and isinstance(node.value, ast.Name)
        return isinstance(node, ast.Constant) and "SET consumed_at" in str(node.value)

    writers = {module for module, path in FILES.items() if any(writes(node) for node in ast.walk(tree(path)))}
    assert writers == {
        "models",
        "statements",
        "flows.revocation",
    }  # the latter ends one-time passwords, all of a member's at once
