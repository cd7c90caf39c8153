"""Every step of the schema while the version before it goes on serving: `python -m tests.migrations.steps`.

For each migration that a released version may meet: data is written as the older program writes it, the step is made, and
then the older program reads, writes and changes again. Prints one JSON line: what failed, by migration.
"""

import json
import os
import sys
import traceback
from datetime import UTC, datetime
from secrets import token_bytes, token_hex
from typing import Any

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
django.setup()

from django.db import connection, models, transaction
from django.db.migrations.executor import MigrationExecutor

APP = "ovauth"
RELEASED = "0005"
"""From this one on a database may be in the hands of an older program."""

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)


def filled(model: type[models.Model]) -> models.Model:
    """A new row with all that the program of that time has to say, and what it hangs on."""
    return model._default_manager.create(
        **{field.name: value(field) for field in model._meta.concrete_fields if is_asked(field)}
    )


def is_asked(field: Any) -> bool:
    return not (field.primary_key or field.null or field.has_default() or field.blank)


def value(field: Any) -> Any:
    match field:
        case models.ForeignKey():
            return filled(field.related_model)
        case models.DateTimeField():
            return NOW
        case models.BinaryField():
            return token_bytes(32)
        case models.BooleanField():
            return True
        case models.IntegerField():
            return 1
    return token_hex(32)[: field.max_length or 64]


def steps() -> list[tuple[str, str]]:
    """Each migration of ovauth that is to be judged, with the one before it."""
    names = sorted(name for app, name in MigrationExecutor(connection).loader.graph.nodes if app == APP)
    return [(before, after) for before, after in zip(names, names[1:], strict=False) if before[:4] >= RELEASED]


def others() -> list[tuple[str, str]]:
    return [leaf for leaf in MigrationExecutor(connection).loader.graph.leaf_nodes() if leaf[0] != APP]


def migrate(name: str) -> None:
    executor = MigrationExecutor(connection)
    executor.migrate([(APP, name), *[leaf for leaf in others() if leaf[0] not in ("admin",)]])


def judge(before: str, after: str) -> None:
    """Raises whatever the older program would meet."""
    state = MigrationExecutor(connection).loader.project_state((APP, before))
    older = list(state.apps.get_app_config(APP).get_models())
    rows = {model: filled(model).pk for model in older}
    migrate(after)
    for model in older:
        with transaction.atomic():
            model._default_manager.get(pk=rows[model]).save()
            filled(model)
            list(model._default_manager.all())
    newer = MigrationExecutor(connection).loader.project_state((APP, after)).apps.get_app_config(APP).get_models()
    for model in newer:
        for row in model._default_manager.all():
            row.save()


def main() -> None:
    failed = {}
    judged = []
    for before, after in steps():
        migrate(before)
        judged.append(after)
        try:
            judge(before, after)
        except Exception:
            failed[after] = traceback.format_exc()
    sys.stdout.write(json.dumps({"judged": judged, "failed": failed, "on": connection.vendor}) + "\n")


if __name__ == "__main__":
    main()
