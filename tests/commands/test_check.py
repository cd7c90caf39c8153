"""`check --deploy`: every warning can be had, and goes away when its hint is followed."""

import re
from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import Tags, run_checks
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone
from freezegun import freeze_time

from ovauth import checks
from ovauth.checks import deployment
from ovauth.flows import accounts, shared_key
from ovauth.management.cautions import cautions
from ovauth.models import DatabaseMark
from tests.databases import NotHere, database_url
from tests.serving import manage, running

Configure = Callable[..., Any]


@pytest.fixture
def safe(db: None, configure: Configure, tmp_path: Path) -> Configure:
    """A configuration without a warning; calling it changes fields."""
    tmp_path.chmod(0o700)
    (tmp_path / "secret_key").touch(0o600)
    fields = {"data_dir": tmp_path, "public_base_url": "https://ov.example.com"}
    configure(**fields)
    return lambda **changes: configure(**(fields | changes))


def warned() -> list[str]:
    return [str(message.id) for message in deployment(None) if message.id and message.id.startswith("ovauth.W")]


def test_a_safe_configuration_is_not_warned_about(safe: Configure) -> None:
    assert warned() == []


@pytest.mark.parametrize(
    ("change", "number"),
    [
        ({"mcp_server": "nowhere.to.be:found"}, "W013"),
        ({"public_base_url": None}, "W001"),
        ({"public_base_url": "http://127.0.0.1:1933"}, "W002"),
        ({"trusted_proxies": (ip_network("0.0.0.0/0"),)}, "W003"),
        ({"trusted_proxies": (ip_network("::/0"),)}, "W003"),
    ],
)
def test_an_unsafe_setting_is_warned_about(safe: Configure, change: dict[str, Any], number: str) -> None:
    safe(**change)
    assert warned() == [f"ovauth.{number}"]


