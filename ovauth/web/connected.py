"""A connection as it stands in a list: told apart from others of the same name, with what it may do."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.conf import settings

from ovauth.flows.connections import Connection
from ovauth.web import review
from ovauth.web.review import NamedTools


@dataclass(frozen=True, slots=True)
class Row:
    """`browser` asked for it; `sentences` are its scopes in words, `tools` those that these scopes open."""

    connection: Connection
    browser: str
    sentences: tuple[str, ...]
    tools: NamedTools | None


def rows(found: Iterable[Connection]) -> list[Row]:
    sentences = {scope.name: scope.sentence for scope in settings.OVAUTH.scopes}
    return [
        Row(
            connection,
            review.browser_name(connection.asked_by),
            tuple(review.in_words(name, sentences.get(name, name)) for name in connection.scopes),
            review.named_tools(connection.scopes),
        )
        for connection in found
    ]
