"""The fetch, when all is well: the document, how long it may be kept, and that the hook of the tests stays in the tests."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ovauth import fetching
from ovauth.fetching import fetch_json, freshness
from tests.fetching.https import HOST, Authority, HttpsServer, reply, say, trusted

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _admitted(authority: Authority) -> Iterator[None]:
    with fetching.trusting(trusted(authority)):
        yield


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON; charset=UTF-8", "application/cimd+json", 'application/json;charset="utf-8"'],
)
def test_a_json_object_is_fetched(content_type: str, server: HttpsServer) -> None:
    server.answer = reply('{"client_name": "Ünïcode"}'.encode(), content_type=content_type)
    assert fetch_json(server.url()).document == {"client_name": "Ünïcode"}


def test_chunked_answers_and_answers_that_end_with_the_connection_are_read(server: HttpsServer) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    server.answer = say(head + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;x=y\r\n}\r\n0\r\n\r\n")
    assert fetch_json(server.url()).document == {}
    server.answer = say(head + b"\r\n{}")
    assert fetch_json(server.url()).document == {}


def test_the_query_of_a_url_is_sent_and_a_missing_path_is_the_root(server: HttpsServer) -> None:
    fetch_json(server.url("/keys?set=1"))
    fetch_json(server.url(""))
    fetch_json(server.url("?set=1"))
    assert [request.split(b" HTTP")[0] for request in server.requests] == [b"GET /keys?set=1", b"GET /", b"GET /?set=1"]


def test_a_host_in_capitals_is_the_same_host(server: HttpsServer) -> None:
    fetch_json(server.url(host=HOST.upper()))
    assert f"Host: {HOST}:{server.port}\r\n".encode() in server.requests[0]


def test_the_age_of_an_answer_comes_along(server: HttpsServer) -> None:
    server.answer = reply(b"{}", headers=("Cache-Control: public, max-age=600", "Age: 100"))
    assert fetch_json(server.url()).max_age == 500


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"cache-control": "max-age=600"}, 600),
        ({"cache-control": "MAX-AGE = 600"}, 600),
        ({"cache-control": 'max-age="600"'}, 600),
        ({"cache-control": "public, max-age=600, s-maxage=60"}, 60),
        ({"cache-control": "max-age=600, max-age=5"}, 600),
        ({"cache-control": "max-age=600", "age": "700"}, 0),
        ({"cache-control": "max-age=600", "age": "nonsense"}, 600),
        ({"cache-control": "max-age=99999999999999999999"}, 2**31),
        ({"cache-control": "max-age=soon"}, 0),
        ({"cache-control": "max-age"}, 0),
        ({"cache-control": "max-age=-1"}, 0),
        ({"cache-control": "no-store, max-age=600"}, 0),
        ({"cache-control": 'no-cache="a, b", max-age=600'}, 0),
        ({"cache-control": "private"}, 0),
        ({"cache-control": "=="}, 0),
        ({"cache-control": "public"}, None),
        ({"cache-control": "max-age=600", "expires": "0"}, 600),
        ({"expires": "0"}, 0),
        ({"expires": "Tue, 24 Nov 2026 10:10:00 GMT"}, 600),
        ({"expires": "Tue, 24 Nov 2026 10:10:00 GMT", "date": "Tue, 24 Nov 2026 10:09:00 GMT"}, 60),
        ({"expires": "Tue, 24 Nov 2020 10:10:00 GMT"}, 0),
    ],
)
def test_freshness_is_what_http_says(headers: dict[str, str], seconds: int | None) -> None:
    assert freshness(headers, NOW) == seconds


# ------------------------------------------------------------------ the hook of the tests


def test_nothing_but_the_fetch_itself_names_the_hook_of_the_tests() -> None:
    """No setting, view, command or flow can open what only Python code in a test opens."""
    hook = {"TrustedForTests", "trusting", "_trusted"}
    sources = [*(ROOT / "ovauth").rglob("*.py"), *(ROOT / "project").rglob("*.py"), ROOT / "manage.py"]
    naming = {
        source.relative_to(ROOT).as_posix()
        for source in sources
        for node in ast.walk(ast.parse(source.read_text()))
        if {getattr(node, "id", None), getattr(node, "attr", None), getattr(node, "name", None)} & hook
    }
    assert naming == {"ovauth/fetching.py"}


def test_the_fetch_asks_neither_the_environment_nor_a_setting() -> None:
    tree = ast.parse((ROOT / "ovauth/fetching.py").read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {"os", "environ", "pathlib", "sys", "builtins", "importlib"}.isdisjoint(imported)
    ours = {name for name in imported if name.startswith(("ovauth", "project", "django", "pydantic"))}
    assert ours == {"ovauth.rules", "ovauth.rules.json_bounds", "ovauth.rules.web_address"}
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert {"open", "eval", "exec", "__import__"}.isdisjoint(called)


def test_a_process_in_which_every_variable_says_yes_still_refuses_loopback(authority: Authority) -> None:
    said = "\n".join(
        [
            "from ovauth import fetching",
            "import socket",
            "socket.getaddrinfo = lambda *a, **k: [(socket.AF_INET, socket.SOCK_STREAM, 6, '', ('127.0.0.1', 1))]",
            "assert fetching._trusted is None",
            "try: fetching.fetch_json('https://client.ovauth.test:8443/c')",
            "except fetching.Invalid as fault: print(fault)",
        ]
    )
    names = ("TRUSTED_FOR_TESTS", "TRUSTED", "FETCHING_TRUSTED", "CIMD", "DEBUG", "TESTING", "CIMD_TRUSTED", "CA_FILE")
    variables = {f"OVAUTH_{name}": "on" for name in names} | {
        "DEBUG": "1",
        "PYTEST_CURRENT_TEST": "this",
        "SSL_CERT_FILE": str(authority.file),
    }
    done = subprocess.run(
        [sys.executable, "-c", said], cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "its host is not on the public internet: 127.0.0.1"
