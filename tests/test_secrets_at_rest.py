"""No secret in clear at rest: not in the database file, not in its write-ahead log, not in a log line.

A program of its own (`python tests/test_secrets_at_rest.py`) lives a full life of credentials on a SQLite file and writes
every secret that it was shown to standard output, its log to standard error. The test then reads the bytes on the disk,
while the program still holds the database open.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.serving import environment

ROOT = Path(__file__).resolve().parents[1]


def live() -> None:
    """Everything that ovauth ever shows in clear, shown at least once, by its kind."""
    import django

    django.setup()
    import logging

    from django.core.management import call_command

    # Without the net that shortens what looks like a credential: nothing may fall into it in the first place.
    logging.getLogger().setLevel(logging.DEBUG)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(logging.Formatter("%(name)s %(message)s %(audit)s", defaults={"audit": ""}))
    for name in ("ovauth", "ovauth.audit", "ovauth.request"):
        logging.getLogger(name).setLevel(logging.DEBUG)
        logging.getLogger(name).propagate = True
    call_command("migrate", verbosity=0)

    from urllib.parse import parse_qs, urlsplit

    from ovauth import credentials
    from ovauth.errors import Refusal
    from ovauth.flows import (
        accounts,
        approval,
        authorization,
        clients,
        device_code,
        one_time_password,
        pushed_request,
        refresh_token,
        revocation,
    )
    from ovauth.models import Client
    from ovauth.roles import Role
    from tests.conftest import CALLBACK, CHALLENGE, ISSUER, VERIFIER, begun, person, redeemed, works

    shown: dict[str, list[str]] = {}

    def show(kind: str, *secrets: str | None) -> None:
        shown.setdefault(kind, []).extend(secret for secret in secrets if secret)

    alice = person("acme", "alice", Role.ADMIN)
    show("API key", alice.api_key)
    show("password", alice.password)
    made = clients.register(
        document={
            "client_name": "Secretive",
            "redirect_uris": [CALLBACK],
            "token_endpoint_auth_method": "client_secret_basic",
            "grant_types": ["authorization_code", "refresh_token", device_code.GRANT_TYPE],
        }
    )
    show("client secret", made.client_secret, clients.renew_secret(client_id=made.client_id))
    show("registration token", made.registration_access_token)
    client = Client.objects.get(client_id=made.client_id)
    clients.authenticate(client_id=client.client_id, client_secret=shown["client secret"][-1])

    browser = authorization.new_browser()
    show("browser", browser)
    for by in (alice.by_key, alice.by_session):
        pending = begun(client, browser=browser, state="a-state-that-nobody-else-should-read")
        code = authorization.look(pending_id=pending, browser=browser).display_code
        show("display code", code, code.replace("-", ""))
        approval.approve(authority=by, code=code)
        url = authorization.collect(pending_id=pending, browser=browser, issuer=ISSUER).redirect_url
        authorization_code = parse_qs(urlsplit(str(url)).query)["code"][0]
        show("authorization code", authorization_code)
        pair = redeemed(client, authorization_code)
        for _ in range(3):
            show("access token", pair.access_token)
            show("refresh token", pair.refresh_token)
            assert works(pair.access_token)
            newest = str(pair.refresh_token)
            pair = refresh_token.rotate(client=client, refresh_token=newest, issuer=ISSUER)
        show("access token", pair.access_token)
        show("refresh token", pair.refresh_token)

    pending = begun(client, browser=browser)
    typed, _ = one_time_password.issue(authority=alice.by_session)
    show("one-time password", typed, typed.replace("-", ""))
    approval.present_one_time_password(pending_id=pending, browser=browser, typed=typed)

    device = device_code.begin(client=client, scope=None, resource=(), issuer=ISSUER)
    show("device code", device.device_code)
    show("display code", device.user_code, device.user_code.replace("-", ""))
    approval.approve(authority=alice.by_key, code=device.user_code)
    pair = device_code.poll(client=client, device_code=device.device_code, issuer=ISSUER)
    show("access token", pair.access_token)
    show("refresh token", pair.refresh_token)
    parameters = {
        "response_type": "code",
        "redirect_uri": CALLBACK,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    show("request URI", pushed_request.push(client=client, parameters=parameters, resource=(), issuer=ISSUER)[0])

    # What is refused is no reason to write a secret down either.
    for secret in [*shown["authorization code"], *shown["refresh token"], *shown["access token"]]:
        try:
            redeemed(client, secret)
        except Refusal as refusal:
            logging.getLogger("ovauth").warning("refused", exc_info=refusal)
    revocation.revoke(client=client, token=shown["refresh token"][-1])
    show("API key", accounts.rotate_api_key(account="acme", name="alice")[0])
    accounts.set_password(account="acme", name="alice", password="entirely-new-password")
    show("password", "entirely-new-password")
    show("code verifier", VERIFIER)
    show("secret key", credentials_of_the_process())
    assert credentials.Kind.ACCESS_TOKEN in shown["access token"][0]
    sys.stdout.write(json.dumps(shown) + "\n")
    sys.stdout.flush()
    sys.stdin.readline()  # the database stays open, so its write-ahead log stays there to be read


def credentials_of_the_process() -> str:
    from django.conf import settings

    return str(settings.SECRET_KEY)


class Remains:
    """What is left of that life: the secrets that were shown, the bytes on the disk, what was logged."""

    def __init__(self, folder: Path) -> None:
        env = environment(folder, {"DJANGO_SETTINGS_MODULE": "project.settings", "PYTHONPATH": str(ROOT)})
        command = [sys.executable, __file__]
        with (folder / "log").open("w+") as log:
            process = subprocess.Popen(
                command, cwd=folder, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
            assert process.stdout is not None
            said = process.stdout.readline()
            self.files = {path.name: path.read_bytes() for path in folder.glob("ovauth.sqlite3*")}
            process.communicate("done\n", timeout=30)
            log.seek(0)
            self.log = log.read()
        assert process.returncode == 0, self.log
        self.shown: dict[str, list[str]] = json.loads(said)
        self.rows = _rows(folder / "ovauth.sqlite3")


def _rows(path: Path) -> dict[str, list[bytes]]:
    import sqlite3

    with sqlite3.connect(path) as connection:
        ask = connection.execute
        return {
            "codes": [row[0] for row in ask("SELECT sealed FROM ovauth_authorizationcode")],
            "successors": [
                row[0] for row in ask("SELECT sealed_successor FROM ovauth_refreshtoken WHERE sealed_successor IS NOT NULL")
            ],
            "everything stored": [
                value if isinstance(value, bytes) else str(value).encode()
                for (table,) in ask("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
                for row in ask(f'SELECT * FROM "{table}"')
                for value in row
            ],
        }


@pytest.fixture(scope="module")
def remains(tmp_path_factory: pytest.TempPathFactory) -> Remains:
    return Remains(tmp_path_factory.mktemp("at-rest"))


pytestmark = pytest.mark.xdist_group("at-rest")
KINDS = [
    "API key",
    "password",
    "client secret",
    "registration token",
    "browser",
    "display code",
    "authorization code",
    "access token",
    "refresh token",
    "one-time password",
    "device code",
    "request URI",
    "code verifier",
    "secret key",
]


def test_every_kind_of_secret_was_shown(remains: Remains) -> None:
    assert sorted(remains.shown) == sorted(KINDS)


def test_what_is_looked_at_is_where_secrets_would_be(remains: Remains) -> None:
    assert "ovauth.sqlite3-wal" in remains.files
    assert b"acme/alice" in b"".join(remains.files.values())
    assert "refused" in remains.log
    assert "token.issued" in remains.log


@pytest.mark.parametrize("kind", KINDS)
def test_no_secret_is_in_the_database_file_or_its_write_ahead_log(remains: Remains, kind: str) -> None:
    for name, content in remains.files.items():
        found = [secret for secret in remains.shown[kind] for spelt in _spellings(secret) if spelt in content]
        assert not found, f"{kind} in {name}"


@pytest.mark.parametrize("kind", KINDS)
def test_no_secret_is_in_a_log_line(remains: Remains, kind: str) -> None:
    assert not [secret for secret in remains.shown[kind] if secret in remains.log]


def _spellings(secret: str) -> list[bytes]:
    """In clear, and as a hash that a word list turns back: these are short."""
    from base64 import b64encode
    from hashlib import sha1, sha256

    plain = secret.encode()
    spelt = [plain, plain.hex().encode(), b64encode(plain)]
    # A short code under a bare hash is as good as in clear; a long random one is what is stored of it.
    return spelt + [sha256(plain).digest(), sha1(plain).digest()] if len(secret) < 20 else spelt


def test_a_sealed_successor_opens_with_its_predecessor_and_with_nothing_that_is_stored(remains: Remains) -> None:
    from ovauth import credentials

    successors = set()
    for sealed in remains.rows["successors"]:
        opened = {credentials.unseal(sealed, under=token) for token in remains.shown["refresh token"]} - {None}
        assert len(opened) == 1
        successors |= opened
        assert not _opened_by_what_is_stored(sealed, remains)
    assert successors <= set(remains.shown["refresh token"])
    assert len(successors) == len(remains.rows["successors"]) > 3


def test_a_sealed_code_opens_with_its_browsers_secret_and_with_nothing_that_is_stored(remains: Remains) -> None:
    from ovauth import credentials

    (browser,) = remains.shown["browser"]
    opened = {credentials.unseal(sealed, under=browser) for sealed in remains.rows["codes"]}
    assert opened == set(remains.shown["authorization code"])
    assert not any(_opened_by_what_is_stored(sealed, remains) for sealed in remains.rows["codes"])


def _opened_by_what_is_stored(sealed: bytes, remains: Remains) -> list[Any]:
    from ovauth import credentials

    tried = {
        spelt
        for value in remains.rows["everything stored"]
        for spelt in (value.hex(), value.decode("utf-8", "replace"), value.decode("latin-1"))
    }
    tried.update(remains.shown["secret key"])
    return [under for under in tried if credentials.unseal(sealed, under=under) is not None]


if __name__ == "__main__":
    os.umask(0o077)
    live()
