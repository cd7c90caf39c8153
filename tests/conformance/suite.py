"""The official conformance suite of MCP, run against a real `serve`: what it found, scenario by scenario.

`@modelcontextprotocol/conformance` from the npm registry; it needs Node 22. The server scenarios meet `everything.py`
behind the gate, with an access token that a person approved.
"""

import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
import httpx2

from tests.clients import installed, programs
from tests.clients.programs import AUTHORIZE_URL, approve_and_return, free_port
from tests.conformance.signed_in import proxy_to
from tests.journeys.people import OfficialClient, Person
from tests.serving import Server, running

ROOT: Final = Path(__file__).resolve().parent.parent.parent
REVISIONS: Final = ("2025-11-25", "2026-07-28")
SCENARIO_MILLISECONDS: Final = 15_000

STATELESS: Final = (
    "the server asks the client in mid-call, for which there would have to be a session; ovauth serves without"
)
PACKAGE: Final = "the mcp package's MCPServer does not answer this method, with or without ovauth in front"
FIXTURE: Final = (
    "asks for a tool of the suite's own that tests/conformance/everything.py does not have; nothing of it is ovauth's"
)
EXPECTED: Final = {
    "2025-11-25": {
        "logging-set-level": PACKAGE,
        "tools-call-with-logging": PACKAGE,
        "resources-subscribe": PACKAGE,
        "resources-unsubscribe": PACKAGE,
        "tools-call-sampling": STATELESS,
        "tools-call-elicitation": STATELESS,
        "elicitation-sep1034-defaults": STATELESS,
        "elicitation-sep1330-enums": STATELESS,
        "server-sse-polling": STATELESS,
        "json-schema-2020-12": FIXTURE,
    },
    "2026-07-28": {
        "server-stateless": FIXTURE,
        "json-schema-2020-12": FIXTURE,
        "http-custom-header-server-validation": FIXTURE,
        "input-required-result-basic-elicitation": FIXTURE,
        "input-required-result-basic-sampling": FIXTURE,
        "input-required-result-basic-list-roots": FIXTURE,
        "input-required-result-request-state": FIXTURE,
        "input-required-result-multiple-input-requests": FIXTURE,
        "input-required-result-multi-round": FIXTURE,
        "input-required-result-non-tool-request": FIXTURE,
        "input-required-result-result-type": FIXTURE,
        "input-required-result-tampered-state": FIXTURE,
        "input-required-result-capability-check": FIXTURE,
    },
}
"""What does not pass, and why. A scenario that passes although it stands here fails the run as well."""

_STAMP = re.compile(r"-\d{4}-\d{2}-\d{2}T[\d-]+Z$")


@dataclass(frozen=True)
class Outcome:
    """One scenario. `faults` are the messages of the checks that failed, `doubts` of those that warned."""

    scenario: str
    passed: int
    faults: tuple[str, ...]
    doubts: tuple[str, ...]


@contextmanager
def server(folder: Path) -> Iterator[Server]:
    env = {"OVAUTH_MCP_SERVER": "tests.conformance.everything:server", "PYTHONPATH": str(ROOT)}
    with running(data_dir=folder / "data", env=env) as serving:
        yield serving


def command() -> list[str]:
    return installed.node22().script("@modelcontextprotocol/conformance", "dist/index.js")


def authorization(serving: Server, folder: Path) -> list[Outcome]:
    """The authorization server scenarios, as a public client.

    With a secret the suite sends none as soon as the metadata offer the method `none`: that is its mistake.
    """
    port = free_port()
    registered = httpx2.post(
        f"{serving.url}/register",
        json={"client_name": "conformance", "redirect_uris": [f"http://127.0.0.1:{port}/callback"]},
    ).json()
    asked = ["--url", serving.url, "--client-id", registered["client_id"], "--resource", f"{serving.url}/mcp"]
    whole = [*command(), "authorization", *asked, "--port", str(port), "-o", str(folder / "authorization")]
    with programs.running(whole, home=folder) as program:
        person = Person(serving.url, serving.operator_api_key)
        approve_and_return(person, program.waits_for(AUTHORIZE_URL)[1])
        program.ends()
    return _read(folder / "authorization")


def scenarios(serving: Server, folder: Path, revision: str, *, only: Sequence[str] = ()) -> list[Outcome]:
    """The server scenarios of a revision of the specification, all or only those, with an approved access token."""
    out = folder / revision
    with proxy_to(serving.url) as proxy:
        proxy.access_token = access_token(proxy.origin, serving.operator_api_key)
        whole = [*command(), "server", "--url", f"{proxy.origin}/mcp", "--spec-version", revision, "-o", str(out)]
        whole += ["--timeout", str(SCENARIO_MILLISECONDS)]
        for chosen in [["--scenario", name] for name in only] or [["--suite", "all"]]:
            subprocess.run([*whole, *chosen], cwd=folder, capture_output=True, timeout=600, check=False)
    return _read(out)


def access_token(origin: str, api_key: str) -> str:
    """A token for the server at this name and no other. (An API key is good at whatever name the server has.)"""
    official = OfficialClient(origin, Person(origin, api_key).approve)

    async def connect() -> None:
        async with official.connected():
            pass

    anyio.run(connect)
    assert official.storage.tokens is not None
    return official.storage.tokens.access_token


def _read(out: Path) -> list[Outcome]:
    return [_outcome(path) for path in sorted(out.glob("*/checks.json"))]


def _outcome(path: Path) -> Outcome:
    name = _STAMP.sub("", path.parent.name)
    name = (
        name.removeprefix("authorization-server-") if path.parent.parent.name == "authorization" else name[len("server-") :]
    )
    checks = json.loads(path.read_text("utf-8"))

    def told(status: str) -> tuple[str, ...]:
        return tuple(f"{check['id']}: {check.get('errorMessage', '')}" for check in checks if check["status"] == status)

    return Outcome(name, len(told("SUCCESS")), told("FAILURE"), told("WARNING"))
