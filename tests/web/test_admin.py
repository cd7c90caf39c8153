"""The Django admin, as a person with the role root clicks through it."""

import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin import site as admin_site
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from ovauth import bearer, credentials
from ovauth.errors import InvalidClient
from ovauth.flows import accounts, approval, clients, refresh_token
from ovauth.logs import SECRET
from ovauth.models import (
    AccessToken,
    ApiKey,
    AuditEvent,
    AuthorizationCode,
    Client,
    Grant,
    Member,
    PendingAuthorization,
    RefreshToken,
)
from ovauth.roles import Role
from tests.conftest import CALLBACK, Person, approved, begun, connected, person, registered, works

LISTS = [f"{model._meta.app_label}_{model._meta.model_name}" for model in admin_site._registry]


@pytest.fixture
def admin(root: Person) -> Browser:
    browser = Browser()
    browser.force_login(root.member)
    return browser


def submit(browser: Browser, model: str, action: str, *rows: Any, confirmed: bool = False) -> Any:
    """Chooses rows of a list and an action on them; confirmed as the page that asks would."""
    fields = {"action": action, ACTION_CHECKBOX_NAME: [str(row.pk) for row in rows]}
    return browser.post(reverse(f"admin:ovauth_{model}_changelist"), fields | ({"confirmed": "yes"} if confirmed else {}))


def shown(answer: Any, label: str) -> str:
    found = re.search(rf"<dt>{label}</dt><dd><code>([^<]+)</code>", answer.content.decode())
    assert found, answer.content.decode()
    return unescape(found[1])


# ------------------------------------------------------------------ who gets in


@pytest.mark.parametrize("role", [Role.USER, Role.ADMIN])
def test_only_the_role_root_gets_in(db: None, role: Role) -> None:
    browser = Browser()
    browser.force_login(person("default", "somebody", role).member)
    answer = browser.get("/admin/", follow=True)
    assert answer.status_code == 403


def test_whoever_is_not_signed_in_goes_to_the_console(db: None) -> None:
    answer = Browser().get("/admin/ovauth/client/", follow=True)
    assert answer.redirect_chain[-1][0].startswith("/console/login?next=")


def test_a_deactivated_root_is_out_at_the_next_request(admin: Browser, root: Person) -> None:
    assert admin.get("/admin/").status_code == 200
    Member.objects.filter(pk=root.member.pk).update(is_active=False)
    assert admin.get("/admin/").status_code == 302


def test_the_admin_signs_out_to_the_console_and_changes_passwords_there(admin: Browser) -> None:
    assert admin.get("/admin/password_change/")["location"] == "/console/password"
    assert admin.post("/admin/logout/")["location"] == "/console/login"
    assert admin.get("/admin/").status_code == 302


# ------------------------------------------------------------------ every page


@pytest.fixture
def full(bob: Person, client_app: Client) -> dict[str, Any]:
    """One row of every kind, and the secrets that belong to them."""
    tokens = connected(client_app, bob.by_key)
    assert tokens.refresh_token
    refreshed = refresh_token.rotate(client=client_app, refresh_token=tokens.refresh_token, issuer="http://testserver")
    code = approved(client_app, bob.by_session)
    begun(client_app, state="the-state-of-the-client")
    return {"tokens": tokens, "refreshed": refreshed, "code": code}


def test_every_list_and_every_form_opens_and_holds_no_secret(admin: Browser, full: dict[str, Any]) -> None:
    for model in admin_site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        pages = [reverse(f"{name}_changelist")]
        pages += [reverse(f"{name}_change", args=[row.pk]) for row in model._default_manager.all()]
        for url in pages:
            answer = admin.get(url)
            assert answer.status_code == 200, url
            text = answer.content.decode()
            leaked = [found[0] for found in SECRET.finditer(text)]
            assert not leaked, (url, leaked)
            for digest in digests():
                assert digest.hex()[:9] not in text, url
            assert "the-state-of-the-client" not in text


def digests() -> list[bytes]:
    rows = [
        *AccessToken.objects.all(),
        *RefreshToken.objects.all(),
        *AuthorizationCode.objects.all(),
        *ApiKey.objects.all(),
    ]
    return [bytes(row.digest) for row in rows]


