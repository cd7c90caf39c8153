"""What is wrong on the way from a client to a server, and how to mend it."""

import json
import sys
from collections.abc import Callable
from typing import Any, ClassVar

from django.conf import settings
from django.core.management.base import CommandParser
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext

from ovauth import doctor
from ovauth.doctor import Line, Report, Target
from ovauth.doctor.saying import listed, told
from ovauth.management import columns
from ovauth.management.command import OvauthCommand
from ovauth.management.failure import Failed

HERE = "http://127.0.0.1:1933"
UNWELL = 1
WIDTH = 96

WHY_NO_ADDRESS = (
    gettext_noop("it must not be empty"),
    gettext_noop("it must not contain white space, backslashes, or other characters that need percent-encoding"),
    gettext_noop("every percent sign must be followed by two hexadecimal digits"),
    gettext_noop("it must begin with https:// or http://"),
    gettext_noop("it must not contain a user name or password"),
    gettext_noop("square brackets outside of an IPv6 address must be percent-encoded"),
    gettext_noop("its host is not valid"),
    gettext_noop("it must name a host"),
    gettext_noop("its IPv6 address is not valid"),
    gettext_noop("an IPv4 address must be written as four decimal numbers"),
    gettext_noop("its port must be a number from 1 to 65535"),
    gettext_noop("it must not contain a query or a fragment"),
)
"""Of ovauth.rules.web_address and ovauth.doctor.asking, for makemessages."""


class Command(OvauthCommand):
    help = (
        "Goes to a server as Claude, ChatGPT, Cursor and others do, and names what would stop them. It needs "
        "nothing but its "
        "address. What it registers there it deletes again. With an API key in OVAUTH_API_KEY it signs in as well. "
        "Exit status 1 when a client would fail."
    )
    prepares: ClassVar[bool] = False

    def add_arguments(self, parser: CommandParser) -> None:
        config = settings.OVAUTH
        here = config.public_base_url or config.issuer or HERE
        parser.add_argument("--url", default=here, help="the address that clients are given (default: %(default)s)")
        parser.add_argument("--json", action="store_true", help="prints one JSON object and nothing else")

    def perform(self, *, url: str, **options: Any) -> None:
        try:
            target = Target(url)
        except ValueError as why:
            said = _("--url %(url)s cannot be used: %(why)s. Write it like https://ov.example.com")
            raise Failed(said % {"url": url, "why": _(str(why))}) from None
        key = settings.OVAUTH.api_key
        quiet = options["json"]
        if not quiet:
            self.stdout.write(_("%(url)s, as clients see it") % {"url": target.mcp} + "\n\n")
        report = doctor.examine(
            target,
            api_key=key.get_secret_value() if key is not None else None,
            tell=(lambda line: None) if quiet else self._step,
        )
        self.stdout.write(json.dumps(_for_programs(report), indent=2)) if quiet else self._summary(report)
        if not report.is_well:
            sys.exit(UNWELL)

    def _step(self, line: Line) -> None:
        fails = any(doctor.FAULTS[found].fails for found in line.found)
        style: Callable[[str], str]
        if line.found:
            style, mark = (self.style.ERROR, _("fault")) if fails else (self.style.WARNING, _("warn"))
        else:
            style, mark = (str, _("skip")) if line.skipped else (self.style.SUCCESS, _("ok"))
        said = " · ".join(part for part in (", ".join(line.found), _in_words(line.said)) if part)
        took = f"  {line.ms:.0f} ms" if line.ms else ""
        name = columns.padded(_in_words(line.name), 14)
        self.stdout.write(f"{style(columns.padded(mark, 5))}  {name}  {said}{took}")
        self.stdout.flush()

    def _summary(self, report: Report) -> None:
        for fault_id, finding in report.findings.items():
            style = self.style.ERROR if finding.fault.fails else self.style.WARNING
            self.stdout.write(f"\n{style(fault_id)}")
            self._paragraph("", _in_words(finding.sentence))
            if names := report.failing.get(fault_id):
                self._paragraph(_("Fails"), _failing(names, report))
            self._paragraph(_("Remedy"), _in_words(finding.remedy))
        if report.left:
            said = ngettext(
                "%(count)s client stays registered there: what the doctor registered could not be deleted.",
                "%(count)s clients stay registered there: what the doctor registered could not be deleted.",
                report.left,
            )
            self.stdout.write("\n" + said % {"count": report.left})
        self.stdout.write(f"\n{self._verdict(report)}")

    def _paragraph(self, head: str, text: str) -> None:
        margin = f"  {columns.padded(head, 7)}  " if head else "  "
        for line in text.splitlines():
            for part in columns.wrapped(line, WIDTH):
                self.stdout.write(margin + part)
                margin = " " * columns.taken(margin)

    def _verdict(self, report: Report) -> str:
        said = self._who_connects(report)
        if report.unknown:
            unknown = _("Not known now: %(clients)s. Try again in half a minute.")
            said += " " + unknown % {"clients": _by_name(report.unknown)}
        if report.walked and not report.passed_the_login and not all(map(report.fails, report.walked)):
            said += "\n" + _(
                "Not looked at: the MCP server behind the login. With an API key in OVAUTH_API_KEY it is called too."
            )
        return said

    def _who_connects(self, report: Report) -> str:
        failing = [name for name in report.walked if report.fails(name)]
        rest = [name for name in report.walked if name not in failing]
        if not report.walked and report.is_well:
            return _("Nothing that was looked at keeps a client out; its login is elsewhere.")
        if not report.walked:
            return self.style.ERROR(_("No client can connect."))
        connect = _("These connect: %(clients)s.") % {"clients": _by_name(rest)}
        if report.is_well:
            count = len(report.findings)
            worse = ngettext("%(count)s thing could be better.", "%(count)s things could be better.", count)
            return self.style.SUCCESS(connect) + (f" {worse % {'count': count}}" if count else "")
        names = failing or sorted(sum(report.failing.values(), []))
        said = self.style.ERROR(_("These fail: %(clients)s.") % {"clients": _by_name(names)})
        return f"{said} {connect}" if rest and failing else said


def _in_words(said: str) -> str:
    """In the language of the terminal."""
    return told(said, _)


def _by_name(clients: list[str]) -> str:
    return _in_words(listed(clients))


def _failing(names: list[str], report: Report) -> str:
    return _("every client") if len(names) > 1 and set(names) >= set(report.walked) else _by_name(names)


def _for_programs(report: Report) -> dict[str, Any]:
    return {
        "url": report.target.mcp,
        "ok": report.is_well,
        "clients": {name: not report.fails(name) for name in report.walked},
        "unknown": report.unknown,
        "passed_the_login": report.passed_the_login,
        "faults": [
            {
                "id": fault_id,
                "fails": report.failing.get(fault_id, []),
                "sentence": finding.sentence,
                "remedy": finding.remedy,
            }
            for fault_id, finding in report.findings.items()
        ],
    }
