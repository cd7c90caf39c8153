"""The official conformance suite finds what is expected, in every scenario. As a table: `python -m tests.conformance`.

Left out of an ordinary run; `pytest -m conformance` asks for it.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import installed
from tests.conformance import suite
from tests.conformance.suite import EXPECTED, REVISIONS
from tests.serving import Server

pytestmark = [pytest.mark.conformance, pytest.mark.xdist_group("conformance")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    installed.node22()  # skips before a server is started
    with suite.server(tmp_path_factory.mktemp("conformance")) as server:
        yield server


def test_the_authorization_server_scenarios_pass(server: Server, tmp_path: Path) -> None:
    outcomes = suite.authorization(server, tmp_path)
    assert {outcome.scenario for outcome in outcomes} == {
        "authorization-server-metadata-endpoint",
        "authorization-code-grant",
    }
    assert [outcome for outcome in outcomes if outcome.faults] == []


@pytest.mark.parametrize("revision", REVISIONS)
def test_the_server_scenarios_pass_but_for_those_that_are_explained(server: Server, tmp_path: Path, revision: str) -> None:
    outcomes = suite.scenarios(server, tmp_path, revision)
    assert len(outcomes) > 30
    failed = {outcome.scenario: outcome.faults for outcome in outcomes if outcome.faults}
    surprising = {name: faults for name, faults in failed.items() if name not in EXPECTED[revision]}
    assert surprising == {}
    assert sorted(set(EXPECTED[revision]) - set(failed)) == [], "these pass now: take them out of EXPECTED"
