"""The commands for users, keys and tokens, as scripts call them."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.serving import Server, manage, running

pytestmark = pytest.mark.xdist_group("commands for people")  # one server for all of them


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(data_dir=tmp_path_factory.mktemp("folder") / "data") as server:
        yield server


def who(server: Server, key: str) -> tuple[int, dict[str, object]]:
    answer = httpx2.get(f"{server.url}/api/v1/whoami", headers={"Authorization": f"Bearer {key}"})
    return answer.status_code, answer.json()


def test_json_is_one_object_and_nothing_else_even_on_an_empty_folder(tmp_path: Path) -> None:
    args = ("create_user", "alice", "--account", "acme", "--role", "admin", "--json")
    done = manage(*args, data_dir=tmp_path / "data")
    assert (done.returncode, done.stderr) == (0, "")
    made = json.loads(done.stdout)
    assert made.pop("api_key").startswith("ovk_")
    assert made == {"account_id": "acme", "user_id": "alice", "role": "admin"}
    assert done.stdout.count("\n") == 1


def test_a_created_user_works_at_once_on_the_running_server(server: Server) -> None:
    said = server.manage("create_user", "bob", "--account", "acme", "--role", "user")
    key = next(word for word in said.split() if word.startswith("ovk_"))
    status, known = who(server, key)
    assert (status, known["account_id"], known["user_id"], known["role"]) == (200, "acme", "bob", "user")


def test_a_new_account_is_said_to_be_new(server: Server) -> None:
    """Or a slip of the pen in --account makes a second one, and nobody notices."""
    first = server.manage("create_user", "una", "--account", "brandnew", "--role", "admin")
    second = server.manage("create_user", "duo", "--account", "brandnew", "--role", "user")
    assert first.startswith("Created una in the new account brandnew, role admin.\n")
    assert second.startswith("Created duo in the account brandnew, role user.\n")


def test_the_same_user_twice_is_refused_and_in_another_account_is_not(server: Server) -> None:
    server.create_user("twice", account="acme")
    again = manage("create_user", "twice", "--account", "acme", "--role", "user", "--json", data_dir=server.data_dir)
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr == "The account acme has a user twice already.\n"
    assert server.create_user("twice", account="other")


@pytest.mark.parametrize("password", ["", "acme/carlotta"])
def test_a_bad_password_creates_nobody(server: Server, password: str) -> None:
    args = ("create_user", "carlotta", "--account", "acme", "--role", "user", "--password-stdin")
    done = manage(*args, data_dir=server.data_dir, typed=f"{password}\n")
    assert done.returncode == 2
    assert done.stderr.startswith("The password cannot be used. ")
    with sqlite3.connect(server.data_dir / "ovauth.sqlite3") as database:
        assert database.execute("SELECT count(*) FROM ovauth_member WHERE name = 'carlotta'").fetchone() == (0,)


def test_a_password_from_standard_input_signs_in(server: Server) -> None:
    server.manage(
        "create_user", "dora", "--account", "acme", "--role", "user", "--password-stdin", typed="sévej nozil 2159\r\n"
    )
    with httpx2.Client(base_url=server.url) as browser:
        browser.get("/console/login")
        fields = {"username": "acme/dora", "password": "sévej nozil 2159"}
        token = browser.cookies["csrftoken"]
        answer = browser.post(
            "/console/login", data=fields | {"csrfmiddlewaretoken": token}, headers={"Origin": server.url}
        )
        assert answer.status_code == 303


def test_a_rotated_key_replaces_the_old_one_on_the_running_server(server: Server) -> None:
    old = server.create_user("eve", account="acme")
    told = json.loads(server.manage("rotate_api_key", "eve", "--account", "acme", "--json"))
    assert (told["account_id"], told["user_id"]) == ("acme", "eve")
    assert who(server, old)[0] == 401
    assert who(server, told["api_key"])[0] == 200


def test_revoked_tokens_are_counted(server: Server) -> None:
    server.create_user("frank", account="acme")
    told = json.loads(server.manage("revoke_user_tokens", "frank", "--account", "acme", "--json"))
    assert told == {"authorization_codes": 0, "access_tokens": 0, "refresh_tokens": 0}


@pytest.mark.parametrize("command", ["rotate_api_key", "revoke_user_tokens"])
def test_an_unknown_user_is_named_with_where_there_is_one(server: Server, command: str) -> None:
    done = manage(command, "operator", "--account", "acme", "--json", data_dir=server.data_dir)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "The account acme has no user operator. There is one in: default.\n"


def test_collecting_garbage_says_when_there_is_none(server: Server) -> None:
    assert server.manage("collect_garbage") == "Nothing has expired.\n"


# ------------------------------------------------------------------ one-time passwords


def otp(server: Server, key: str, to: str = "") -> tuple[int, str, str]:
    env = {"OVAUTH_API_KEY": key} if key else {}
    done = manage("otp", "--server", to or f"{server.url}/", data_dir=server.data_dir, env=env)
    return done.returncode, done.stdout, done.stderr


def test_a_one_time_password_is_printed_and_beside_it_how_long_it_lasts(server: Server) -> None:
    status, printed, said = otp(server, server.operator_api_key)
    assert (status, said) == (0, "Works once, for the next 5 min.\n")
    assert len(printed.strip().replace("-", "")) == 10
    assert otp(server, server.operator_api_key)[1] != printed


@pytest.mark.parametrize(
    ("key", "to", "said"),
    [
        ("", "", "OVAUTH_API_KEY is not set"),
        ("ovk_unknown", "", "does not know the API key"),
        ("ovk_unknown", "http://127.0.0.1:1", "cannot be reached"),
        ("ovk_unknown", "nonsense", "is no URL"),
    ],
)
def test_a_one_time_password_that_cannot_be_had_says_why(server: Server, key: str, to: str, said: str) -> None:
    status, printed, told = otp(server, key, to)
    assert (status, printed) == (2, "")
    assert said in told
    assert told.count("\n") == 1
    assert "ovk_unknown" not in told
