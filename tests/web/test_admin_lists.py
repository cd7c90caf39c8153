"""The admin's lists: walked from the newest row, narrowed by what an index leads to, never counted."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin import site as admin_site
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from ovauth.admin import base, walking
from ovauth.flows import accounts, blocking
from ovauth.models import AccessToken, AuditEvent, Client, Grant
from ovauth.roles import Role
from tests.bench.admin import LISTS
from tests.conftest import Person, begun, connected, registered
from tests.web.test_admin import admin as admin  # the fixture

SESSION_AND_MEMBER = 2


def rows(page: Any) -> list[str]:
    """The primary keys that a list shows, in its order."""
    return re.findall(r'name="_selected_action" value="(\d+)"', page.content.decode())


def listed(browser: Browser, model: str, query: str = "") -> Any:
    return browser.get(reverse(f"admin:ovauth_{model}_changelist") + query)


def test_a_list_goes_on_before_the_last_row_of_its_page(
    admin: Browser, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base.Page, "list_per_page", 2)
    for _ in range(5):
        connected(registered(), bob.by_key)
    keys = [str(pk) for pk in Grant.objects.order_by("-pk").values_list("pk", flat=True)]
    seen, query = [], ""
    for _ in range(3):
        page = listed(admin, "grant", query)
        seen += rows(page)
        found = re.search(r'<a href="(\?p=\d+)">Older</a>', page.content.decode())
        query = found[1] if found else ""
    assert seen == keys
    assert query == ""


@pytest.mark.parametrize("page", ["0", "-7", "99999999999999999999999", "x", ""])
def test_a_page_that_is_none_is_answered_all_the_same(admin: Browser, client_app: Client, page: str) -> None:
    assert listed(admin, "client", f"?p={page}").status_code == 200


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk ends after its first step, of three rows."""
    monkeypatch.setattr(walking, "STEP", 3)
    monkeypatch.setattr(walking, "PATIENCE", -1.0)


def test_a_filter_without_an_index_says_how_far_it_looked_and_looks_further_back(
    admin: Browser, bob: Person, impatient: None
) -> None:
    first = connected(registered(), bob.by_key)
    token = AccessToken.objects.by_secret(first.access_token)
    AccessToken.objects.filter(pk=token.pk).update(revoked_at=timezone.now())
    for _ in range(4):
        connected(registered(), bob.by_key)
    page = listed(admin, "accesstoken", "?state=ended")
    assert rows(page) == []
    assert "Looked at everything back to" in page.content.decode()
    further = re.search(r'<a href="([^"]+)">Look further back</a>', page.content.decode())
    assert further
    assert rows(listed(admin, "accesstoken", further[1].replace("&amp;", "&"))) == [str(token.pk)]


def test_what_an_index_leads_to_is_found_however_far_back(admin: Browser, bob: Person, impatient: None) -> None:
    theirs = registered(client_name="An old app")
    connected(theirs, bob.by_key)
    grant = Grant.objects.get()
    carol = accounts.create_user(account="acme", name="carol", role=Role.USER)
    assert carol.api_key
    for _ in range(5):
        connected(registered(), _by_key("carol"))
    for query in ("?q=acme/bob", "?q=bob", "?q=an+old", f"?q={theirs.client_id}"):
        for model in ("grant", "accesstoken", "refreshtoken"):
            assert len(_linked(listed(admin, model, query), "member", grant.member_id)) == 1, (model, query)


def _by_key(name: str) -> Any:
    from ovauth.flows.authority import Authority
    from ovauth.models import ApiKey

    key = ApiKey.objects.get(member__name=name)
    return Authority(key.member_id, api_key_pk=key.pk)


def _linked(page: Any, model: str, pk: int) -> list[str]:
    return re.findall(rf'href="/admin/ovauth/{model}/{pk}/change/"', page.content.decode())


def test_an_account_is_a_filter_and_the_beginning_of_a_search(admin: Browser, bob: Person, charlie: Person) -> None:
    connected(registered(), bob.by_key)
    connected(registered(), charlie.by_key)
    mine = str(Grant.objects.get(member=bob.member).pk)
    for query in ("?account=acme", "?q=acme/"):
        assert rows(listed(admin, "grant", query)) == [mine]
    assert rows(listed(admin, "grant", "?account=nobody")) == []
    assert len(_linked(listed(admin, "accesstoken", "?account=acme"), "member", bob.member.pk)) == 1
    assert len(_linked(listed(admin, "accesstoken", "?account=acme"), "member", charlie.member.pk)) == 0


