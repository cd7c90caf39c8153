"""What a person reads who types `manage.py` and nothing more."""

from pathlib import Path

import pytest
from django.core.management import get_commands

from tests.serving import manage


@pytest.mark.parametrize("args", [(), ("--help",), ("help",)])
def test_the_overview_has_our_commands_first_each_with_what_it_does(tmp_path: Path, args: tuple[str, ...]) -> None:
    said = manage(*args, data_dir=tmp_path / "data").stdout
    ours, _, djangos = said.partition("Django's own")
    lines = [line.split(maxsplit=1) for line in ours.splitlines() if line.startswith("  ")]
    assert lines[0][0] == "serve"
    names = {name for name, app in get_commands().items() if app == "ovauth"}
    assert {name for name, _ in lines} == names | {"check"}  # with --deploy, as ours
    assert all(words.endswith(".") and len(words) < 100 for _, words in lines)
    assert " migrate " in djangos
    assert not names & set(djangos.split())


def test_a_command_that_is_none_names_the_nearest(tmp_path: Path) -> None:
    done = manage("serv", data_dir=tmp_path / "data")
    assert done.returncode != 0
    assert "Did you mean serve?" in done.stderr