def test_pages_carry_the_strict_policy_and_are_not_kept(admin: Browser) -> None:
    answer = admin.get("/admin/")
    assert "script-src 'self'" in answer["content-security-policy"]
    assert "unsafe-inline" not in answer["content-security-policy"]
    assert "no-store" in answer["cache-control"]
    page = answer.content.decode()
    assert not re.search(r"<script(?![^>]*(src=|type=\"application/json\"))", page)
    assert " style=" not in page


def test_colours_are_said_in_one_file_that_every_page_has(admin: Browser) -> None:
    static = Path(__file__).parents[2] / "static" / "ovauth"

    def colours(sheet: str) -> set[str]:
        """Those that are said there, and not made of others."""
        return set(re.findall(r"(--[a-z-]+): *(?:light-dark\(|#)", (static / sheet).read_text()))

    assert "--accent" in colours("colours.css")
    assert colours("admin.css") == colours("ovauth.css") == set()
    for path in ("/admin/", "/console/"):
        sheets = re.findall(r'<link rel="stylesheet" href="[^"]*/(\w+)\.css"', admin.get(path).content.decode())
        assert sheets.index("colours") < max(sheets.index(own) for own in ("admin", "ovauth") if own in sheets), path


@pytest.mark.parametrize(
    "model", ["grant", "accesstoken", "refreshtoken", "authorizationcode", "pendingauthorization", "apikey", "auditevent"]
)
def test_what_is_issued_or_noted_is_neither_added_nor_changed_nor_deleted(
    admin: Browser, full: dict[str, Any], model: str
) -> None:
    row = next(found for found in admin_site._registry if found._meta.model_name == model).objects.first()
    assert row is not None
    assert admin.get(reverse(f"admin:ovauth_{model}_add")).status_code == 403
    assert admin.post(reverse(f"admin:ovauth_{model}_change", args=[row.pk]), {}).status_code == 403
    assert admin.post(reverse(f"admin:ovauth_{model}_delete", args=[row.pk]), {"post": "yes"}).status_code == 403
    submit(admin, model, "delete_selected", row, confirmed=True)
    assert type(row).objects.filter(pk=row.pk).exists()


def test_a_list_asks_the_same_number_of_questions_for_two_rows_and_for_twenty(admin: Browser, bob: Person) -> None:
    def rows(how_many: int) -> None:
        for _ in range(how_many):
            client = registered()
            connected(client, bob.by_key)
            begun(client)

    def queries() -> dict[str, int]:
        counted = {}
        for name in LISTS:
            with CaptureQueriesContext(
                connection,
            ) as captured:
                assert admin.get(reverse(f"admin:{name}_changelist")).status_code == 200
            counted[name] = len(captured)
        return counted

    rows(2)
    few = queries()
    rows(8)
    assert queries() == few
    assert max(few.values()) <= 10


# ------------------------------------------------------------------ clients


def make(admin: Browser, **changes: Any) -> Any:
    fields = {
        "name": "Reports",
        "redirect_uris": f"https://reports.example/callback\r\n\r\n  {CALLBACK}",
        "token_endpoint_auth_method": "client_secret_basic",
        "scopes": ["mcp", "fs"],
    }
    return admin.post(reverse("admin:ovauth_client_add"), fields | changes)


def test_a_made_client_shows_its_secret_once_and_can_authenticate_with_it(admin: Browser) -> None:
    answer = make(admin)
    assert answer.status_code == 200
    assert "no-store" in answer["cache-control"]
    client_id, secret = shown(answer, "Client id"), shown(answer, "Client secret")
    made = clients.authenticate(client_id=client_id, client_secret=secret)
    assert made.redirect_uris == ["https://reports.example/callback", CALLBACK]
    assert made.scope == "mcp fs"
    later = admin.get(reverse("admin:ovauth_client_change", args=[made.pk])).content.decode()
    assert secret not in later
    assert not any(secret in str(row) for row in everything())


def everything() -> list[Any]:
    """All that the database holds, the sessions and the admin's own log included."""
    with connection.cursor() as cursor:
        rows: list[Any] = []
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            rows += cursor.fetchall()
    return rows


def test_a_public_client_has_no_secret(admin: Browser) -> None:
    answer = make(admin, token_endpoint_auth_method="none")
    assert b"ovcs_" not in answer.content
    assert clients.authenticate(client_id=shown(answer, "Client id"), client_secret=None)


