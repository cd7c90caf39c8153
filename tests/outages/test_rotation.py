"""The secret key of two nodes is rotated by the steps of docs/operating.md, and nobody notices."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from secrets import token_urlsafe

import httpx2
import pytest

from tests.databases import postgresql_or_skip
from tests.outages.test_hosts import PUBLIC, begun, browser, opens, token_of
from tests.serving import Server, running

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("outages")]

OLD, NEW = token_urlsafe(48), token_urlsafe(48)
STEPS = ([OLD, NEW], [NEW, OLD], [NEW])
"""What stands on each node after each step: the new line below, then on top, then alone."""


@pytest.fixture
def url() -> Iterator[str]:
    with postgresql_or_skip() as url:
        yield url


class Node:
    """One machine: a data folder with the key in its file."""

    def __init__(self, folder: Path, url: str) -> None:
        self.data_dir = folder / "data"
        self.data_dir.mkdir(parents=True, mode=0o700)
        self.env = {"DATABASE_URL": url, "OVAUTH_PUBLIC_BASE_URL": PUBLIC}

    def give(self, *keys: str) -> None:
        file = self.data_dir / "secret_key"
        file.touch(mode=0o600)
        file.write_text("".join(f"{key}\n" for key in keys))

    def started(self) -> Server:
        self._stack = ExitStack()
        self.server = self._stack.enter_context(running(data_dir=self.data_dir, env=self.env))
        return self.server

    def stopped(self) -> None:
        self._stack.close()


@contextmanager
def both(tmp_path: Path, url: str) -> Iterator[tuple[Node, Node]]:
    nodes = Node(tmp_path / "a", url), Node(tmp_path / "b", url)
    with ExitStack() as stack:
        for node in nodes:
            node.give(OLD)
            node.started()
            stack.callback(node.stopped)
        yield nodes


def test_nobody_notices_a_rotation_node_by_node(tmp_path: Path, url: str) -> None:
    with both(tmp_path, url) as nodes:
        first, second = nodes
        password, key = first.server.operator_password, {"X-Api-Key": first.server.operator_api_key}
        person, way = browser(first.server)
        signed_in(person, username="operator", password=password)
        client = person.post("/register", json={"redirect_uris": ["http://127.0.0.1:33418/callback"]}).json()["client_id"]
        for keys in STEPS:
            for changed, other in ((first, second), (second, first)):
                asker, asked = browser(other.server)
                waiting = begun(asker, client)
                code = shown(asker, waiting)
                changed.stopped()
                changed.give(*keys)
                changed.started()
                for node in nodes:  # whoever is asked: the session holds, the page shows the same code
                    way.to = asked.to = node.server
                    assert person.get("/console/").status_code == 200, (keys, node.server.output())
                    assert shown(asker, waiting) == code
                decided = person.post("/api/v1/auth/oauth-verify", headers=key, json={"code": code, "decision": "approve"})
                assert decided.status_code == 200, (keys, decided.text)
                made_at, spent_at = browser(changed.server)[0], browser(other.server)[0]
                otp = made_at.post("/api/v1/auth/otp", headers=key).json()["otp"]
                signed_in(spent_at, secret=otp)
        assert all((node.data_dir / "secret_key").read_text() == f"{NEW}\n" for node in nodes)


def test_a_key_that_leaked_is_replaced_at_once_and_clients_stay_connected(tmp_path: Path, url: str) -> None:
    with both(tmp_path, url) as nodes:
        first, second = nodes
        password, key = first.server.operator_password, first.server.operator_api_key
        person, way = browser(first.server)
        signed_in(person, username="operator", password=password)
        for node in nodes:
            node.stopped()
            node.give(NEW)
        (first.data_dir / "replaced_secret_key").touch()
        for node in nodes:
            way.to = node.started()
            assert person.get("/console/").is_redirect, "everybody signs in again"
            assert opens(person, key)
        assert not (first.data_dir / "replaced_secret_key").exists()


def signed_in(http: httpx2.Client, **proof: str) -> None:
    form = {**proof, "csrfmiddlewaretoken": token_of(http.get("/console/login"))}
    assert http.post("/console/login", data=form, headers={"Origin": PUBLIC}).is_redirect
    assert http.get("/console/").status_code == 200


def shown(http: httpx2.Client, pending: str) -> str:
    page = http.get("/oauth/authorize/page", params={"pending": pending})
    found = re.search(r'data-code="([^"]+)"', page.text)
    assert found, page.text
    return found[1]
