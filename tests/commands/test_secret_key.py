"""The secret key: by file or by environment, rotated without anybody noticing, the same on every node."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ovauth import conf, credentials
from ovauth.flows import approval, authorization, device_code, one_time_password, shared_key
from ovauth.models import Client, DatabaseMark
from tests.conftest import Person, begun, registered
from tests.databases import postgresql_or_skip
from tests.serving import environment, manage, running

OLD, NEW, OTHER = (f"{name}-key-{'x' * 40}" for name in ("old", "new", "other"))


def keys(tmp_path: Path, value: str) -> list[str]:
    config = conf.Config(_env_file=None, data_dir=tmp_path / "data", secret_key=value)  # type: ignore[call-arg]
    return conf.secret_keys(config)[0]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(OLD, [OLD]), (f"{NEW},{OLD}", [NEW, OLD]), (f" {NEW}\n{OLD}\n", [NEW, OLD]), (f"{NEW}, {OLD},", [NEW, OLD])],
)
def test_keys_of_the_environment_are_separated_by_commas_or_lines_and_no_file_is_written(
    tmp_path: Path, value: str, expected: list[str]
) -> None:
    assert keys(tmp_path, value) == expected
    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.parametrize("value", ["short", ",", f"{OLD},short", "x" * 31])
def test_a_key_that_is_too_short_is_refused_and_not_repeated(tmp_path: Path, value: str) -> None:
    done = manage("collect_garbage", data_dir=tmp_path / "data", env={"OVAUTH_SECRET_KEY": value})
    assert done.returncode == 2
    assert done.stderr.startswith("OVAUTH_SECRET_KEY: its value cannot be used: each key needs at least 32 characters")
    assert done.stderr.count("\n") == 1
    assert len(value) < 6 or value not in done.stderr
    assert not (tmp_path / "data").exists()


def test_the_key_is_shown_nowhere(tmp_path: Path) -> None:
    config = conf.Config(_env_file=None, data_dir=tmp_path, secret_key=OLD)  # type: ignore[call-arg]
    assert OLD not in repr(config) + str(config) + config.model_dump_json()
    said = subprocess.run(
        [sys.executable, "-c", "import django; django.setup(); from django.conf import settings; print(settings.OVAUTH)"],
        env=environment(tmp_path, {"OVAUTH_SECRET_KEY": OLD, "DJANGO_SETTINGS_MODULE": "project.settings"}),
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert OLD not in said.stdout + said.stderr


# ------------------------------------------------------------------ rotation


@pytest.fixture
def sign_with(settings: Any) -> Callable[..., None]:
    """As a restart with these keys: the first signs, the others verify."""

    def change(first: str, *others: str) -> None:
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = first, list(others)

    change(OLD)
    return change


@pytest.mark.parametrize(
    "then",
    [(NEW, OLD), (OLD, NEW)],
    ids=["this node has rotated", "this node is still to be rotated"],
)
def test_a_page_that_waits_survives_a_rotation_on_whichever_node(
    sign_with: Callable[..., None], client_app: Client, bob: Person, then: tuple[str, ...]
) -> None:
    """Nodes are restarted one after the other: each begins under its own key and reads what the others began."""
    for first in ((OLD, NEW), (NEW, OLD)):
        sign_with(*first)
        pending = begun(client_app)
        code = authorization.look(pending_id=pending, browser="browser").display_code
        sign_with(*then)
        assert authorization.look(pending_id=pending, browser="browser").display_code == code
        assert approval.approve(authority=bob.by_key, code=code).status == "approved"


def test_one_time_passwords_and_device_codes_survive_a_rotation(
    sign_with: Callable[..., None], client_app: Client, bob: Person
) -> None:
    typed, _ = one_time_password.issue(authority=bob.by_key)
    device = registered(grant_types=["urn:ietf:params:oauth:grant-type:device_code"], redirect_uris=[])
    shown = device_code.begin(client=device, scope=None, resource=(), issuer="http://testserver").user_code
    sign_with(NEW, OLD)
    pending = begun(client_app)
    approval.present_one_time_password(pending_id=pending, browser="browser", typed=typed)
    assert approval.approve(authority=bob.by_key, code=shown).status == "approved"


def test_a_key_that_was_taken_away_opens_nothing(sign_with: Callable[..., None], client_app: Client, bob: Person) -> None:
    pending = begun(client_app)
    code = authorization.look(pending_id=pending, browser="browser").display_code
    sign_with(NEW)
    assert authorization.look(pending_id=pending, browser="browser").display_code != code
    with pytest.raises(Exception, match="No request is waiting"):
        approval.approve(authority=bob.by_key, code=code)


# ------------------------------------------------------------------ several nodes


def test_the_first_node_decides_and_the_others_follow_a_rotation(db: None) -> None:
    DatabaseMark.objects.create(home="here")

    def joins(*keys: str, replaced: bool = False) -> bool:
        return shared_key.agree(keys=keys, replaced=replaced)

    assert joins(OLD)
    assert joins(OLD)
    assert not joins(NEW)
    assert joins(OLD, NEW)  # every node learns the new key before one signs with it
    assert joins(NEW, OLD)
    assert joins(NEW, OLD)
    assert not joins(OLD)  # one that was forgotten
    assert joins(NEW)
    assert not joins(OTHER)
    assert joins(OTHER, replaced=True)
    assert not joins(NEW)
    stored = bytes(DatabaseMark.objects.get().key_digest or b"")
    assert len(stored) == 32
    assert credentials.digest(OTHER) != stored


@pytest.mark.slow
def test_a_node_with_another_key_does_not_start_and_says_what_to_do(tmp_path: Path) -> None:
    with postgresql_or_skip() as url:
        _another_key(tmp_path, {"DATABASE_URL": url})


def _another_key(tmp_path: Path, env: dict[str, str]) -> None:
    first, second = tmp_path / "first" / "data", tmp_path / "second" / "data"
    first.parent.mkdir()
    second.parent.mkdir()
    with running(data_dir=first, env=env) as server:
        key = server.operator_api_key
    refused = manage("serve", "--port", "0", data_dir=second, env=env)
    assert refused.returncode == 2
    assert refused.stderr.startswith("The other nodes of this database have another secret key")
    assert refused.stderr.count("\n") == 1
    assert str(second / "secret_key") in refused.stderr
    theirs = (first / "secret_key").read_text().strip()
    with running(data_dir=second, env=env | {"OVAUTH_SECRET_KEY": theirs}) as server:
        assert httpx2.get(f"{server.url}/api/v1/whoami", headers={"X-Api-Key": key}).status_code == 200
    (second / "replaced_secret_key").touch()
    with running(data_dir=second, env=env):
        assert not (second / "replaced_secret_key").exists()
    assert manage("serve", "--port", "0", data_dir=first, env=env).returncode == 2