def test_a_redirect_uri_is_refused_by_the_rules_of_registration_and_named_by_its_line(admin: Browser) -> None:
    answer = make(admin, redirect_uris=f"{CALLBACK}\njavascript:alert(1)\nhttp://evil.example/")
    assert answer.status_code == 200
    assert "Line 2 is not acceptable" in answer.content.decode()
    assert "Line 3 is not acceptable" in answer.content.decode()
    assert "Line 1" not in answer.content.decode()
    assert not Client.objects.exists()


def test_name_redirect_uris_and_the_life_of_tokens_can_be_changed(admin: Browser, client_app: Client, bob: Person) -> None:
    url = reverse("admin:ovauth_client_change", args=[client_app.pk])
    fields = {"name": "Renamed", "redirect_uris": "https://new.example/cb", "access_token_ttl": "120", "acts_as": ""}
    assert admin.post(url, fields).status_code == 302
    client_app.refresh_from_db()
    assert client_app.name == "Renamed"
    assert client_app.redirect_uris == ["https://new.example/cb"]
    assert connected(client_app, bob.by_key).expires_in == 120


@pytest.mark.parametrize(
    "change",
    [
        {"redirect_uris": ""},
        {"redirect_uris": "http://evil.example/"},
        {"access_token_ttl": "0"},
        {"access_token_ttl": "x"},
    ],
)
def test_a_bad_change_of_a_client_changes_nothing(admin: Browser, client_app: Client, change: dict[str, str]) -> None:
    fields = {"name": "N", "redirect_uris": CALLBACK, "access_token_ttl": "60", "acts_as": ""} | change
    assert admin.post(reverse("admin:ovauth_client_change", args=[client_app.pk]), fields).status_code == 200
    after = Client.objects.get()
    assert (after.name, after.redirect_uris, after.access_token_ttl) == (client_app.name, [CALLBACK], None)


def test_a_confidential_client_keeps_its_secret_when_it_is_changed(admin: Browser) -> None:
    answer = make(admin)
    client_id, secret = shown(answer, "Client id"), shown(answer, "Client secret")
    made = Client.objects.get(client_id=client_id)
    fields = {"name": "Other", "redirect_uris": CALLBACK, "access_token_ttl": "", "acts_as": ""}
    assert admin.post(reverse("admin:ovauth_client_change", args=[made.pk]), fields).status_code == 302
    assert clients.authenticate(client_id=client_id, client_secret=secret).name == "Other"


def test_a_renewed_secret_replaces_the_old_one_and_is_asked_about_first(admin: Browser) -> None:
    answer = make(admin)
    client_id, old = shown(answer, "Client id"), shown(answer, "Client secret")
    made = Client.objects.get(client_id=client_id)
    assert "stops working at once" in submit(admin, "client", "renew_secret", made).content.decode()
    assert clients.authenticate(client_id=client_id, client_secret=old)
    new = shown(submit(admin, "client", "renew_secret", made, confirmed=True), "Client secret")
    assert clients.authenticate(client_id=client_id, client_secret=new)
    with pytest.raises(InvalidClient):
        clients.authenticate(client_id=client_id, client_secret=old)


def confirmed_as_asked(browser: Browser, page: Any, model: str) -> Any:
    """The form of the page that asks, with all that stands in it: what a click sends, and what a reload sends again."""
    hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.content.decode())
    assert dict(hidden)["known"]
    return lambda: browser.post(reverse(f"admin:ovauth_{model}_changelist"), dict(hidden))


def test_a_secret_that_was_shown_is_not_replaced_by_a_reload(admin: Browser) -> None:
    client_id = shown(make(admin), "Client id")
    made = Client.objects.get(client_id=client_id)
    click = confirmed_as_asked(admin, submit(admin, "client", "renew_secret", made), "client")
    new = shown(click(), "Client secret")
    again = click()
    assert again.status_code == 302
    assert "A new secret was made already" in admin.get(again["location"]).content.decode()
    assert clients.authenticate(client_id=client_id, client_secret=new)


def test_a_key_that_was_shown_is_not_replaced_by_a_reload(admin: Browser, bob: Person) -> None:
    click = confirmed_as_asked(admin, submit(admin, "member", "rotate_api_key", bob.member), "member")
    key = shown(click(), "API key")
    again = click()
    assert again.status_code == 302
    assert "A new key was made already" in admin.get(again["location"]).content.decode()
    assert works(key)


