"""Nobody is logged out by accident, and a stolen token still ends the family."""

import sqlite3
import time
from pathlib import Path

import httpx2
import pytest

from tests.journeys import lost_answers
from tests.serving import Server, running

ROUNDS = 240
GRACE = 1


def unspent(server: Server) -> int:
    with sqlite3.connect(server.data_dir / "ovauth.sqlite3") as database:
        row = database.execute("SELECT count(*) FROM ovauth_refreshtoken WHERE consumed_at IS NULL").fetchone()
    return int(row[0])


def mcp_status(server: Server, tokens: dict[str, str]) -> int:
    headers = {"Authorization": f"Bearer {tokens['access_token']}", "Accept": "application/json, text/event-stream"}
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    return httpx2.post(f"{server.url}/mcp", json=ping, headers=headers).status_code


@pytest.mark.slow
def test_four_processes_on_one_token_survive_a_network_that_loses_answers(tmp_path: Path) -> None:
    with running(data_dir=tmp_path / "data", args=("--workers", "2")) as server:
        client_id, tokens = lost_answers.connect(server)
        with lost_answers.lossy(server) as url:
            assert lost_answers.run(server, url, client_id, tokens, ROUNDS) == []
        assert unspent(server) == 1  # the chain never forked
        answer = lost_answers.refresh(server.url, client_id, tokens["refresh_token"])
        assert answer is not None
        assert answer.status_code == 200


def test_a_stolen_token_that_is_replayed_later_ends_the_family(tmp_path: Path) -> None:
    with running(data_dir=tmp_path / "data", env={"OVAUTH_REFRESH_GRACE": str(GRACE)}) as server:
        client_id, tokens = lost_answers.connect(server)
        stolen = tokens["refresh_token"]
        for _ in range(3):
            answer = lost_answers.refresh(server.url, client_id, tokens["refresh_token"])
            assert answer is not None
            tokens = answer.json()
        assert mcp_status(server, tokens) != 401
        time.sleep(GRACE + 0.1)  # the real grace of a real server has to pass
        replay = lost_answers.refresh(server.url, client_id, stolen)
        assert replay is not None
        assert replay.json()["error"] == "invalid_grant"
        assert mcp_status(server, tokens) == 401
        answer = lost_answers.refresh(server.url, client_id, tokens["refresh_token"])
        assert answer is not None
        assert answer.json()["error"] == "invalid_grant"
        assert "token.reuse_detected" in server.output()
