"""Dockerfile and compose file, as far as they can be held to their word without a container engine."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import yaml
from django.core.management import get_commands

from ovauth import conf
from ovauth.management.commands import serve
from tests.serving import READY, Server, running

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


# ------------------------------------------------------------------ compose.yaml, with what .env says


def interpolated(text: str, env: dict[str, str]) -> str:
    """`${NAME:-default}` and `${NAME:+instead}`, nested, as the Compose specification says; nothing else may occur."""
    made, at = "", 0
    while (start := text.find("${", at)) >= 0:
        depth, end = 1, start + 2
        while depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        expression = re.fullmatch(r"(\w+):([-+])(.*)", text[start + 2 : end - 1], re.DOTALL)
        assert expression, f"{text[start:end]} is not understood here"
        name, kind, word = expression.groups()
        value = env.get(name, "")
        told = interpolated(word, env)
        made += text[at:start] + ((told if value else "") if kind == "+" else value or told)
        at = end
    return made + text[at:]


def compose(**env: str) -> dict[str, Any]:
    """The file as Compose understands it: every string in it, once YAML is read, with what .env says."""

    def told(found: Any) -> Any:
        match found:
            case dict():
                return {name: told(value) for name, value in found.items()}
            case list():
                return [told(value) for value in found]
            case str():
                return interpolated(found, env)
        return found

    made = told(yaml.safe_load((ROOT / "compose.yaml").read_text()))
    assert isinstance(made, dict)
    return made


def configured(environment: dict[str, Any]) -> conf.Config:
    """What ovauth makes of an environment and of nothing else."""
    with patch.dict(os.environ, {name: str(value) for name, value in environment.items()}, clear=True):
        return conf.Config(_env_file=None)  # type: ignore[call-arg]


def test_every_variable_that_compose_sets_is_a_setting() -> None:
    known = {conf.variable(name) for name in conf.SETTINGS}
    told = set(compose()["services"]["ovauth"]["environment"])
    assert told <= known
    assert told >= {"OVAUTH_DATA_DIR", "OVAUTH_PUBLIC_BASE_URL", "OVAUTH_TRUSTED_PROXIES", "DATABASE_URL"}
    mentioned = set(re.findall(r"\bOVAUTH_\w+", (ROOT / "compose.yaml").read_text()))
    assert mentioned <= known


def test_without_any_setting_it_is_http_on_one_local_port_and_sqlite() -> None:
    services = compose()["services"]
    config = configured(services["ovauth"]["environment"])
    assert config.public_base_url is None
    assert config.database_url is None
    assert str(config.data_dir) == "/data"
    assert services["caddy"]["environment"] == {"SITE": ":1934", "UPSTREAM": "ovauth:1933"}
    assert services["caddy"]["ports"] == ["127.0.0.1:1934:1934", "80", "443"]
    assert services["postgresql"]["profiles"] == ["postgresql"], "nobody gets a PostgreSQL unasked"


def test_a_domain_is_all_that_https_needs() -> None:
    services = compose(DOMAIN="ov.example.com")["services"]
    config = configured(services["ovauth"]["environment"])
    assert config.public_base_url == "https://ov.example.com"
    assert services["caddy"]["environment"]["SITE"] == "ov.example.com"
    assert {"80:80", "443:443"} <= set(services["caddy"]["ports"])
    elsewhere = compose(DOMAIN="a.example", OVAUTH_PUBLIC_BASE_URL="https://b.example")["services"]["ovauth"]
    assert configured(elsewhere["environment"]).public_base_url == "https://b.example"


def test_a_password_is_all_that_postgresql_needs() -> None:
    services = compose(POSTGRES_PASSWORD="pw1")["services"]
    assert configured(services["ovauth"]["environment"]).database_url == "postgres://ovauth:pw1@postgresql/ovauth"
    database = services["postgresql"]
    assert database["environment"] == {"POSTGRES_USER": "ovauth", "POSTGRES_DB": "ovauth", "POSTGRES_PASSWORD": "pw1"}
    assert services["ovauth"]["depends_on"]["postgresql"] == {"condition": "service_healthy", "required": False}


def test_caddy_alone_is_believed_about_addresses() -> None:
    for env in ({}, {"SUBNET": "10.9.8"}):
        made = compose(**env)
        services = made["services"]
        (trusted,) = configured(services["ovauth"]["environment"]).trusted_proxies
        assert trusted.num_addresses == 1
        assert str(trusted.network_address) == services["caddy"]["networks"]["inside"]["ipv4_address"]
        (network,) = made["networks"]["inside"]["ipam"]["config"]
        assert trusted.subnet_of(conf.ip_network(network["subnet"]))  # type: ignore[arg-type]
        assert services["ovauth"]["networks"]["inside"]["ipv4_address"] != str(trusted.network_address)
    assert "ports" not in compose()["services"]["ovauth"], "only Caddy reaches it"


def test_every_service_comes_back_is_watched_and_keeps_what_it_wrote() -> None:
    made = compose()
    for name, service in made["services"].items():
        assert service["restart"] == "unless-stopped", name
        assert "healthcheck" in service or "build" in service, name
        volumes = [volume.split(":")[0] for volume in service["volumes"] if not volume.startswith("./")]
        assert volumes, name
        assert set(volumes) <= set(made["volumes"]), name
        for mounted in (volume for volume in service["volumes"] if volume.startswith("./")):
            assert (ROOT / mounted.split(":")[0]).is_file()
    ovauth = made["services"]["ovauth"]
    assert ovauth["read_only"] is True
    assert ovauth["cap_drop"] == ["ALL"]
    assert int(ovauth["stop_grace_period"].removesuffix("s")) > serve.GRACE + serve.LAST_GRACE


# ------------------------------------------------------------------ Dockerfile


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


def said(name: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == name]


def test_the_image_is_built_by_the_commands_of_the_readme() -> None:
    assert "pip install uv" in README
    runs = said("RUN")
    assert any(re.fullmatch(r"pip install (--no-cache-dir )?uv", run) for run in runs)
    assert any(run.startswith("uv sync --no-dev") for run in runs), "what the tests need has no place in an image"
    assert "uv run manage.py serve" in README
    (entry,), (command,) = said("ENTRYPOINT"), said("CMD")
    assert json.loads(entry) == ["python", "manage.py"]
    assert json.loads(command) == ["serve", "--host", "0.0.0.0"]
    assert "serve" in get_commands()


def test_the_image_runs_as_nobody_in_particular_and_keeps_its_data_outside() -> None:
    uid, gid = (int(part) for part in said("USER")[-1].split(":"))
    assert uid >= 1000
    assert gid >= 1000
    assert f"--uid {uid} " in " ".join(said("RUN"))
    assert said("VOLUME") == ["/data"]
    assert "OVAUTH_DATA_DIR=/data" in " ".join(said("ENV"))
    assert said("STOPSIGNAL") == ["SIGTERM"]
    assert [line.split()[0] for line in said("FROM")] == ["python:3.11-slim"] * 2


def test_neither_data_nor_settings_of_this_machine_get_into_an_image() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert ".*" in ignored  # .git, .venv, .env
    assert {"data/", "uv.lock", "tests/"} <= set(ignored)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program as the image holds it: what git has less what .dockerignore names, readable and nothing else."""
    app = tmp_path_factory.mktemp("image") / "app"
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no git checkout: what belongs to the program is not known")
    ignored = (ROOT / ".dockerignore").read_text().split()
    folders = tuple(line for line in ignored if line.endswith("/"))
    for name in listed.stdout.splitlines():
        source = ROOT / name
        if name.startswith((".", *folders)) or name in ignored or not source.exists():
            continue
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, app / name)
    return app