def test_a_client_without_a_secret_has_none_to_renew(admin: Browser, client_app: Client) -> None:
    assert submit(admin, "client", "renew_secret", client_app, confirmed=True).status_code == 302
    client_app.refresh_from_db()
    assert client_app.secret_digest is None


def test_a_page_of_a_request_says_who_decided_it(admin: Browser, client_app: Client, bob: Person) -> None:
    denied, approved, cancelled, waiting = (begun(client_app) for _ in range(4))
    approval.deny(authority=bob.by_key, pending_id=denied)
    approval.approve(authority=bob.by_session, pending_id=approved)
    approval.cancel(pending_id=cancelled, browser="browser")

    def decided_by(pending_id: str) -> str:
        pending = PendingAuthorization.objects.get(public_id=pending_id)
        page = admin.get(reverse("admin:ovauth_pendingauthorization_change", args=[pending.pk])).content.decode()
        found = re.search(r'field-decided_by.*?<div class="readonly">(.*?)</div>', page, re.DOTALL)
        assert found, page
        return unescape(found[1])

    assert decided_by(denied) == decided_by(approved) == "acme/bob"
    assert decided_by(cancelled) == "the browser that began: it gave up"
    assert decided_by(waiting) == ""


def test_the_page_of_an_event_is_in_the_language_of_the_rest(admin: Browser, bob: Person) -> None:
    event = AuditEvent.objects.order_by("-pk")[0]
    page = admin.get(reverse("admin:ovauth_auditevent_change", args=[event.pk]), headers={"accept-language": "zh-CN"})
    labels = [unescape(label).strip() for label in re.findall(r"<label>(.*?)</label>", page.content.decode(), re.DOTALL)]
    assert len(labels) >= 15
    assert not [label for label in labels if re.match("[A-Za-z]", label)], labels
    assert 'class="help' not in page.content.decode(), "a note for developers"


def test_a_blocked_client_is_refused_until_it_is_unblocked(admin: Browser, client_app: Client, bob: Person) -> None:
    token = connected(client_app, bob.by_key).access_token
    assert "1 connection stands still" in submit(admin, "client", "block", client_app).content.decode()
    assert works(token)
    submit(admin, "client", "block", client_app, confirmed=True)
    assert not works(token)
    assert b"blocked since" in admin.get(reverse("admin:ovauth_client_changelist")).content
    assert "1 connection goes on" in submit(admin, "client", "unblock", client_app).content.decode()
    assert not works(token)
    submit(admin, "client", "unblock", client_app, confirmed=True)
    assert works(token)


def test_a_client_is_known_here_until_that_is_taken_back_or_it_becomes_another(admin: Browser, bob: Person) -> None:
    made = clients.register(document={"client_name": "Notes", "redirect_uris": [CALLBACK]})
    row = Client.objects.get(client_id=made.client_id)
    token = connected(row, bob.by_key).access_token

    def known() -> bool:
        return "may ask, known here" in admin.get(reverse("admin:ovauth_client_changelist")).content.decode()

    submit(admin, "client", "approve", row)
    assert not known()  # asked first
    submit(admin, "client", "approve", row, confirmed=True)
    assert known()
    submit(admin, "client", "unapprove", row, confirmed=True)
    assert not known()
    assert works(token)
    submit(admin, "client", "approve", row, confirmed=True)
    management = {"client_id": made.client_id, "registration_access_token": made.registration_access_token or ""}
    clients.update(**management, document={"client_name": "Notes", "redirect_uris": [CALLBACK], "software_version": "2"})
    assert known()
    clients.update(**management, document={"client_name": "Your bank", "redirect_uris": [CALLBACK]})
    assert not known()
    assert set(AuditEvent.objects.values_list("event", flat=True)) >= {"client.approved", "client.unapproved"}


def test_deleting_a_client_ends_everything_that_it_held(admin: Browser, client_app: Client, bob: Person) -> None:
    token = connected(client_app, bob.by_key).access_token
    url = reverse("admin:ovauth_client_delete", args=[client_app.pk])
    assert b"Access token: 1" in admin.get(url).content
    assert admin.post(url, {"post": "yes"}).status_code == 302
    assert not works(token)
    assert not Grant.objects.exists()
    assert AuditEvent.objects.filter(event="client.deleted").exists()


