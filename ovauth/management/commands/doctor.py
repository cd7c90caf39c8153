"""What is wrong on the way from a client to a server, and how to mend it."""

import json
import sys
import textwrap
from typing import Any, ClassVar

from django.conf import settings
from django.core.management.base import CommandParser

from ovauth import doctor
from ovauth.doctor import Line, Report, Target
from ovauth.management.command import OvauthCommand
from ovauth.management.failure import Failed

HERE = "http://127.0.0.1:1933"
UNWELL = 1
WIDTH = 96


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
            raise Failed(f"--url {url} cannot be used: {why}. Write it like https://ov.example.com") from None
        key = settings.OVAUTH.api_key
        quiet = options["json"]
        if not quiet:
            self.stdout.write(f"{target.mcp}, as clients see it\n\n")
        report = doctor.examine(
            target,
            api_key=key.get_secret_value() if key is not None else None,
            tell=(lambda line: None) if quiet else self._step,
        )
        self.stdout.write(json.dumps(_told(report), indent=2)) if quiet else self._summary(report)
        if not report.is_well:
            sys.exit(UNWELL)

    def _step(self, line: Line) -> None:
        fails = any(doctor.FAULTS[found].fails for found in line.found)
        if line.found:
            mark = self.style.ERROR("fault") if fails else self.style.WARNING("warn ")
        else:
            mark = "skip " if line.skipped else self.style.SUCCESS("ok   ")
        said = " · ".join(part for part in (", ".join(line.found), line.said) if part)
        took = f"  {line.ms:.0f} ms" if line.ms else ""
        self.stdout.write(f"{mark}  {line.name:<14}  {said}{took}")
        self.stdout.flush()

    def _summary(self, report: Report) -> None:
        for fault_id, finding in report.findings.items():
            style = self.style.ERROR if finding.fault.fails else self.style.WARNING
            self.stdout.write(f"\n{style(fault_id)}")
            self._paragraph("", finding.sentence)
            if names := report.failing.get(fault_id):
                self._paragraph("Fails", _listed(names, report))
            self._paragraph("Remedy", finding.remedy)
        if report.left:
            what = "1 client stays" if report.left == 1 else f"{report.left} clients stay"
            self.stdout.write(f"\n{what} registered there: what the doctor registered could not be deleted.")
        self.stdout.write(f"\n{self._verdict(report)}")

    def _paragraph(self, head: str, text: str) -> None:
        margin = f"  {head:<7}  " if head else "  "
        for line in text.splitlines():
            wrapped = textwrap.wrap(line, WIDTH, break_long_words=False, break_on_hyphens=False)
            for part in wrapped:
                self.stdout.write(margin + part)
                margin = " " * len(margin)

    def _verdict(self, report: Report) -> str:
        failing = [name for name in report.walked if report.fails(name)]
        rest = [name for name in report.walked if name not in failing]
        if not report.walked and report.is_well:
            return "Nothing that was looked at keeps a client out; its login is elsewhere."
        if not report.walked:
            return self.style.ERROR("No client can connect.")
        if report.is_well:
            worse = f" {len(report.findings)} thing could be better." if len(report.findings) == 1 else ""
            worse = worse or (f" {len(report.findings)} things could be better." if report.findings else "")
            return self.style.SUCCESS(f"These connect: {', '.join(rest)}.") + worse
        said = self.style.ERROR(f"These fail: {', '.join(failing or sorted(sum(report.failing.values(), [])))}.")
        return f"{said} These connect: {', '.join(rest)}." if rest and failing else said


def _listed(names: list[str], report: Report) -> str:
    return "every client" if len(names) > 1 and set(names) >= set(report.walked) else ", ".join(names)


def _told(report: Report) -> dict[str, Any]:
    return {
        "url": report.target.mcp,
        "ok": report.is_well,
        "clients": {name: not report.fails(name) for name in report.walked},
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
