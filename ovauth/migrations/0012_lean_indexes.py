import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class AlterField(migrations.AlterField):
    """Takes the index of the foreign key away, and touches nothing else of a table that may be large."""

    def database_forwards(self, app_label, editor, from_state, to_state):
        model = from_state.apps.get_model(app_label, self.model_name)
        old = model._meta.get_field(self.name)
        if not old.unique:
            others = {index.name for index in model._meta.indexes}
            (name,) = editor._constraint_names(model, [old.column], index=True, exclude=others)
            editor.execute(editor._delete_index_sql(model, name))
        elif editor.connection.vendor == "postgresql":
            (name,) = editor._constraint_names(model, [old.column], unique=True, primary_key=False)
            editor.execute(editor._delete_constraint_sql(editor.sql_delete_unique, model, name))
        else:
            without_unique(editor, model._meta.db_table, old.column)

    def database_backwards(self, app_label, editor, from_state, to_state):
        model = to_state.apps.get_model(app_label, self.model_name)
        field = model._meta.get_field(self.name)
        if field.unique:
            super().database_forwards(app_label, editor, from_state, to_state)
        else:
            editor.execute(editor._create_index_sql(model, fields=[field]))


def without_unique(editor, table, column):
    """SQLite makes the table anew: https://www.sqlite.org/lang_altertable.html#otheralter.

    Not by Django, which names the columns. `SELECT *` into an empty table of the same shape SQLite copies in the order of
    each index: 1.5 million rows in 5 s instead of 53.
    """
    with editor.connection.cursor() as cursor:
        cursor.execute("SELECT type, sql FROM sqlite_master WHERE tbl_name = %s AND sql IS NOT NULL", [table])
        ((_, text), *indexes) = sorted(cursor.fetchall(), key=lambda found: found[0] != "table")
        first, unique, rest = text.partition(f'"{column}" bigint NULL UNIQUE')
        if not unique:
            raise RuntimeError(f"{table} is not as this migration knows it: {text}")
        cursor.execute(f'{first}"{column}" bigint NULL{rest}'.replace(f'"{table}"', f'"new__{table}"', 1))
        cursor.execute(f'INSERT INTO "new__{table}" SELECT * FROM "{table}"')
        cursor.execute(f'DROP TABLE "{table}"')
        cursor.execute(f'ALTER TABLE "new__{table}" RENAME TO "{table}"')
        for _, index in indexes:
            cursor.execute(index)


class Migration(migrations.Migration):
    """Foreign keys that are empty in most rows are found by an index of the others.

    The new index is there before the old one goes.
    """

    dependencies = [
        ('ovauth', '0011_blocked_by_people'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='client',
            index=models.Index(condition=models.Q(('acts_as__isnull', False)), fields=['acts_as'], name='client_acts_as'),
        ),
        migrations.AddIndex(
            model_name='refreshtoken',
            index=models.Index(condition=models.Q(('successor__isnull', False)), fields=['successor'], name='refresh_successor'),
        ),
        AlterField(
            model_name='client',
            name='acts_as',
            field=models.ForeignKey(blank=True, db_index=False, help_text="As whom the client acts by itself (client_credentials): account and role are this member's.", null=True, on_delete=django.db.models.deletion.CASCADE, to=settings.AUTH_USER_MODEL),
        ),
        AlterField(
            model_name='refreshtoken',
            name='successor',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='ovauth.refreshtoken'),
        ),
    ]
