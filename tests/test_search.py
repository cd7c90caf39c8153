"""What the admin looks up by a beginning is found by an index, on SQLite as on PostgreSQL; alike clients by theirs."""

from typing import Any

import pytest
from django.db import connection

from ovauth.flows import clients
from ovauth.models import Client, Member
from tests.conftest import registered


def plan(queryset: Any) -> str:
    """How the database would find the rows if the table were large."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")
    return str(queryset.explain())


@pytest.mark.parametrize(
    ("queryset", "index"),
    [
        (lambda: Client.objects.filter(name__istartswith="claude"), "client_search"),
        (lambda: Member.objects.filter(sign_in_name__istartswith="acme/"), "member_search"),
        (lambda: Client.objects.filter(likeness="0123456789abcdef").exclude(likeness=""), "client_likeness"),
    ],
)
def test_a_beginning_is_found_by_its_index(db: None, queryset: Any, index: str) -> None:
    assert index in plan(queryset())


def test_installations_of_one_app_are_alike_and_what_goes_elsewhere_is_not(db: None) -> None:
    first = registered(client_name="Notes", redirect_uris=["http://localhost:8123/callback"])
    second = registered(client_name="Notes", redirect_uris=["http://localhost:49152/callback"])
    assert first.likeness == second.likeness != ""
    for other in (
        {"client_name": "Notes", "redirect_uris": ["https://evil.example/callback"]},
        {"client_name": "Notes", "redirect_uris": ["http://127.0.0.1:8123/callback"]},
        {"client_name": "notes", "redirect_uris": ["http://localhost:8123/callback"]},
    ):
        assert registered(**other).likeness != first.likeness
    clients.change(
        client_id=second.client_id,
        name="Renamed",
        redirect_uris=second.redirect_uris,
        access_token_ttl=None,
        acts_as_pk=None,
    )
    second.refresh_from_db()
    assert second.likeness != first.likeness


def test_a_client_that_an_operator_made_is_like_no_other(db: None) -> None:
    made = clients.make(name="Notes", redirect_uris=["https://a.example/"], token_endpoint_auth_method="none")
    assert Client.objects.get(client_id=made.client_id).likeness == ""
