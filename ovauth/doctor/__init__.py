"""The doctor: walks to a server as clients do, from anywhere, and names each fault and its remedy.

It needs nothing of that server but its address: no database, no settings. What it registers it deletes.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ovauth.doctor import passing, reaching
from ovauth.doctor.asking import Target
from ovauth.doctor.clients import CLIENTS, EVERYBODY, HOSTED, Client
from ovauth.doctor.faults import FAULTS, Fault, Finding, NoAnswer
from ovauth.doctor.login import Login, is_ovauth
from ovauth.doctor.saying import Said, listed
from ovauth.doctor.saying import gettext_noop as _
from ovauth.doctor.walking import NOT_READ, Walk
from ovauth.rules import origin

__all__ = ["CLIENTS", "FAULTS", "Client", "Fault", "Line", "Report", "Target", "examine"]

_WHOM = {"private-address": HOSTED, "not-encrypted": HOSTED}
"""Who fails by what is found before anybody walks; else everybody."""


@dataclass(frozen=True, slots=True)
class Line:
    """One step as it was taken: `ok`, `skip`, or the ids of what was found."""

    name: str
    said: str
    ms: float
    found: tuple[str, ...] = ()
    skipped: bool = False


@dataclass
class Report:
    """All that was found, once each, and who fails because of it."""

    target: Target
    findings: dict[str, Finding] = field(default_factory=dict)
    failing: dict[str, list[str]] = field(default_factory=dict)
    """By fault, the names of the clients."""
    walked: list[str] = field(default_factory=list)
    """The clients that were tried, and of which it is known whether they connect."""
    unknown: list[str] = field(default_factory=list)
    """Those of which it cannot be told just now."""
    passed_the_login: bool = False
    """Whether the way led on behind the login, to the MCP server itself."""
    left: int = 0
    """Clients that were registered and could not be deleted."""

    def add(self, finding: Finding, clients: Sequence[str] = ()) -> None:
        known = self.findings.setdefault(finding.fault.id, finding)
        if known.fault.fails:
            names = self.failing.setdefault(finding.fault.id, [])
            names += [name for name in clients if name not in names]

    def fails(self, client: str) -> bool:
        return any(client in names for names in self.failing.values())

    @property
    def is_well(self) -> bool:
        """Whether no client would fail."""
        return not any(self.failing.values())


def examine(target: Target, *, api_key: str | None, tell: Callable[[Line], None]) -> Report:
    """Goes all the ways, tells each step as it is taken. Raises nothing: what goes wrong is a finding."""
    report = Report(target)
    reached = _reach(report, tell)
    if reached is None:
        return report
    local = origin.is_loopback_address(reached.addresses[0])
    tried = [client for client in CLIENTS if not (local and client.hosted)]
    if not _walk_all(report, tried, tell):
        return report
    for name, check in passing.CHECKS.items():
        _check(report, name, check, tell)
    _sign_in(report, api_key if reached.trusted else None, trusted=reached.trusted, tell=tell)
    return report


def _reach(report: Report, tell: Callable[[Line], None]) -> reaching.Reached | None:
    target, started = report.target, time.perf_counter()
    try:
        reached = reaching.reach(target)
    except NoAnswer as fault:
        report.add(fault.finding, EVERYBODY)
        tell(Line(Said(_("address")), target.base, 0, (fault.finding.fault.id,)))
        return None
    if reached.context is not None:
        target.believing(reached.context)
    for finding in reached.findings:
        report.add(finding, _WHOM.get(finding.fault.id, EVERYBODY))
    places = {"host": target.host, "addresses": ", ".join(reached.addresses[:3]), "port": str(target.port)}
    said = Said(_("{host} is {addresses}, port {port}"), **places)
    if reached.certificate:
        said = Said(_("{address}; certificate {certificate}"), address=said, certificate=reached.certificate)
    tell(Line(Said(_("address")), said, _since(started), tuple(finding.fault.id for finding in reached.findings)))
    return reached


def _walk_all(report: Report, clients: Sequence[Client], tell: Callable[[Line], None]) -> bool:
    """False when there is nothing to go on with."""
    for client in clients:
        _walk(report, client, tell)
    for client in CLIENTS:
        if client not in clients:
            said = Said(_("calls from the internet, where nobody reaches this computer: not tried"))
            tell(Line(client.name, said, 0, skipped=True))
    nowhere = {"bad-gateway", "timeout", "cut-off", "no-mcp"}
    return not all(set(report.failing) & nowhere and report.fails(client.name) for client in clients)


def _walk(report: Report, client: Client, tell: Callable[[Line], None]) -> None:
    walk = Walk(report.target, client).go()
    report.left += walk.left
    if walk.was_asked_before and (known := report.findings.get(NOT_READ)):
        walk.findings.append(known)  # by an earlier client of this examination: the document is the same
    said = listed(walk.reached) or Said(_("not even the challenge"))
    is_unknown = walk.was_asked_before and not walk.findings
    if walk.elsewhere:
        said = Said(_("its authorization server is {place}, elsewhere: not looked at"), place=walk.elsewhere)
    elif is_unknown:
        report.unknown.append(client.name)
        said = Said(_("{steps}; its document was asked for a moment ago: not known now"), steps=said)
    else:
        report.walked.append(client.name)
    for finding in walk.findings:
        report.add(finding, [client.name])
    ids = tuple(finding.fault.id for finding in walk.findings)
    tell(Line(client.name, said, walk.ms, ids, skipped=bool(walk.elsewhere) or is_unknown))


def _check(report: Report, name: str, check: passing.Check, tell: Callable[[Line], None]) -> None:
    started = time.perf_counter()
    try:
        checked = check(report.target)
    except NoAnswer as fault:
        checked = passing.Checked(finding=fault.finding)
    if checked.finding is None:
        tell(Line(name, checked.said, _since(started), skipped=checked.skipped))
        return
    report.add(checked.finding, [name for name in report.walked if checked.whom is None or name in checked.whom])
    tell(Line(name, "", _since(started), (checked.finding.fault.id,)))


def _sign_in(report: Report, api_key: str | None, *, trusted: bool, tell: Callable[[Line], None]) -> None:
    if why := _why_no_login(report.target, api_key, trusted=trusted):
        tell(Line(Said(_("login")), why, 0, skipped=True))
        return
    started = time.perf_counter()
    report.passed_the_login = True
    login = Login(report.target, api_key or "").go()
    report.left += login.left
    for finding in login.findings:
        report.add(finding, report.walked)
    ids = tuple(finding.fault.id for finding in login.findings)
    said = listed(login.steps) or Said(_("does not get on"))
    tell(Line(Said(_("login")), said, _since(started), ids))


def _why_no_login(target: Target, api_key: str | None, *, trusted: bool) -> str:
    if api_key is None:
        return Said(_("with an API key in OVAUTH_API_KEY it goes the whole way"))
    if not trusted:
        return Said(_("a key is not sent to whom one cannot trust"))
    try:
        return "" if is_ovauth(target) else Said(_("this is not ovauth, so the key is not sent there"))
    except NoAnswer:
        return Said(_("no answer"))


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
