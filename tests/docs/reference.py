"""The parts of the documentation that are made from the program: settings from `ovauth.conf`, endpoints from OpenAPI,
metrics and audit events from their lists.

They stand between two marks in the pages, and `uv run python -m tests.docs` writes them anew. For the Chinese pages each
sentence is looked up in `docs/zh/reference.po`, where new ones are added by the same command, to be translated.
"""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import polib

from ovauth import conf, metrics
from ovauth.flows import audit
from ovauth.web import openapi

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
CHINESE = DOCS / "zh"
CATALOGUE = CHINESE / "reference.po"

Say = Callable[[str], str]
"""A sentence in the language of the page."""


def settings(say: Say) -> str:
    """A row for each documented setting of `Config`, in its order."""
    rows = [_row(say, "variable", "default", "meaning"), "| --- | --- | --- |"]
    rows += [
        f"| `{conf.variable(name)}` | {say(_shown(field))} | {say(field.description or '')} |"
        for name, field in conf.SETTINGS.items()
    ]
    return "\n".join(rows)


def _shown(field: Any) -> str:
    """The default as a person reads it: what Config says of it, or the value itself."""
    match (field.json_schema_extra or {}).get("shown", field.default):
        case str(shown) if field.json_schema_extra:
            return shown
        case None:
            return "unset"
        case bool(value):
            return f"`{str(value).lower()}`"
        case str(value):
            return f"`{value}`"
        case value:
            return str(value)


def endpoints(say: Say) -> str:
    """A section for each operation: what it is, who may call it, what it takes and answers."""
    return "\n\n".join(
        _section(say, method, path, operation)
        for path, operations in openapi.schema()["paths"].items()
        for method, operation in operations.items()
    )


def _section(say: Say, method: str, path: str, operation: dict[str, Any]) -> str:
    said = [f"### {method.upper()} `{path}`", "", _sentence(say, operation)]
    parameters = [one for one in operation["parameters"] if one["in"] == "query"]
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        takes = "Takes JSON:" if kind == "application/json" else "Takes a form:"
        said += ["", say(takes), "", *_table(say, content["schema"])]
    if parameters:
        schema = {
            "properties": {one["name"]: one for one in parameters},
            "required": [one["name"] for one in parameters if one["required"]],
        }
        said += ["", say("Takes in the query:"), "", *_table(say, schema)]
    refusals = []
    for status, answer in operation["responses"].items():
        if status >= "4":
            refusals.append(f"- {status}: {say(answer['description'])}")
        else:
            schema = answer.get("content", {}).get("application/json", {}).get("schema", {"properties": {}})
            whole = f" {say(schema['description'])}" if "description" in schema else ""
            said += ["", f"{say('Answers')} {status}{':' if whole or schema['properties'] else ''}{whole}"]
            said += ["", *_table(say, schema)] if schema["properties"] else []
    if refusals:
        said += ["", say("Refuses:"), "", *refusals]
    return "\n".join(said)


def _sentence(say: Say, operation: dict[str, Any]) -> str:
    standard = f" ({operation['description']})" if "description" in operation else ""
    proofs = [name for one in operation.get("security", []) for name in one]
    by = f" {say('By')} {', '.join(f'`{name}`' for name in proofs)}." if proofs else ""
    return f"{say(operation['summary'])}{standard}.{by}"


def _table(say: Say, schema: dict[str, Any]) -> list[str]:
    required = schema.get("required", [])
    rows = [
        f"| `{name}` | {'' if name in required else say('may be missing')} | {say(member.get('description', ''))} |"
        for name, member in schema["properties"].items()
    ]
    return [_row(say, "member", "", ""), "| --- | --- | --- |", *rows]


def proofs(say: Say) -> str:
    """A row for each way in which a caller is recognised."""
    rows = [_row(say, "who calls", "how"), "| --- | --- |"]
    rows += [f"| `{name}` | {say(scheme['description'])} |" for name, scheme in openapi.PROOFS.values()]
    return "\n".join(rows)


def gauges_and_counters(say: Say) -> str:
    """A row for each metric, with its labels as Prometheus writes them."""
    rows = [_row(say, "metric", "kind", "what it says"), "| --- | --- | --- |"]
    for metric in metrics.METRICS:
        labels = f"{{{', '.join(metric.labels)}}}" if metric.labels else ""
        rows.append(f"| `{metric.name}{labels}` | {metric.kind} | {say(metric.sentence)} |")
    return "\n".join(rows)


def events(say: Say) -> str:
    """A row for each audit event."""
    rows = [_row(say, "event", "what it says"), "| --- | --- |"]
    rows += [f"| `{event}` | {say(sentence)} |" for event, sentence in audit.EVENTS.items()]
    return "\n".join(rows)


def _row(say: Say, *cells: str) -> str:
    return f"| {' | '.join(say(cell) for cell in cells)} |"


MADE: dict[tuple[str, str], Callable[[Say], str]] = {
    ("operating.md", "metrics"): gauges_and_counters,
    ("operating.md", "audit events"): events,
    ("configuration.md", "settings"): settings,
    ("api.md", "who calls"): proofs,
    ("api.md", "endpoints"): endpoints,
}


def in_english(text: str) -> str:
    return text


@cache
def chinese() -> polib.POFile:
    return polib.pofile(str(CATALOGUE)) if CATALOGUE.exists() else polib.POFile(wrapwidth=0)


def in_chinese(text: str) -> str:
    """What the catalogue has for it; what is a name or a number alone, and what has no translation yet, stays."""
    found = chinese().find(text)
    return found.msgstr or text if found else text


def sentences() -> list[str]:
    """What is to be translated, each once and in order."""
    heard: dict[str, None] = {}

    def listen(text: str) -> str:
        if re.search(r"[a-z]{2}", re.sub(r"`[^`]*`", "", text)):
            heard[text] = None
        return text

    for make in MADE.values():
        make(listen)
    return list(heard)


def written(page: Path, mark: str, text: str) -> str:
    """The page with that text between the marks, which it must have."""
    pattern = re.compile(rf"(<!-- made: {mark} -->\n)(.*?)(\n<!-- made -->)", re.DOTALL)
    said, found = pattern.subn(lambda marks: f"{marks[1]}{text}{marks[3]}", page.read_text())
    assert found == 1, f"{page.name} wants its marks for {mark}"
    return said