def test_the_image_holds_what_serve_needs_and_serve_writes_below_data_alone(image: Path, tmp_path: Path) -> None:
    """As in the container: only what the image has, nothing but the data folder changes, the health check succeeds."""
    before = {path: path.stat().st_mtime_ns for path in image.rglob("*")}
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    nowhere = tmp_path / "nowhere"  # whoever wants to write into a home or temporary folder fails loudly
    process = subprocess.Popen(
        [*read_only_but(data), sys.executable, "manage.py", "serve", "--port", "0", "--workers", "2"],
        cwd=image,
        env={
            "PATH": os.environ["PATH"],
            "OVAUTH_DATA_DIR": str(data),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "HOME": str(nowhere),
            "TMPDIR": str(nowhere),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    server = Server(data, {}, process)
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if ready := READY.match(line):
                server.url = ready[1]
                break
        assert server.url, "".join(lines)
        assert health_check(server.url) == 0
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert {path: path.stat().st_mtime_ns for path in image.rglob("*")} == before
    assert not nowhere.exists()
    assert health_check(server.url) != 0, "nobody is there, and the check says that all is well"


def read_only_but(folder: Path) -> list[str]:
    """What to put before a command so that this folder is all that it can write to; nothing where that is not possible.

    Without it the test still sees every change below the program.
    """
    script = 'mount --make-rprivate / && mount --bind "$0" "$0" && mount -o remount,bind,ro / && exec "$@"'
    before = ["unshare", "--mount", "sh", "-c", script, str(folder)]
    try:
        possible = subprocess.run([*before, "true"], capture_output=True, timeout=30, check=False).returncode == 0
    except FileNotFoundError:
        possible = False
    return before if possible else []


def health_check(url: str) -> int:
    """The exit status of the image's own HEALTHCHECK, asked at another port."""
    (check,) = said("HEALTHCHECK")
    command = json.loads(check.partition("CMD ")[2])
    assert command[0] == "python"
    port = url.rpartition(":")[2]
    assert "1933" in command[2]
    done = subprocess.run(
        [sys.executable, *command[1:2], command[2].replace("1933", port)], capture_output=True, timeout=30, check=False
    )
    return done.returncode


def test_a_health_check_fails_when_the_server_is_not_ready(tmp_path: Path) -> None:
    with running(data_dir=tmp_path / "data") as server:
        assert health_check(server.url) == 0
        (tmp_path / "data" / "ovauth.sqlite3").rename(tmp_path / "gone")
        (tmp_path / "data" / "ovauth.sqlite3-wal").unlink(missing_ok=True)
        assert health_check(server.url) != 0


def test_the_compose_file_says_commands_that_exist() -> None:
    text = (ROOT / "compose.yaml").read_text() + (ROOT / "Dockerfile").read_text()
    named = re.findall(r"python manage\.py (\w+)", text)
    assert named
    assert set(named) <= set(get_commands())