# ------------------------------------------------------------------ connections


def test_an_earlier_grant_of_the_same_app_stands_behind_the_later_one(
    admin: Browser, client_app: Client, bob: Person
) -> None:
    for scope in ("mcp", "mcp fs"):
        connected(client_app, bob.by_key, scope=scope)

    def listed(state: str) -> str:
        page = admin.get(reverse("admin:ovauth_grant_changelist"), {"state": state}).content.decode()
        return " ".join(re.findall(r'<t[dh] class="field-(?:scope|state)">(?:<a [^>]*>)?([^<]*)<', page))

    assert listed("open") == "mcp fs connected"
    assert listed("earlier") == "mcp the same app signed in again since"


def test_revoking_a_grant_counts_asks_and_ends_it(admin: Browser, client_app: Client, bob: Person) -> None:
    token = connected(client_app, bob.by_key).access_token
    grant = Grant.objects.get()
    asked = submit(admin, "grant", "revoke", grant).content.decode()
    assert "1 access token" in asked
    assert "1 refresh token" in asked
    assert works(token)
    submit(admin, "grant", "revoke", grant, confirmed=True)
    assert not works(token)


def test_revoking_an_access_token_ends_that_one_alone(admin: Browser, client_app: Client, bob: Person) -> None:
    first, second = (connected(registered(), bob.by_key).access_token for _ in range(2))
    row = AccessToken.objects.by_secret(first)
    submit(admin, "accesstoken", "revoke", row)
    assert works(first)
    submit(admin, "accesstoken", "revoke", row, confirmed=True)
    assert not works(first)
    assert works(second)


# ------------------------------------------------------------------ members and keys


def test_a_new_member_gets_a_key_that_is_shown_once(admin: Browser) -> None:
    fields = {"account_name": "acme", "name": "dora", "role": "1", "new_password": "mossy-lantern-4821"}
    answer = admin.post(reverse("admin:ovauth_member_add"), fields)
    key = shown(answer, "API key")
    identity = bearer.identify(key, resource="http://testserver/mcp")
    assert (identity.account_id, identity.user_id, identity.role) == ("acme", "dora", "user")
    assert Browser().login(username="acme/dora", password="mossy-lantern-4821")
    assert not any(key in str(row) or "mossy-lantern" in str(row) for row in everything())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "bob"}, "has a user bob already"),
        ({"name": "../etc"}, "Enter a valid value"),
        ({"name": "x\n"}, "Enter a valid value"),
        ({"account_name": ""}, "required"),
        ({"new_password": "short"}, "too short"),
        ({"role": "9"}, "valid choice"),
    ],
)
def test_a_member_who_cannot_be_is_refused_at_the_field(
    admin: Browser, bob: Person, change: dict[str, str], said: str
) -> None:
    before = Member.objects.count()
    fields = {"account_name": "acme", "name": "dora", "role": "1", "new_password": ""} | change
    answer = admin.post(reverse("admin:ovauth_member_add"), fields)
    assert said in answer.content.decode()
    assert Member.objects.count() == before


def change_member(admin: Browser, member: Member, **changes: str) -> Any:
    fields = {"role": str(int(member.role)), "is_active": "on", "new_password": ""} | changes
    if not fields["is_active"]:
        del fields["is_active"]
    return admin.post(reverse("admin:ovauth_member_change", args=[member.pk]), fields)


def test_a_lowered_role_ends_what_was_approved_with_more_and_a_promotion_does_not_revive_it(
    admin: Browser, client_app: Client, alice: Person
) -> None:
    token = connected(client_app, alice.by_key).access_token
    assert change_member(admin, alice.member, role="1").status_code == 302
    assert not works(token)
    assert change_member(admin, alice.member, role="2").status_code == 302
    assert not works(token)


def test_a_promotion_ends_nothing(admin: Browser, client_app: Client, bob: Person) -> None:
    token = connected(client_app, bob.by_key).access_token
    assert change_member(admin, bob.member, role="2").status_code == 302
    assert works(token)


def test_a_deactivated_member_loses_everything_for_good(admin: Browser, client_app: Client, bob: Person) -> None:
    token = connected(client_app, bob.by_key).access_token
    assert change_member(admin, bob.member, is_active="").status_code == 302
    assert not works(token)
    assert not works(bob.api_key)
    assert change_member(admin, bob.member).status_code == 302
    assert not works(token)
    assert works(bob.api_key)


