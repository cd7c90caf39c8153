"""The systemd unit, read by systemd itself."""

import configparser
import re
import secrets
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ovauth import conf
from ovauth.management.commands import serve
from ovauth.management.systemd import tell
from tests.serving import running

UNIT = Path(__file__).resolve().parents[2] / "deploy" / "ovauth.service"
MANAGE = UNIT.parents[1] / "manage.py"


@pytest.fixture
def unit() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT.read_text())
    return parser["Service"]


@pytest.fixture
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not installed (apt-get install systemd)")
    return found


def rendered(tmp_path: Path) -> Path:
    """The unit for this checkout and this Python, since systemd looks whether the program is there."""
    file = tmp_path / "ovauth.service"
    text = UNIT.read_text().replace("/opt/ovauth/.venv/bin/python", sys.executable)
    file.write_text(text.replace("/opt/ovauth", str(MANAGE.parent)))
    return file


def test_systemd_finds_no_fault(analyze: str, tmp_path: Path) -> None:
    done = subprocess.run([analyze, "verify", rendered(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_systemd_calls_it_well_protected(analyze: str, tmp_path: Path) -> None:
    command = [analyze, "security", "--offline=true", "--no-pager", rendered(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    if level is None:
        pytest.skip(f"this systemd cannot judge a file: {done.stderr.strip()}")
    assert float(level[1]) < 2.5, done.stdout  # 10 is a service without any protection


def test_it_stops_with_time_for_what_is_in_flight_and_returns_by_itself(unit: configparser.SectionProxy) -> None:
    assert int(unit["TimeoutStopSec"]) > serve.GRACE + serve.LAST_GRACE
    assert unit["KillSignal"] == "SIGTERM"
    assert unit["Restart"] == "on-failure"


def test_it_is_ready_when_it_says_so(unit: configparser.SectionProxy) -> None:
    assert unit["Type"] == "notify"
    assert unit["NotifyAccess"] == "main"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["path", "abstract"])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_systemd_is_told_when_requests_are_answered_and_when_they_are_no_more(
    tmp_path: Path, kind: str, workers: str
) -> None:
    name = str(tmp_path / "notify") if kind == "path" else f"@ovauth-{secrets.token_hex(4)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name if kind == "path" else "\0" + name[1:])
        systemd.settimeout(30)
        env = {"NOTIFY_SOCKET": name}
        with running(data_dir=tmp_path / "data", env=env, args=("--workers", workers)) as server:
            assert systemd.recv(100) == b"READY=1"
            assert httpx2.get(f"{server.url}/health/ready").status_code == 200
            assert server.stop() == 0
            assert systemd.recv(100) == b"STOPPING=1"
            systemd.settimeout(0.2)
            with pytest.raises(TimeoutError):
                systemd.recv(100)


def test_a_systemd_that_does_not_listen_is_no_fault(tmp_path: Path, settings: Any) -> None:
    settings.OVAUTH = settings.OVAUTH.model_copy(update={"notify_socket": str(tmp_path / "nobody")})
    tell("READY=1")


def test_it_writes_into_its_state_folder_alone_as_a_user_of_its_own(unit: configparser.SectionProxy) -> None:
    assert unit["DynamicUser"] == "yes"
    assert unit["ProtectSystem"] == "strict"
    assert "ReadWritePaths" not in unit
    environment = dict(pair.split("=") for pair in unit["Environment"].split())
    assert environment.pop("OVAUTH_DATA_DIR") == f"/var/lib/{unit['StateDirectory']}"
    assert environment.pop("PYTHONDONTWRITEBYTECODE") == "1"
    assert not [name for name in environment if name.startswith("OVAUTH_")]
    assert "data_dir" in conf.SETTINGS


def test_it_starts_what_the_readme_starts(unit: configparser.SectionProxy) -> None:
    python, *command = unit["ExecStart"].split()
    assert python == f"{unit['WorkingDirectory']}/.venv/bin/python"
    assert command == ["manage.py", "serve"]
    assert MANAGE.is_file()
