"""The OpenAPI document of what programs call."""

from typing import Any

import pytest

from ovauth.web import openapi
from tests.web.asking import Site


def test_it_is_answered_to_everybody(site: Site) -> None:
    answer = site.get("/api/v1/openapi.json")
    assert answer.status == 200
    assert answer.json()["openapi"] == "3.1.0"
    assert "/token" in answer.json()["paths"]


@pytest.mark.parametrize(
    "path", [path for (method, path), told in openapi.OPERATIONS.items() if method == "post" and told.as_json]
)
def test_what_takes_json_takes_no_form(site: Site, path: str) -> None:
    assert site.post_form(path, {"a": "b"}).status in (400, 401, 415)


def test_every_operation_says_what_it_answers() -> None:
    operations: list[dict[str, Any]] = [one for many in openapi.schema()["paths"].values() for one in many.values()]
    assert all(operation["summary"] and operation["responses"] for operation in operations)
