"""The parts of the documentation that are made from the program: settings from `ovauth.conf`, endpoints from OpenAPI,
metrics and audit events from their lists.

They stand between two marks in the pages, and `uv run python -m tests.docs` writes them anew.
"""

import re
from pathlib import Path
from typing import Any

from ovauth import conf, metrics
from ovauth.flows import audit
from ovauth.web import openapi

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def settings() -> str:
    """A row for each documented setting of `Config`, in its order."""
    rows = ["| variable | default | meaning |", "| --- | --- | --- |"]
    rows += [
        f"| `{conf.variable(name)}` | {_shown(field)} | {field.description} |" for name, field in conf.SETTINGS.items()
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


def endpoints() -> str:
    """A section for each operation: what it is, who may call it, what it takes and answers."""
    return "\n\n".join(
        _section(method, path, operation)
        for path, operations in openapi.schema()["paths"].items()
        for method, operation in operations.items()
    )


def _section(method: str, path: str, operation: dict[str, Any]) -> str:
    said = [f"### {method.upper()} `{path}`", "", _sentence(operation)]
    parameters = [one for one in operation["parameters"] if one["in"] == "query"]
    for _kind, content in operation.get("requestBody", {}).get("content", {}).items():
        said += ["", f"Takes {'JSON' if _kind == 'application/json' else 'a form'}:", "", *_table(content["schema"])]
    if parameters:
        schema = {
            "properties": {one["name"]: one for one in parameters},
            "required": [one["name"] for one in parameters if one["required"]],
        }
        said += ["", "Takes in the query:", "", *_table(schema)]
    for status, answer in operation["responses"].items():
        if "content" in answer:
            schema = answer["content"]["application/json"]["schema"]
            said += ["", f"Answers {status}{_whole(schema)}", *(["", *_table(schema)] if schema["properties"] else [])]
        elif status.startswith(("2", "3")):
            said += ["", f"Answers {status}."]
    refusals = [(status, answer) for status, answer in operation["responses"].items() if status >= "4"]
    if refusals:
        said += ["", "Refuses: " + "; ".join(f"{status} {answer['description']}" for status, answer in refusals) + "."]
    return "\n".join(said)


def _sentence(operation: dict[str, Any]) -> str:
    standard = f" ({operation['description']})" if "description" in operation else ""
    proofs = [name for one in operation.get("security", []) for name in one]
    by = f" By {' or '.join(f'[{name}](#who-calls)' for name in proofs)}." if proofs else ""
    return f"{operation['summary']}{standard}.{by}"


def _whole(schema: dict[str, Any]) -> str:
    more = schema.get("description")
    if not schema["properties"]:
        return f": {more}."
    return f", with {more}:" if more else ":"


def _table(schema: dict[str, Any]) -> list[str]:
    required = schema.get("required", [])
    rows = [
        f"| `{name}` | {'' if name in required else 'may be missing'} | {member.get('description', '')} |"
        for name, member in schema["properties"].items()
    ]
    return ["| member | | |", "| --- | --- | --- |", *rows]


def proofs() -> str:
    """A row for each way in which a caller is recognised."""
    rows = ["| who calls | how |", "| --- | --- |"]
    rows += [f"| {name} | {scheme['description']} |" for name, scheme in openapi.PROOFS.values()]
    return "\n".join(rows)


def gauges_and_counters() -> str:
    """A row for each metric, with its labels as Prometheus writes them."""
    rows = ["| metric | kind | what it says |", "| --- | --- | --- |"]
    for metric in metrics.METRICS:
        labels = f"{{{', '.join(metric.labels)}}}" if metric.labels else ""
        rows.append(f"| `{metric.name}{labels}` | {metric.kind} | {metric.sentence} |")
    return "\n".join(rows)


def events() -> str:
    """A row for each audit event."""
    rows = ["| event | what it says |", "| --- | --- |"]
    rows += [f"| `{event}` | {sentence} |" for event, sentence in audit.EVENTS.items()]
    return "\n".join(rows)


MADE = {
    ("operating.md", "metrics"): gauges_and_counters,
    ("operating.md", "audit events"): events,
    ("configuration.md", "settings"): settings,
    ("api.md", "who calls"): proofs,
    ("api.md", "endpoints"): endpoints,
}


def written(page: Path, mark: str, text: str) -> str:
    """The page with that text between the marks, which it must have."""
    pattern = re.compile(rf"(<!-- made: {mark} -->\n)(.*?)(\n<!-- made -->)", re.DOTALL)
    said, found = pattern.subn(lambda marks: f"{marks[1]}{text}{marks[3]}", page.read_text())
    assert found == 1, f"{page.name} wants its marks for {mark}"
    return said
