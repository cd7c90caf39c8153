"""What happened is kept: in the transaction of the change, with where it came from, and without a secret."""

import ast
import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import transaction
from django.utils import timezone

from ovauth import bearer, conf, credentials
from ovauth.errors import InvalidGrant, NotFound, TooManyRequests
from ovauth.flows import accounts, api_keys, approval, audit, clients, limits, refresh_token, revocation, sign_in
from ovauth.models import ApiKey, AuditEvent, Client
from ovauth.provenance import Actor, Provenance, recognised, serving
from ovauth.rules import browsers
from tests.conftest import CALLBACK, ISSUER, RESOURCE, Person, approved, begun, redeemed

pytestmark = pytest.mark.django_db


def events() -> list[str]:
    return list(AuditEvent.objects.order_by("pk").values_list("event", flat=True))


def test_a_connection_tells_its_story(bob: Person, client_app: Client) -> None:
    redeemed(client_app, approved(client_app, bob.by_key))
    accounts.rotate_api_key(account="acme", name="bob")
    assert events() == [
        "user.created",
        "api_key.created",
        "client.registered",
        "authorization.requested",
        "authorization.approved",
        "token.issued",
        "user.tokens_revoked",
        "api_key.rotated",
    ]
    issued = AuditEvent.objects.get(event="token.issued")
    assert (issued.actor, issued.account, issued.client_id) == ("acme/bob", "acme", client_app.client_id)


