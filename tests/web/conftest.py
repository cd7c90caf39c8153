"""The site of these tests, and what a refusal looks like in each of its shapes."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal
from django.apps import apps
from django.urls import set_script_prefix

from ovauth import logs
from tests.web.asking import Answer, InTheTestsThread, Site

CHARSET = re.compile(r"[\x20-\x21\x23-\x5B\x5D-\x7E]+")
"""RFC 6749 §5.2."""


@pytest.fixture(scope="session")
def _application() -> Any:
    from project.asgi import application

    return application


@pytest.fixture
def site(db: None, _application: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    threads = InTheTestsThread()
    monkeypatch.setattr("ovauth.threads.pages", threads)
    monkeypatch.setattr("ovauth.threads.others", threads)
    monkeypatch.setattr("ovauth.threads.protocol", threads)
    # What the test's thread has not committed, no glance of the event loop would see.
    monkeypatch.setattr("ovauth.bearer.Glance.identify", lambda *args, **kwargs: None)
    with start_blocking_portal() as portal:
        yield Site(_application, portal, threads)
    set_script_prefix("/")  # the requests ran in this thread


def assert_refused(answer: Answer, shape: str, *, status: int | None = None, error: str | None = None) -> None:
    """A standard error in the shape of its endpoint: `oauth`, `api`, `well-known` or `page`; never a fault of ours."""
    assert 400 <= answer.status < 500 or answer.status == 503, answer
    if status is not None:
        assert answer.status == status, answer
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "location" not in answer.headers
    if answer.status == 401:
        assert answer.headers["www-authenticate"]
    assert "Traceback" not in answer.text
    assert not logs.SECRET.search(answer.text), answer
    if shape == "page":
        assert answer.headers["content-type"].startswith("text/html")
        assert "access-control-allow-origin" not in answer.headers
        return
    document = answer.json()
    match shape:
        case "oauth":
            assert set(document) == {"error", "error_description"}
            assert CHARSET.fullmatch(document["error_description"])
            code = document["error"]
        case "api":
            assert set(document) == {"error"}
            assert set(document["error"]) == {"code", "message"}
            assert document["error"]["message"]
            code = document["error"]["code"]
        case "well-known":
            assert set(document) == {"error"}
            code = document["error"]
    assert re.fullmatch(r"[a-z_]+", code)
    if error is not None:
        assert code == error


Rows = dict[str, Any]
_NOTED = {"Tally", "AuditEvent", "Session", "LogEntry"}


@pytest.fixture
def rows() -> Callable[[], Rows]:
    """Everything in the database but the notes about failures, to be compared before and after."""
    models = [model for model in apps.get_app_config("ovauth").get_models() if model.__name__ not in _NOTED]

    def all_rows() -> Rows:
        return {
            model.__name__: sorted(
                (
                    tuple(bytes(value) if isinstance(value, memoryview) else repr(value) for value in row)
                    for row in model.objects.values_list()
                ),
                key=repr,
            )
            for model in models
        }

    return all_rows
