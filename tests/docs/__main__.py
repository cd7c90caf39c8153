"""`uv run python -m tests.docs`: writes anew what the documentation says of settings, endpoints, metrics and events."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django

django.setup()

import polib

from tests.docs.reference import CATALOGUE, CHINESE, DOCS, MADE, chinese, in_chinese, in_english, sentences, written

catalogue = polib.POFile(wrapwidth=0)
catalogue.metadata = {"Language": "zh_Hans", "Content-Type": "text/plain; charset=UTF-8"}
for text in sentences():
    known = chinese().find(text)
    catalogue.append(polib.POEntry(msgid=text, msgstr=known.msgstr if known else ""))
CATALOGUE.parent.mkdir(exist_ok=True)
catalogue.save(str(CATALOGUE))
missing = catalogue.untranslated_entries()
print(f"{CATALOGUE.relative_to(DOCS.parent)}: {len(catalogue)} sentences, {len(missing)} without a translation")
chinese.cache_clear()

for folder, say in ((DOCS, in_english), (CHINESE, in_chinese)):
    for (page, mark), make in MADE.items():
        path = folder / page
        if path.exists():
            path.write_text(written(path, mark, make(say)))
            print(f"{path.relative_to(DOCS.parent)}: {mark}")
