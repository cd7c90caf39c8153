"""Every refusal in every shape: the words that may leave the house, and none that may not."""

import html
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation, TooManyFieldsSent
from django.db import DataError, IntegrityError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest
from django.http.multipartparser import MultiPartParserError
from django.test import RequestFactory
from ninja.errors import AuthenticationError, HttpError, ValidationError

from ovauth import errors
from ovauth.errors import InsufficientScope, Refusal, TooManyRequests, UntrustedRedirect
from ovauth.rules import redirect_uris
from ovauth.web import faults
from tests.conftest import CALLBACK, ISSUER
from tests.web.asking import Answer
from tests.web.conftest import CHARSET, assert_refused

PATHS = {"oauth": "/token", "api": "/api/v1/whoami", "well-known": "/.well-known/x", "page": "/authorize"}
HOSTILE = '“quoted” "double" back\\slash\r\nSet-Cookie: a=b\0\x7f <script>alert(1)</script> ‮😀 é'
SECRET = "ovat_a-secret-that-stays-in-the-log"


def family(root: type[Refusal]) -> Iterator[type[Refusal]]:
    for child in root.__subclasses__():
        yield child
        yield from family(child)


KINDS = sorted(set(family(Refusal)) - {errors.OAuthRefusal, errors.ServerFault}, key=lambda kind: kind.__name__)


def made(kind: type[Refusal], description: str = "") -> Refusal:
    if kind is InsufficientScope:
        return InsufficientScope(("mcp", "admin"))
    if kind is UntrustedRedirect:
        asked = "https://evil.example/<script>alert(1)</script>"
        return UntrustedRedirect(description or "x", reason=SECRET, asked=asked, registered=(CALLBACK,))
    if kind is TooManyRequests:
        return TooManyRequests(7, description, reason=SECRET)
    return kind(description, reason=SECRET)


def asked(path: str) -> HttpRequest:
    request = RequestFactory().get(path)
    request.user = AnonymousUser()
    request.id = "0123456789abcdef"  # type: ignore[attr-defined]
    return request


def answered(path: str, fault: Exception) -> Answer:
    response = faults.answer(asked(path), fault)
    headers = [(name.lower(), value) for name, value in response.items()]
    return Answer(response.status_code, (*headers, ("x-content-type-options", "nosniff")), response.content)


def test_the_family_is_complete() -> None:
    assert len(KINDS) >= 25
    drawn = errors.__doc__ or ""
    assert [kind.__name__ for kind in KINDS if kind.__name__ not in drawn] == []


@pytest.mark.logs_secrets  # the reason of a refusal is rich; the redaction of the log is what takes it away
@pytest.mark.parametrize("shape", PATHS)
@pytest.mark.parametrize("description", ["", HOSTILE], ids=["plain", "hostile"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_refusal_has_its_status_its_word_and_no_secret(kind: type[Refusal], description: str, shape: str) -> None:
    refusal = made(kind, description)
    answer = answered(PATHS[shape], refusal)
    assert_refused(answer, shape, status=kind.status)
    assert SECRET not in answer.text
    assert "<script>" not in answer.text or shape != "page"  # JSON is no page, and says so
    assert ("retry-after" in answer.headers) == hasattr(refusal, "retry_after")
    if shape == "well-known":
        assert answer.json() == {"error": kind.code}
    if shape == "api":
        assert answer.json()["error"]["code"] == kind.code
        assert answer.json()["error"]["message"] == refusal.description
    if shape == "page" and not description and kind not in (UntrustedRedirect,):
        assert answer.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.may_redirect], ids=lambda kind: kind.__name__)
def test_a_refusal_that_travels_speaks_the_charset_of_the_rfc(kind: type[Refusal]) -> None:
    from ovauth.flows import authorization

    url = authorization.error_redirect(CALLBACK, made(kind, HOSTILE), "st", ISSUER)
    assert url.startswith(f"{CALLBACK}?error={kind.code}&")
    assert url.isascii()
    assert url.isprintable()
    assert CHARSET.fullmatch(made(kind, HOSTILE).spoken)
    assert redirect_uris.with_parameters(CALLBACK, {}) == CALLBACK


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_a_class_says_by_itself_needs_no_mending(kind: type[Refusal]) -> None:
    assert made(kind).spoken == made(kind).description


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Http404("ovat_x"), 404),
        (PermissionDenied("ovat_x"), 403),
        (SuspiciousOperation("ovat_x"), 400),
        (TooManyFieldsSent("ovat_x"), 400),
        (RequestDataTooBig("ovat_x"), 413),
        (MultiPartParserError("ovat_x"), 400),
        (HttpError(422, "ovat_x"), 400),
        (AuthenticationError(), 400),
        (ValidationError([{"msg": "ovat_x"}]), 400),
        (OperationalError("database is locked"), 503),
        (InterfaceError("connection already closed"), 503),
        (IntegrityError("UNIQUE constraint failed: ovauth_client.client_id"), 503),
        (DataError("value too long"), 503),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
@pytest.mark.parametrize("shape", PATHS)
def test_what_others_raise_becomes_a_refusal(fault: Exception, status: int, shape: str) -> None:
    answer = answered(PATHS[shape], fault)
    assert_refused(answer, shape, status=status)
    assert str(fault) not in answer.text or not str(fault)


@pytest.mark.parametrize("shape", PATHS)
@pytest.mark.parametrize("fault", [ValueError(SECRET), KeyError(SECRET), AssertionError(), RecursionError(), MemoryError()])
def test_a_fault_of_ours_is_told_in_shape_and_without_a_traceback(fault: Exception, shape: str) -> None:
    answer = answered(PATHS[shape], fault)
    assert answer.status == 500
    assert answer.headers["cache-control"] == "no-store"
    assert SECRET not in answer.text
    assert "Traceback" not in answer.text
    assert type(fault).__name__ not in answer.text
    if shape == "oauth":
        assert answer.json()["error"] == "server_error"


def test_a_page_that_cannot_be_made_is_still_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise OperationalError("who is signed in cannot be asked")

    monkeypatch.setattr(faults, "page", broken)
    answer = answered("/authorize", errors.NotFound())
    assert (answer.status, answer.text) == (404, "There is nothing here.\n")
    assert answer.headers["content-type"].startswith("text/plain")


def test_a_page_escapes_what_a_stranger_wrote() -> None:
    answer = answered("/authorize", made(UntrustedRedirect, HOSTILE))
    assert "<script>alert" not in answer.text
    assert html.escape("<script>") in answer.text or "evil.example" in answer.text


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/token", "oauth"),
        ("/token/x", "oauth"),
        ("/tokens", "page"),
        ("/register/abc", "oauth"),
        ("/registered", "page"),
        ("/par", "oauth"),
        ("/parrot", "page"),
        ("/api/", "api"),
        ("/apiary", "page"),
        ("/health/live", "api"),
        ("/oauth/authorize/page/status", "api"),
        ("/oauth/authorize/page", "page"),
        ("/.well-known/", "well-known"),
        ("/.well-knownx", "page"),
    ],
)
def test_the_path_decides_the_shape_by_whole_segments(path: str, shape: str) -> None:
    assert_refused(answered(path, errors.NotFound()), shape, status=404)


def test_the_reference_on_a_page_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="ovauth"):
        answer = answered("/nowhere", errors.NotFound())
    assert "0123456789abcdef" in answer.text
    assert "0123456789abcdef" in caplog.text