@pytest.mark.parametrize("change", [{"role": "2"}, {"is_active": ""}])
def test_the_last_root_stays(admin: Browser, root: Person, change: dict[str, str]) -> None:
    answer = change_member(admin, root.member, **change)
    assert "Somebody has to have the role root" in answer.content.decode()
    assert Member.objects.get(pk=root.member.pk).is_staff


def test_a_new_password_ends_sessions_and_what_they_approved(admin: Browser, client_app: Client, bob: Person) -> None:
    token = connected(client_app, bob.by_session).access_token
    theirs = Browser()
    assert theirs.login(username="acme/bob", password=bob.password)
    assert change_member(admin, bob.member, new_password="another-long-password-1").status_code == 302
    assert not works(token)
    assert "_auth_user_id" not in _session_after(theirs)
    assert Browser().login(username="acme/bob", password="another-long-password-1")


def _session_after(browser: Browser) -> dict[str, Any]:
    browser.get("/console/")
    return dict(browser.session.items())


def test_whoever_changes_their_own_password_stays_signed_in(admin: Browser, root: Person) -> None:
    assert change_member(admin, root.member, new_password="another-long-password-1").status_code == 302
    assert admin.get("/admin/").status_code == 200


def test_revoke_user_tokens_counts_asks_and_ends(admin: Browser, client_app: Client, bob: Person, alice: Person) -> None:
    token, hers = connected(client_app, bob.by_key).access_token, connected(client_app, alice.by_key).access_token
    asked = submit(admin, "member", "revoke_user_tokens", bob.member).content.decode()
    assert "1 access token<" in asked
    assert "1 refresh token<" in asked
    assert works(token)
    submit(admin, "member", "revoke_user_tokens", bob.member, confirmed=True)
    assert not works(token)
    assert works(hers)
    assert works(bob.api_key)
    event = AuditEvent.objects.get(event="admin.action")
    assert (event.actor, event.detail) == ("default/operator", {"action": "revoke user tokens", "of": "acme/bob"})


def test_a_rotated_key_is_shown_once_and_the_old_one_ends_with_what_it_authorized(
    admin: Browser, client_app: Client, bob: Person
) -> None:
    token = connected(client_app, bob.by_key).access_token
    asked = submit(admin, "member", "rotate_api_key", bob.member).content.decode()
    assert "1 connection that it authorized ends" in asked
    key = shown(submit(admin, "member", "rotate_api_key", bob.member, confirmed=True), "API key")
    assert works(key)
    assert not works(bob.api_key)
    assert not works(token)


def test_a_revoked_key_ends_with_what_it_authorized(admin: Browser, client_app: Client, bob: Person) -> None:
    by_key = connected(client_app, bob.by_key).access_token
    by_session = connected(client_app, bob.by_session).access_token
    key = ApiKey.objects.get(member=bob.member)
    submit(admin, "apikey", "revoke", key, confirmed=True)
    assert [works(secret) for secret in (bob.api_key, by_key, by_session)] == [False, False, True]


def test_a_members_page_of_one_account_never_acts_on_another(admin: Browser, bob: Person) -> None:
    namesake = person("other", "bob", Role.USER)
    submit(admin, "member", "rotate_api_key", bob.member, confirmed=True)
    assert works(namesake.api_key)


def test_an_action_names_no_more_than_it_must_of_many(admin: Browser, configure: Callable[..., Any]) -> None:
    members = [accounts.create_user(account="many", name=f"user-{number:02}", role=Role.USER) for number in range(25)]
    rows = Member.objects.filter(sign_in_name__in=[made.sign_in_name for made in members])
    page = submit(admin, "member", "revoke_user_tokens", *rows).content.decode()
    assert page.count("<li>many/user-") == 20
    assert page.count(f'name="{ACTION_CHECKBOX_NAME}"') == 25


def test_the_digest_of_a_token_is_shown_to_eight_characters(admin: Browser, client_app: Client, bob: Person) -> None:
    token = connected(client_app, bob.by_key).access_token
    page = admin.get(reverse("admin:ovauth_accesstoken_changelist")).content.decode()
    assert f"{credentials.digest(token).hex()[:8]}…" in page
