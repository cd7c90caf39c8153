"""`check --deploy`: every warning can be had, and goes away when its hint is followed."""

import re
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from ovauth.checks import deployment
from ovauth.flows import accounts
from tests.serving import manage

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


def test_every_message_tells_its_repair(safe: Configure, tmp_path: Path) -> None:
    safe(public_base_url=None, trusted_proxies=(ip_network("0.0.0.0/0"),))
    tmp_path.chmod(0o755)
    assert all(message.hint for message in deployment(None))


def test_on_a_fresh_folder_it_reads_well_and_makes_no_database(tmp_path: Path) -> None:
    done = manage("check", "--deploy", data_dir=tmp_path / "data")
    assert done.returncode == 0
    assert re.findall(r"\(([a-z]+\.\w+)\)", done.stdout + done.stderr) == ["ovauth.W001", "ovauth.I001"]
    assert not (tmp_path / "data" / "ovauth.sqlite3").exists()