def test_a_network_of_proxies_is_not_too_wide(safe: Configure) -> None:
    safe(trusted_proxies=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")))
    assert warned() == []


@pytest.mark.parametrize(("name", "mode", "number"), [("", 0o755, "W004"), ("secret_key", 0o640, "W005")])
def test_files_that_others_can_read_are_warned_about(
    safe: Configure, tmp_path: Path, name: str, mode: int, number: str
) -> None:
    (tmp_path / name).chmod(mode)
    assert warned() == [f"ovauth.{number}"]


def test_the_first_password_and_key_are_warned_about_until_they_are_changed(safe: Configure) -> None:
    accounts.create_first_operator(lambda made: None)
    assert warned() == ["ovauth.W006", "ovauth.W007"]
    accounts.set_password(account="default", name="operator", password="another-long-password")
    assert warned() == ["ovauth.W007"]
    accounts.rotate_api_key(account="default", name="operator")
    assert warned() == []


def test_settings_that_others_can_read_are_warned_about(
    safe: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may hold the password of the database."""
    (tmp_path / ".env").touch(0o644)
    monkeypatch.chdir(tmp_path)
    assert warned() == ["ovauth.W012"]
    (tmp_path / ".env").chmod(0o600)
    assert warned() == []


def test_sqlite_on_a_network_disk_is_warned_about(safe: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has such a disk cannot be had here, so it is one by its list of mounts."""
    listed = tmp_path / "mountinfo"
    monkeypatch.setattr(checks, "MOUNTS", listed)
    for kind, expected in (("nfs4", ["ovauth.W008"]), ("ext4", [])):
        listed.write_text(f"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n40 22 0:50 / {tmp_path} rw shared:9 - {kind} host:/x rw\n")
        assert warned() == expected


@pytest.mark.skipif(connection.vendor != "sqlite", reason="a database with another clock cannot be had")
def test_clocks_that_differ_are_warned_about(safe: Configure) -> None:
    DatabaseMark.objects.create(home="here")
    with freeze_time(timezone.now() + timedelta(seconds=8)):  # SQLite asks the machine, which stays as it is
        assert warned() == ["ovauth.W010"]
    with freeze_time(timezone.now() - timedelta(seconds=3)):
        assert warned() == []


def test_another_key_than_that_of_the_other_nodes_is_warned_about(safe: Configure, settings: Any) -> None:
    DatabaseMark.objects.create(home="here")
    shared_key.agree(keys=["the key of the others"], replaced=False)
    assert warned() == ["ovauth.W009"]
    settings.SECRET_KEY_FALLBACKS = ["the key of the others"]
    assert warned() == []


def test_a_database_of_a_newer_program_is_warned_about(safe: Configure) -> None:
    MigrationRecorder(connection).record_applied("ovauth", "9999_of_tomorrow")
    assert warned() == ["ovauth.W011"]


def test_an_mcp_server_that_may_keep_sessions_is_told_of(safe: Configure) -> None:
    safe(mcp_server="tests.commands.slow:waits")
    assert "ovauth.I003" in [message.id for message in deployment(None)]
    assert warned() == []


def test_debug_is_warned_about(safe: Configure, settings: Any) -> None:
    """By Django's own check, which ours stands beside."""
    settings.DEBUG = True
    found = run_checks(tags=[Tags.security], include_deployment_checks=True)
    assert "security.W018" in [message.id for message in found]


def test_it_reads_a_real_postgresql_as_well(tmp_path: Path) -> None:
    try:
        with database_url("postgresql") as url:
            env = {"DATABASE_URL": str(url), "OVAUTH_PUBLIC_BASE_URL": "https://ov.example.com"}
            with running(data_dir=tmp_path / "data", env=env):
                done = manage("check", "--deploy", data_dir=tmp_path / "data", env=env)
    except NotHere as why:
        pytest.skip(str(why))
    found = re.findall(r"\(([a-z]+\.\w+)\)", done.stdout + done.stderr)
    assert found == ["ovauth.W006", "ovauth.W007", "ovauth.I002"]


def test_every_message_tells_its_repair(safe: Configure, tmp_path: Path) -> None:
    safe(public_base_url=None, trusted_proxies=(ip_network("0.0.0.0/0"),))
    tmp_path.chmod(0o755)
    assert all(message.hint for message in deployment(None))


def test_the_guide_has_every_message_and_no_other() -> None:
    root = Path(checks.__file__).parents[1]
    pattern = r"ovauth\.[WI]\d{3}|(?<=\")[W]\d{3}(?=\")"
    told = re.findall(pattern, (root / "docs" / "troubleshooting.md").read_text())
    assert sorted(told) == sorted(
        {f"ovauth.{found[-4:]}" for found in re.findall(pattern, Path(checks.__file__).read_text())}
    )


def test_on_a_fresh_folder_it_reads_well_and_makes_no_database(tmp_path: Path) -> None:
    done = manage("check", "--deploy", data_dir=tmp_path / "data")
    assert done.returncode == 0
    assert re.findall(r"\(([a-z]+\.\w+)\)", done.stdout + done.stderr) == ["ovauth.W001", "ovauth.I001"]
    assert not (tmp_path / "data" / "ovauth.sqlite3").exists()


# ------------------------------------------------------------------ what only a start knows


SAFE = {"host": "127.0.0.1", "workers": 1, "on_sqlite": True, "stateless": True}


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ({}, ""),
        ({"host": "0.0.0.0"}, "OVAUTH_PUBLIC_BASE_URL"),
        ({"host": "::"}, "OVAUTH_PUBLIC_BASE_URL"),
        ({"host": "::1"}, ""),
        ({"workers": 4}, ""),
        ({"workers": 5}, "--workers 4"),
        ({"workers": 5, "on_sqlite": False}, ""),
        ({"workers": 2, "stateless": False}, "--workers 1"),
        ({"workers": 1, "stateless": False}, ""),
    ],
)
def test_a_start_warns_of_what_only_it_knows(configure: Configure, start: dict[str, Any], said: str) -> None:
    sentences = list(cautions(configure(), **{**SAFE, **start}))
    assert len(sentences) == bool(said)
    assert said in "".join(sentences)


def test_with_a_public_address_it_may_listen_everywhere(configure: Configure) -> None:
    assert not list(cautions(configure(public_base_url="https://ov.example.com"), **{**SAFE, "host": "0.0.0.0"}))


def test_a_real_start_says_so_before_it_is_ready(tmp_path: Path) -> None:
    with running(data_dir=tmp_path / "data", args=("--host", "0.0.0.0")) as server:
        said = server.output()
    assert "\nCaution      Listens on 0.0.0.0 without a public address" in said
    assert said.index("Caution") < said.index("ovauth ready at")
