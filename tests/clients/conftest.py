"""The server that the recorded clients ask: a real `serve`."""

from collections.abc import Iterator

import pytest

from tests.serving import Server, running


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(data_dir=tmp_path_factory.mktemp("recorded") / "data") as server:
        yield server