def test_no_event_holds_a_secret(bob: Person) -> None:
    made = clients.register(document={"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "client_secret_post"})
    client = Client.objects.get()
    code = approved(client, bob.by_key)
    pair = redeemed(client, code)
    later = refresh_token.rotate(client=client, refresh_token=str(pair.refresh_token), issuer=ISSUER)
    revocation.revoke(client=client, token=later.access_token)
    with pytest.raises(InvalidGrant):
        redeemed(client, code)
    key, _ = accounts.rotate_api_key(account="acme", name="bob")
    accounts.set_password(account="acme", name="bob", password="another-long-password")
    secrets = (
        *(code, key, bob.api_key, bob.password, "another-long-password", made.client_secret),
        *(made.registration_access_token, pair.access_token, pair.refresh_token, later.access_token, later.refresh_token),
    )
    written = json.dumps(list(AuditEvent.objects.values()), default=str)
    assert "token.revoked" in written
    assert not [secret for secret in secrets if str(secret) in written]


def test_what_was_rolled_back_did_not_happen(
    db: None, caplog: pytest.LogCaptureFixture, django_capture_on_commit_callbacks: Callable[..., object]
) -> None:
    log = logging.getLogger("ovauth.audit")
    log.addHandler(caplog.handler)
    try:
        with django_capture_on_commit_callbacks(execute=True):  # type: ignore[attr-defined]
            with transaction.atomic():
                audit.record("undone", now=timezone.now())
                transaction.set_rollback(True)
            with transaction.atomic():
                audit.record("done", now=timezone.now())
                assert not caplog.records
    finally:
        log.removeHandler(caplog.handler)
    assert events() == ["done"]
    assert [record.message for record in caplog.records] == ["done"]


def test_an_event_carries_where_its_request_came_from(db: None) -> None:
    with serving(Provenance(ip="192.0.2.1", request_id="r-1")):
        audit.record("inside", now=timezone.now())
    audit.record("outside", now=timezone.now())
    inside, outside = AuditEvent.objects.order_by("pk")
    assert (inside.ip, inside.request_id) == ("192.0.2.1", "r-1")
    assert (outside.ip, outside.request_id) == ("", "")


def test_deleting_a_client_keeps_its_story(bob: Person, client_app: Client) -> None:
    redeemed(client_app, approved(client_app, bob.by_key))
    clients.remove(client_id=client_app.client_id)
    assert AuditEvent.objects.filter(client_id=client_app.client_id).count() == 5


def test_an_event_tells_who_through_what_from_where_and_with_which_credential(bob: Person, client_app: Client) -> None:
    code = approved(client_app, bob.by_key)
    agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/156.0 Safari/537.36"
    with serving(Provenance(ip="192.0.2.1", request_id="r-1", user_agent=agent)):
        redeemed(client_app, code)
    told = AuditEvent.objects.filter(event="token.issued").values().get()
    seen = {"ip": "192.0.2.1", "request_id": "r-1", "browser": "Chrome on Linux", "outcome": "success", "reason": ""}
    assert seen.items() <= told.items()
    assert (told["actor_kind"], told["actor"], told["client_id"]) == ("client", "acme/bob", client_app.client_id)
    assert told["credential"] == credentials.digest(code).hex()[:8]
    assert told["detail"] == {"grant_type": "authorization_code"}


def test_whoever_was_recognised_acted_whomever_it_happened_to(bob: Person, alice: Person) -> None:
    with serving(Provenance(request_id="r-1")):
        recognised(Actor.SESSION, "acme/alice")
        accounts.rotate_api_key(account="acme", name="bob")
    event = AuditEvent.objects.get(event="api_key.rotated")
    assert (event.actor_kind, event.actor, event.account) == ("session", "acme/alice", "acme")
    assert event.detail == {"user": "acme/bob"}
    assert event.credential == bytes(ApiKey.objects.get(member=bob.member, revoked_at=None).digest).hex()[:8]


def test_a_decision_tells_which_way_it_took_and_how_long_it_was_waited_for(
    bob: Person, client_app: Client, clock: Callable[[float], None]
) -> None:
    waiting = begun(client_app)
    clock(42)
    approval.deny(authority=bob.by_session, pending_id=waiting, via="button")
    event = AuditEvent.objects.get(event="authorization.denied")
    assert (event.outcome, event.actor_kind, event.actor) == ("failure", "session", "acme/bob")
    assert event.detail == {"via": "button", "waited": 42}


def test_a_wrong_code_is_told_with_its_guesser_and_never_with_the_code(bob: Person) -> None:
    with pytest.raises(NotFound):
        approval.review(authority=bob.by_key, code="ABC-DEF", ip="192.0.2.1")
    event = AuditEvent.objects.get(event="authorization.code_failed")
    assert (event.outcome, event.actor_kind, event.actor) == ("failure", "api_key", "acme/bob")
    assert "ABC" not in json.dumps(AuditEvent.objects.values().get(pk=event.pk), default=str)


def test_a_wrong_one_time_password_is_told(bob: Person, client_app: Client) -> None:
    with pytest.raises(NotFound):
        approval.present_one_time_password(pending_id=begun(client_app), browser="browser", typed="WRONG")
    assert AuditEvent.objects.get(event="otp.failed").client_id == client_app.client_id


def test_a_guesser_of_passwords_is_told_once_when_they_have_to_wait(db: None) -> None:
    for _ in range(limits.SIGN_IN_BY_NAME_AND_ADDRESS.most):
        sign_in.failed(sign_in.begin(name="bob", ip="192.0.2.1"))
    assert events() == ["login.failed"] * limits.SIGN_IN_BY_NAME_AND_ADDRESS.most + ["login.locked"]
    with pytest.raises(TooManyRequests):
        sign_in.begin(name="bob", ip="192.0.2.1")


def test_a_program_is_known_by_its_name_and_a_browser_by_its_family() -> None:
    firefox = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"
    assert browsers.family(firefox) == "Firefox on Windows"
    assert browsers.family("claude-code/2.1 (cli)") == "claude-code"
    assert browsers.family("<script>/1") == ""
    assert browsers.family("a" * 1000) == ""


def test_every_event_that_is_recorded_is_in_the_list_and_the_other_way_round() -> None:
    """The first argument of each `audit.record`, as the syntax tree has it; of two, both."""
    recorded: set[str] = set()
    for path in Path(audit.__file__).parents[1].rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("audit.record", "audit.record_all"):
                recorded |= {part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)}
    assert recorded == audit.EVENTS.keys()
    assert audit.EVENTS.keys() > audit.FAILURES


def test_the_first_use_of_a_key_is_told_once(bob: Person) -> None:
    first, second = (bearer.identify(bob.api_key, resource=RESOURCE) for _ in range(2))
    assert (first.first_use_of_key, second.first_use_of_key) == (True, False)
    api_keys.used_first(key_pk=first.api_key_pk or 0)
    event = AuditEvent.objects.get(event="api_key.used_first_time")
    assert (event.actor_kind, event.actor, len(event.credential)) == ("api_key", "acme/bob", 8)


def test_the_hash_of_the_settings_changes_with_them_and_holds_no_secret() -> None:
    def fingerprint(**fields: object) -> str:
        return conf.fingerprint(conf.Config(**fields))

    plain = fingerprint()
    assert plain == fingerprint()
    assert len({plain, fingerprint(otp_ttl=7), fingerprint(database_url="postgres://u:a@db/x")}) == 3
    assert fingerprint(database_url="postgres://u:a@db/x") == fingerprint(database_url="postgres://u:b@db/x")
