"""What operators do in the admin beside lists: find a credential, end everything since a moment, export audit events."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from ovauth.credentials import Kind
from ovauth.errors import InvalidClient, InvalidToken, TooManyRequests
from ovauth.flows import clients, device_code, issued_since, limits, refresh_token
from ovauth.logs import SECRET
from ovauth.models import AccessToken, AuditEvent, Client, Grant, PendingAuthorization, Tally
from tests.conftest import CALLBACK, ISSUER, Person, approved, begun, connected, redeemed, registered, works
from tests.serving import running
from tests.web.test_admin import admin as admin  # the fixture
from tests.web.test_admin import shown

FIND = "/admin/find/"
SINCE = "/admin/since/"


def found(browser: Browser, credential: str) -> str:
    """The page that tells of a credential. It never says the credential itself."""
    answer = browser.post(FIND, {"credential": credential})
    assert answer.status_code == 200
    assert "no-store" in answer["cache-control"]
    page: str = answer.content.decode()
    assert credential not in page
    assert not SECRET.search(page), page
    return page


def revoked(browser: Browser, page: str) -> Any:
    """Clicks Revoke on that page, and then on the one that asks."""
    fields = dict(re.findall(r'<input type="hidden" name="(kind|row)" value="([^"]+)">', page))
    asked = browser.post(FIND, fields | {"revoke": "asked"}).content.decode()
    assert "Yes, revoke it" in asked
    return browser.post(FIND, fields | {"revoke": "confirmed"})


# ------------------------------------------------------------------ find a credential


def test_an_access_token_is_told_of_and_ended(admin: Browser, client_app: Client, bob: Person) -> None:
    tokens = connected(client_app, bob.by_key)
    page = found(admin, f"  {tokens.access_token}\n")
    for words in ("acme/bob", "Test client", "127.0.0.1", "works", "Access token"):
        assert words in page
    assert works(tokens.access_token)
    assert revoked(admin, page).status_code == 302
    assert not works(tokens.access_token)
    assert "revoked" in found(admin, tokens.access_token)
    assert Grant.objects.get().revoked_at is None


def test_looking_is_noted_without_the_credential(admin: Browser, client_app: Client, bob: Person) -> None:
    token = connected(client_app, bob.by_key).access_token
    found(admin, token)
    event = AuditEvent.objects.get(event="admin.action")
    digest = bytes(AccessToken.objects.get().digest).hex()
    assert (event.actor, event.credential) == ("default/operator", digest[:8])
    assert event.detail == {"action": "find credential", "of": "ovat_", "found": True}
    found(admin, "ovat_unknown")
    assert AuditEvent.objects.filter(event="admin.action", detail__found=False).count() == 1
    assert not [event for event in AuditEvent.objects.all() if token in json.dumps(event.detail)]


def test_a_refresh_token_ends_with_its_connection(admin: Browser, client_app: Client, bob: Person) -> None:
    tokens = connected(client_app, bob.by_key)
    assert tokens.refresh_token
    later = refresh_token.rotate(client=client_app, refresh_token=tokens.refresh_token, issuer=ISSUER)
    assert "used" in found(admin, tokens.refresh_token)
    assert later.refresh_token
    revoked(admin, found(admin, later.refresh_token))
    assert not works(later.access_token)
    assert Grant.objects.get().revoked_because == "revoked by an operator"


def test_a_code_that_is_not_redeemed_yet_ends_with_its_connection(admin: Browser, client_app: Client, bob: Person) -> None:
    code = approved(client_app, bob.by_key)
    revoked(admin, found(admin, code))
    with pytest.raises(Exception, match="."):
        redeemed(client_app, code)
    assert Grant.objects.get().revoked_at is not None


def test_a_device_code_ends(admin: Browser) -> None:
    client = registered(grant_types=[device_code.GRANT_TYPE], redirect_uris=[])
    begun_there = device_code.begin(client=client, scope=None, resource=(), issuer=ISSUER)
    page = found(admin, begun_there.device_code)
    assert "Device code" in page
    revoked(admin, page)
    assert PendingAuthorization.objects.get().expires_at <= timezone.now()


def test_an_api_key_ends_with_what_it_authorized(admin: Browser, client_app: Client, bob: Person) -> None:
    token = connected(client_app, bob.by_key).access_token
    page = found(admin, bob.api_key)
    assert "acme/bob" in page
    revoked(admin, page)
    assert [works(bob.api_key), works(token)] == [False, False]


def test_a_client_secret_is_replaced_by_one_that_is_shown_once(admin: Browser) -> None:
    made = clients.register(document={"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "client_secret_post"})
    assert made.client_secret
    assert made.registration_access_token
    new = shown(revoked(admin, found(admin, made.client_secret)), "Client secret")
    assert clients.authenticate(client_id=made.client_id, client_secret=new)
    with pytest.raises(InvalidClient):
        clients.authenticate(client_id=made.client_id, client_secret=made.client_secret)
    revoked(admin, found(admin, made.registration_access_token))
    with pytest.raises(InvalidToken):
        clients.read(client_id=made.client_id, registration_access_token=made.registration_access_token)
    assert clients.authenticate(client_id=made.client_id, client_secret=new)


@pytest.mark.parametrize(
    ("pasted", "said"),
    [
        ("ovat_" + "a" * 43, "knows no such credential"),
        ("ghp_something", "begins with no prefix of ours"),
        ("", "This field is required"),
        ("ovk_\x00", "Null characters are not allowed"),
        ("x" * 3000, "at most 2000 characters"),
    ],
)
def test_what_is_no_credential_here_is_told_so(admin: Browser, pasted: str, said: str) -> None:
    answer = admin.post(FIND, {"credential": pasted})
    assert answer.status_code == 200
    assert said in answer.content.decode()
    assert not pasted or f'value="{pasted}"' not in answer.content.decode()


def test_a_credential_in_the_address_is_not_looked_at(admin: Browser, bob: Person) -> None:
    answer = admin.get(FIND, {"credential": bob.api_key})
    assert "acme/bob" not in answer.content.decode()


@pytest.mark.parametrize("fields", [{}, {"kind": "ovat_"}, {"kind": "x", "row": "1"}, {"kind": "ovat_", "row": "x"}])
def test_a_revocation_that_names_nothing_is_refused(admin: Browser, fields: dict[str, str]) -> None:
    assert admin.post(FIND, fields | {"revoke": "confirmed"}).status_code == 403


def test_a_credential_that_went_meanwhile_is_gone(admin: Browser) -> None:
    answer = admin.post(FIND, {"kind": "ovat_", "row": "7", "revoke": "confirmed"})
    assert "gone already" in answer.content.decode()


@pytest.mark.parametrize("path", [FIND, SINCE, "/admin/ovauth/auditevent/export/"])
def test_the_tools_are_for_the_role_root(alice: Person, path: str) -> None:
    browser = Browser()
    browser.force_login(alice.member)
    assert browser.post(path, {}, follow=True).status_code == 403


def test_every_kind_of_credential_can_be_found() -> None:
    from ovauth.admin.finding import KINDS

    assert set(KINDS) == set(Kind)


# ------------------------------------------------------------------ everything since a moment


def since(moment: Any) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S.%f}"


def test_everything_since_a_moment_is_counted_asked_about_and_ended(
    admin: Browser, bob: Person, charlie: Person, clock: Callable[[float], None]
) -> None:
    untouched, refreshed = registered(), registered()
    old = connected(untouched, bob.by_session)
    renewed = connected(refreshed, bob.by_session)
    clock(3000)
    moment = timezone.now()
    admin.force_login(admin_member())
    clock(10)
    assert renewed.refresh_token
    again = refresh_token.rotate(client=refreshed, refresh_token=renewed.refresh_token, issuer=ISSUER)
    new = connected(registered(), charlie.by_session)
    waiting = begun(untouched)
    clock(10)
    asked = admin.post(SINCE, {"since": since(moment)}).content.decode()
    for line in (
        "1 connection ends, approved since then",
        "1 older connection ends, since it got something new",
        "2 access tokens",
        "2 refresh tokens",
        "1 request that waits for a decision",
        "1 client came since then",
    ):
        assert f"<li>{line}" in asked, (line, asked)
    assert [works(token) for token in (old.access_token, again.access_token, new.access_token)] == [True, True, True]
    assert admin.post(SINCE, {"since": since(moment), "confirmed": "yes"}).status_code == 302
    assert [works(token) for token in (old.access_token, again.access_token, new.access_token)] == [True, False, False]
    assert PendingAuthorization.objects.get(public_id=waiting).expires_at <= timezone.now()
    assert works(bob.api_key)
    event = AuditEvent.objects.get(event="admin.action")
    assert event.detail["action"] == "revoke everything since"
    assert event.detail["grants"] == 2


def admin_member() -> Any:
    from ovauth.models import Member

    return Member.objects.get(sign_in_name="default/operator")


def test_a_code_that_lived_at_the_moment_counts_as_issued_since(bob: Person, client_app: Client) -> None:
    moment = timezone.now()
    approved(client_app, bob.by_key)
    assert issued_since.count(since=moment).authorization_codes == 1
    issued_since.revoke(since=moment, member=bob.member)
    assert Grant.objects.get().revoked_because == "issued since a moment that an operator named"


@pytest.mark.parametrize("moment", ["", "yesterday", "2999-01-01T00:00", "2026-13-45"])
def test_a_moment_that_is_none_or_still_to_come_ends_nothing(
    admin: Browser, bob: Person, client_app: Client, moment: str
) -> None:
    token = connected(client_app, bob.by_key).access_token
    answer = admin.post(SINCE, {"since": moment, "confirmed": "yes"})
    assert answer.status_code == 200
    assert "errorlist" in answer.content.decode()
    assert works(token)


# ------------------------------------------------------------------ limits


def test_a_limit_is_forgotten_when_an_operator_says_so(admin: Browser) -> None:
    counted = [(limits.SIGN_IN_BY_ADDRESS, "192.0.2.7")]
    for _ in range(limits.SIGN_IN_BY_ADDRESS.most):
        limits.count(counted)
    with pytest.raises(TooManyRequests):
        limits.check(counted)
    page = admin.get(reverse("admin:ovauth_tally_changelist")).content.decode()
    assert "192.0.2.7" in page
    fields = {"action": "forget", "_selected_action": [str(Tally.objects.get().pk)]}
    assert "a guesser too" in admin.post(reverse("admin:ovauth_tally_changelist"), fields).content.decode()
    admin.post(reverse("admin:ovauth_tally_changelist"), fields | {"confirmed": "yes"})
    limits.check(counted)
    assert AuditEvent.objects.get(event="admin.action").detail["action"] == "forget rate limit"


# ------------------------------------------------------------------ the audit, taken along


def exported(browser: Browser, **period: str) -> list[dict[str, Any]]:
    answer = browser.post("/admin/ovauth/auditevent/export/", period)
    assert answer["content-type"] == "application/jsonl"
    assert re.fullmatch(r'attachment; filename="ovauth-audit-[\d-]+\.jsonl"', answer["content-disposition"])
    return [json.loads(line) for line in b"".join(answer.streaming_content).decode().splitlines()]


def test_the_export_is_that_of_the_command(admin: Browser, bob: Person, client_app: Client, capsys: Any) -> None:
    from django.core.management import call_command

    redeemed(client_app, approved(client_app, bob.by_key))
    told = exported(admin)
    call_command("export_audit")
    assert told == [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert told[-1]["detail"]["action"] == "export audit events"
    assert len(told) == AuditEvent.objects.count()


def test_the_export_is_of_a_period_each_event_once_and_in_order(admin: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ovauth.flows.audit.LINES_AT_ONCE", 3)
    now = timezone.now().replace(microsecond=0)
    AuditEvent.objects.all().delete()
    # Several at the same moment, and keys that do not follow the moments.
    for minutes in (40, 50, 30, 30, 30, 30, 30, 20, 10):
        AuditEvent.objects.create(at=now - timedelta(minutes=minutes), event=f"test.{minutes}")
    whole = [event["event"] for event in exported(admin)]
    assert whole[:-1] == [f"test.{minutes}" for minutes in (50, 40, 30, 30, 30, 30, 30, 20, 10)]
    assert len({event["id"] for event in exported(admin)}) == AuditEvent.objects.count()
    period = {"since": since(now - timedelta(minutes=40)), "until": since(now - timedelta(minutes=20))}
    assert [event["event"] for event in exported(admin, **period)] == ["test.40"] + ["test.30"] * 5


def test_a_period_that_is_none_is_asked_again(admin: Browser) -> None:
    answer = admin.post("/admin/ovauth/auditevent/export/", {"since": "soon"})
    assert answer.status_code == 200
    assert "errorlist" in answer.content.decode()


@pytest.mark.slow
def test_an_export_of_many_events_keeps_the_memory_flat_and_lets_others_be_answered(tmp_path: Path) -> None:
    """From a real server: the rows go out as they come, a slow reader holds nobody up, and one that leaves ends it."""
    data_dir = tmp_path / "data"
    with running(data_dir=data_dir) as server:
        password = server.operator_password
    events = 60_000
    environment = {**os.environ, "OVAUTH_DATA_DIR": str(data_dir), "DJANGO_SETTINGS_MODULE": "project.settings"}
    size = ("--access-tokens", "1", "--grants", "1", "--clients", "1", "--audit-events", str(events))
    subprocess.run([sys.executable, "-m", "tests.bench.fill", *size], env=environment, check=True, capture_output=True)
    with running(data_dir=data_dir) as server, httpx2.Client(base_url=server.url, timeout=60) as browser:
        form = {"username": "operator", "password": password, "csrfmiddlewaretoken": token_of(browser, "/console/login")}
        browser.post("/console/login", data=form, headers={"Origin": server.url})
        before = resident(server.process.pid)
        form = {"csrfmiddlewaretoken": token_of(browser, "/admin/ovauth/auditevent/export/")}
        export = ("POST", "/admin/ovauth/auditevent/export/")
        for _ in range(10):  # more than there are threads; each reads a little and goes
            with browser.stream(*export, data=form, headers={"Origin": server.url}) as answer:
                assert next(answer.iter_lines()).startswith('{"id": ')
                assert httpx2.get(f"{server.url}/health/live").status_code == 200
        with browser.stream(*export, data=form, headers={"Origin": server.url}) as answer:
            assert "content-length" not in answer.headers
            lines = 0
            for line in answer.iter_lines():
                lines += 1
                assert line.startswith("{")
                assert line.endswith("}")
        assert lines > events
        assert resident(server.process.pid) - before < 40


def token_of(browser: Any, path: str) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', browser.get(path).text)
    assert found
    return found[1]


def resident(pid: int) -> float:
    """The memory of that process, in MB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024
