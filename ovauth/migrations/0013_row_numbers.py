import ovauth.models
from django.db import migrations

MANY = ("accesstoken", "auditevent", "refreshtoken", "tally")
KEY = 'integer NOT NULL PRIMARY KEY'


def rewrite(editor, table, old, new):
    """Changes what SQLite remembers of the table, and no row: https://www.sqlite.org/lang_altertable.html#otheralter.

    Whether numbers are given twice is asked when a row is inserted; what is stored is the same.
    """
    with editor.connection.cursor() as cursor:
        (text,) = cursor.execute("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = %s", [table]).fetchone()
        if old not in text:
            return  # made anew since by a migration that knew the new key
        (version,) = cursor.execute("PRAGMA schema_version").fetchone()
        cursor.execute("PRAGMA writable_schema = ON")
        try:
            cursor.execute(
                "UPDATE sqlite_master SET sql = %s WHERE type = 'table' AND name = %s", [text.replace(old, new, 1), table]
            )
            cursor.execute(f"PRAGMA schema_version = {version + 1}")
        finally:
            cursor.execute("PRAGMA writable_schema = OFF")


class AlterKey(migrations.AlterField):
    """On PostgreSQL the two keys are the same."""

    def database_forwards(self, app_label, editor, from_state, to_state):
        self._change(app_label, editor, from_state, f"{KEY} AUTOINCREMENT", KEY)

    def database_backwards(self, app_label, editor, from_state, to_state):
        self._change(app_label, editor, from_state, KEY, f"{KEY} AUTOINCREMENT")

    def _change(self, app_label, editor, state, old, new):
        if editor.connection.vendor == "sqlite":
            rewrite(editor, state.apps.get_model(app_label, self.model_name)._meta.db_table, old, new)


class Migration(migrations.Migration):
    """The tables that each request writes to no longer keep the highest number that they ever gave."""

    dependencies = [
        ('ovauth', '0012_lean_indexes'),
    ]

    operations = [
        AlterKey(
            model_name=name,
            name='id',
            field=ovauth.models.RowNumber(primary_key=True, serialize=False, verbose_name='ID'),
        )
        for name in MANY
    ]
