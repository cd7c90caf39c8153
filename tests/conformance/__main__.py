"""`uv run python -m tests.conformance [FOLDER]`: runs everything and prints a table.

Exit status 1 when something is not as expected. The suite's own results stay in FOLDER, if one is named.
"""

import sys
import tempfile
from pathlib import Path

from tests.conformance import suite
from tests.conformance.suite import Outcome


def main(folder: Path) -> int:
    surprises = 0
    with suite.server(folder) as serving:
        surprises += show("authorization server", suite.authorization(serving, folder), {})
        for revision in suite.REVISIONS:
            surprises += show(f"/mcp, {revision}", suite.scenarios(serving, folder, revision), suite.EXPECTED[revision])
    print(f"\n{surprises} not as expected")
    return 1 if surprises else 0


def show(title: str, outcomes: list[Outcome], expected: dict[str, str]) -> int:
    """Prints what became of the scenarios; how many are not as expected, one at least when none was run."""
    print(f"\n{title}")
    surprises = 0 if outcomes else 1
    for outcome in outcomes:
        reason = expected.get(outcome.scenario)
        surprising = bool(outcome.faults) != (reason is not None)
        surprises += surprising
        verdict = "fails" if outcome.faults else "passes"
        print(f"  {verdict:7}{outcome.scenario}{'   NOT EXPECTED' if surprising else ''}")
        if outcome.faults and reason:
            print(f"         {reason}")
        for said in (*(outcome.faults if surprising else ()), *outcome.doubts):
            print(f"         - {said[:200]}")
    return surprises


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(main(Path(sys.argv[1]).resolve()))
    with tempfile.TemporaryDirectory() as temporary:
        sys.exit(main(Path(temporary)))
