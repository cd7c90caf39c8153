"""What happened is kept: in the transaction of the change, with where it came from, and without a secret."""

import json
import logging
from collections.abc import Callable

import pytest
from django.db import transaction
from django.utils import timezone

from ovauth.errors import InvalidGrant
from ovauth.flows import accounts, audit, clients, refresh_token, revocation
from ovauth.models import AuditEvent, Client
from tests.conftest import CALLBACK, ISSUER, Person, approved, redeemed

pytestmark = pytest.mark.django_db


def events() -> list[str]:
    return list(AuditEvent.objects.order_by("pk").values_list("event", flat=True))


def test_a_connection_tells_its_story(bob: Person, client_app: Client) -> None:
    redeemed(client_app, approved(client_app, bob.by_key))
    accounts.rotate_api_key(account="acme", name="bob")
    assert events() == [
        "user.created",
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
    with audit.provenance(ip="192.0.2.1", request_id="r-1"):
        audit.record("inside", now=timezone.now())
    audit.record("outside", now=timezone.now())
    inside, outside = AuditEvent.objects.order_by("pk")
    assert (inside.ip, inside.request_id) == ("192.0.2.1", "r-1")
    assert (outside.ip, outside.request_id) == ("", "")


def test_deleting_a_client_keeps_its_story(bob: Person, client_app: Client) -> None:
    redeemed(client_app, approved(client_app, bob.by_key))
    clients.remove(client_id=client_app.client_id)
    assert AuditEvent.objects.filter(client_id=client_app.client_id).count() == 5