def test_many_users_are_compared_row_by_row_and_found_as_well(
    admin: Browser, bob: Person, charlie: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ovauth.admin.narrowing.SEVERAL", 0)
    connected(registered(client_name="Mine"), bob.by_key)
    connected(registered(client_name="Theirs"), charlie.by_key)
    for query in ("?q=acme/", "?q=mine", "?account=acme"):
        page = listed(admin, "accesstoken", query)
        assert len(_linked(page, "member", bob.member.pk)) == 1, query
        assert len(_linked(page, "member", charlie.member.pk)) == 0, query


def test_installations_of_one_app_are_one_row_and_open_to_all_of_them(admin: Browser) -> None:
    alike = [registered(client_name="Notes", redirect_uris=[f"http://localhost:{port}/callback"]) for port in (81, 82, 83)]
    other = registered(client_name="Notes", redirect_uris=["https://evil.example/callback"])
    page = listed(admin, "client", "?alike=newest")
    assert rows(page) == [str(other.pk), str(alike[-1].pk)]
    link = re.search(r'href="([^"]+)">2</a>', page.content.decode())
    assert link
    assert rows(admin.get(link[1])) == [str(client.pk) for client in reversed(alike)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [("?by=browser", 1), ("?by=device", 0), ("?by=machine", 0), ("?method=registered", 1), ("?method=manual", 0)],
)
def test_connections_are_filtered_by_the_way_they_came(
    admin: Browser, bob: Person, client_app: Client, query: str, expected: int
) -> None:
    connected(client_app, bob.by_key)
    assert len(rows(listed(admin, "grant", query))) == expected


def test_the_select_all_of_a_posted_form_means_the_chosen_rows(admin: Browser, bob: Person) -> None:
    for _ in range(2):
        connected(registered(), bob.by_key)
    first, second = Grant.objects.order_by("pk")
    fields = {"action": "revoke", "_selected_action": [str(first.pk)], "select_across": "1", "confirmed": "yes"}
    admin.post(reverse("admin:ovauth_grant_changelist"), fields)
    assert Grant.objects.get(revoked_at=None).pk == second.pk


# ------------------------------------------------------------------ what it costs


@pytest.fixture
def statements(admin: Browser, bob: Person) -> Callable[[str], list[str]]:
    """The statements of a page behind those that find session and member."""
    for _ in range(3):
        client = registered()
        connected(client, bob.by_key)
        begun(client)

    def asked(path: str) -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            assert admin.get(path).status_code == 200
        return [query["sql"] for query in captured.captured_queries][SESSION_AND_MEMBER:]

    return asked


MOST = {"": 3, "narrowed": 7}
"""A page: the accounts of a filter, the keys of the rows, the rows. Narrowed: who is meant, and a step of the walk."""


def test_no_list_counts_its_table_and_each_asks_little(statements: Callable[[str], list[str]]) -> None:
    assert {f"ovauth_{name}" for name in LISTS} == {
        f"{model._meta.app_label}_{model._meta.model_name}" for model in admin_site._registry
    }
    for name, queries in LISTS.items():
        for query in queries:
            asked = statements(f"/admin/ovauth/{name}/?{query}")
            assert len(asked) <= MOST["narrowed" if query and not query.startswith("p=") else ""], (name, query, asked)
            for sql in asked:
                assert "LIMIT" in sql or " IN (" in sql, (name, query, sql)
                assert not re.search(r"SELECT COUNT\(\*\) AS \"__count\" FROM \"", sql), (name, query, sql)


def test_the_home_page_counts_no_further_than_it_says(
    statements: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch, admin: Browser
) -> None:
    asked = statements("/admin/")
    assert len(asked) == 9
    for sql in asked:
        assert re.search(rf"LIMIT ({base.ASKED_UP_TO + 1}|10|5)\b", sql), sql
    monkeypatch.setattr(base, "ASKED_UP_TO", 2)
    assert "more than 2" in admin.get("/admin/").content.decode()


def test_the_home_page_counts_what_people_blocked_and_names_the_newest(
    admin: Browser, root: Person, bob: Person, client_app: Client
) -> None:
    def told() -> str:
        return re.sub(r"<[^>]+>|\s+", " ", admin.get("/admin/").content.decode())

    assert re.search(r" 0 +apps are blocked by people ", told())
    assert "Blocked by people" not in told()
    blocking.block(authority=bob.by_session, client_id=client_app.client_id)
    assert re.search(r" 1 +app is blocked by people ", told())
    assert re.search(r"Blocked by people +Test client .* for acme/bob", told())
    assert re.search(r" 0 +of them are blocked for everybody ", told())
    assert re.search(r" 2 +users are known ", told())


def test_the_page_before_a_moment_begins_there(admin: Browser, client_app: Client) -> None:
    now = timezone.now()
    for minutes in (30, 20, 10):
        AuditEvent.objects.create(at=now - timedelta(minutes=minutes), event=f"test.{minutes}")
    until = (now - timedelta(minutes=15)).strftime("%Y-%m-%dT%H:%M")
    page = admin.get(reverse("admin:ovauth_auditevent_before"), {"until": until}, follow=True).content.decode()
    assert "test.10" not in page
    assert "test.20" in page
    nonsense = admin.get(reverse("admin:ovauth_auditevent_before"), {"until": "soon"})
    assert nonsense["location"] == "../"
