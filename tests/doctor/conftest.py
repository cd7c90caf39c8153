"""A real server, an authority that everybody trusts, and the doctor's way there."""

import ssl
from collections.abc import Iterator

import certifi
import pytest

from ovauth import doctor
from ovauth.doctor import Line, Report, Target, reaching
from tests.doctor import certificates
from tests.doctor.certificates import Certificate
from tests.serving import Server, running

NO_DOCUMENTS = {"OVAUTH_CIMD": "off"}
"""Or the server would ask claude.ai for the document of Claude."""
PUBLIC = "203.0.113.7"
"""Where the name that is examined seems to lead. It is connected to on loopback."""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(data_dir=tmp_path_factory.mktemp("examined") / "data", env=NO_DOCUMENTS) as server:
        yield server


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificates.make(tmp_path_factory.mktemp("authority"), "Test authority", is_authority=True)


@pytest.fixture(scope="session")
def trusted(authority: Certificate, tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """For localhost, by the authority."""
    return certificates.make(tmp_path_factory.mktemp("certificate"), by=authority).context()


@pytest.fixture
def public(authority: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    """The authority is one of those that everybody knows, and localhost is a name in the internet."""
    monkeypatch.setattr(certifi, "where", lambda: str(authority.file))
    monkeypatch.setattr(reaching, "_resolve", lambda target: [PUBLIC])


class Examination:
    """What the doctor found, and what was printed on the way."""

    def __init__(self, url: str, api_key: str | None = None) -> None:
        self.lines: list[Line] = []
        self.report: Report = doctor.examine(Target(url), api_key=api_key, tell=self.lines.append)

    @property
    def found(self) -> set[str]:
        return set(self.report.findings)

    def failing(self, fault_id: str) -> set[str]:
        return set(self.report.failing.get(fault_id, ()))

    @property
    def text(self) -> str:
        """All that a person may read of it."""
        findings = [f"{finding.sentence}\n{finding.remedy}" for finding in self.report.findings.values()]
        return "\n".join([*(f"{line.name} {line.said}" for line in self.lines), *findings])
