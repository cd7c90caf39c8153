"""`uv run python -m tests.docs`: writes anew what the documentation says of settings, endpoints, metrics and events."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django

django.setup()

from tests.docs.reference import DOCS, MADE, written

for (page, mark), make in MADE.items():
    path = DOCS / page
    path.write_text(written(path, mark, make()))
    print(f"docs/{page}: {mark}")
