"""Audit events as JSON lines, as scripts read them."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ovauth.models import AuditEvent
from tests.serving import manage

pytestmark = pytest.mark.slow


def events(data_dir: Path, *args: str) -> list[dict[str, Any]]:
    done = manage("export_audit", *args, data_dir=data_dir)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("folder") / "data"
    for name in ("alice", "bob"):
        assert manage("create_user", name, "--account", "acme", "--role", "user", data_dir=data_dir).returncode == 0
    assert manage("revoke_user_tokens", "bob", "--account", "acme", data_dir=data_dir).returncode == 0
    return data_dir


def test_an_empty_folder_has_no_events_and_standard_output_stays_empty(tmp_path: Path) -> None:
    assert events(tmp_path / "data") == []


def test_every_event_is_one_line_with_every_field_oldest_first(data_dir: Path) -> None:
    told = events(data_dir)
    assert [(event["event"], event["detail"]["user"]) for event in told] == [
        ("user.created", "acme/alice"),
        ("api_key.created", "acme/alice"),
        ("user.created", "acme/bob"),
        ("api_key.created", "acme/bob"),
        ("user.tokens_revoked", "acme/bob"),
    ]
    assert {event["actor_kind"] for event in told} == {"operator"}
    assert set(told[0]) == {field.attname for field in AuditEvent._meta.fields}
    assert told[0]["detail"] == {"user": "acme/alice", "role": "user"}
    moments = [datetime.fromisoformat(event["at"]) for event in told]
    assert moments == sorted(moments)
    assert {moment.utcoffset() for moment in moments} == {moments[0].utcoffset()}
    assert told[0]["at"].endswith("+00:00")


def test_since_includes_its_moment_and_until_does_not(data_dir: Path) -> None:
    every = events(data_dir)
    first_of_bob = next(place for place, event in enumerate(every) if event["detail"]["user"] == "acme/bob")
    middle = every[first_of_bob]["at"]
    assert events(data_dir, "--since", middle) == every[first_of_bob:]
    assert events(data_dir, "--until", middle) == every[:first_of_bob]
    # UTC when it says nothing else
    assert events(data_dir, "--since", middle.removesuffix("+00:00")) == every[first_of_bob:]
    assert events(data_dir, "--since", "2999-01-01") == []
    assert events(data_dir, "--since", "2000-01-01", "--until", "2999-01-01T00:00:00+14:00") == every


@pytest.mark.parametrize("bad", ["yesterday", "2026-13-01", "2026-11-24T25:00", ""])
def test_what_is_no_moment_is_refused_in_one_sentence(data_dir: Path, bad: str) -> None:
    done = manage("export_audit", f"--since={bad}", data_dir=data_dir)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"“{bad}” is no moment; use an ISO 8601 date or moment" in done.stderr
    assert "Traceback" not in done.stderr
