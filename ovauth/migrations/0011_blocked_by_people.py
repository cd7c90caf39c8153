from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('ovauth', '0010_key_of_the_nodes'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='blockedclient',
            options={'verbose_name': 'app blocked by people', 'verbose_name_plural': 'apps blocked by people'},
        ),
    ]
