"""`manage.py` without a command: ours first, each with what it does, and Django's own by name below."""

from collections import defaultdict
from typing import Any, Final

from django.core.management import ManagementUtility, get_commands, load_command_class
from django.utils import translation

from ovauth.conf import VERSION, terminal_language

FIRST: Final = "serve"
TRANSLATED: Final = {"check", "doctor"}
"""They speak the language of the terminal. What the others say is kept in logs and read by programs: it is English."""


class Program(ManagementUtility):
    """Django's, with another overview, and two commands that know more than English."""

    def fetch_command(self, subcommand: str) -> Any:
        if subcommand in TRANSLATED:
            translation.activate(terminal_language())
        return super().fetch_command(subcommand)

    def main_help_text(self, commands_only: bool = False) -> str:
        if commands_only:  # for the shell's completion
            return super().main_help_text(commands_only)
        homes: dict[str, list[str]] = defaultdict(list)
        for name, app in sorted(get_commands().items(), key=lambda found: (found[0] != FIRST, found[0])):
            homes["ovauth" if app == "ovauth" else "django"].append(name)
        width = max(map(len, homes["ovauth"]))
        lines = [
            f"ovauth {VERSION}, an OAuth 2.1 authorization server for MCP servers.",
            "",
            f"usage: {self.prog_name} COMMAND [options]        more about one: {self.prog_name} help COMMAND",
            "",
            *(f"  {name:<{width}}  {_first_sentence(name)}" for name in homes["ovauth"]),
            f"  {'check --deploy':<{width}}  Says what is unsafe about this configuration, and how to mend it.",
            "",
            "Django's own, seldom needed:",
            *_wrapped(homes["django"]),
        ]
        return "\n".join(lines)


def _first_sentence(name: str) -> str:
    return load_command_class("ovauth", name).help.partition(". ")[0].rstrip(".") + "."


def _wrapped(names: list[str], width: int = 100) -> list[str]:
    lines = [" "]
    for name in names:
        if len(lines[-1]) + len(name) + 2 > width:
            lines.append(" ")
        lines[-1] += f" {name}"
    return lines
