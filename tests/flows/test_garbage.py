"""What has expired is deleted, in batches, and nothing else."""

from collections.abc import Callable

import pytest
from django.utils import timezone

from ovauth.errors import InvalidGrant
from ovauth.flows import approval, audit, clients, garbage, one_time_password, refresh_token
from ovauth.models import (
    AccessToken,
    AuditEvent,
    AuthorizationCode,
    Client,
    ClientOrigin,
    Grant,
    PendingAuthorization,
    RefreshToken,
)
from tests.conftest import ISSUER, Person, approved, begun, connected, redeemed, registered, works

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock")]
Clock = Callable[[float], None]
DAY = 86_400


def test_what_lives_stays(bob: Person, client_app: Client, clock: Clock) -> None:
    pair, code = connected(client_app, bob.by_key), approved(client_app, bob.by_key)
    assert sum(garbage.collect().values()) == 0
    assert works(pair.access_token)
    assert works(redeemed(client_app, code).access_token)


def test_a_spent_code_stays_until_it_expires_so_that_a_replay_is_no_typo(
    bob: Person, client_app: Client, clock: Clock
) -> None:
    code = approved(client_app, bob.by_key)
    pair = redeemed(client_app, code)
    clock(299)
    garbage.collect()
    with pytest.raises(InvalidGrant):
        redeemed(client_app, code)
    assert not works(pair.access_token)


def test_a_retry_finds_its_successor_although_refresh_tokens_live_shorter_by_now(
    bob: Person, client_app: Client, clock: Clock, configure: Callable[..., object]
) -> None:
    """Its answer was lost, the operator lowered the life of refresh tokens: that is no replay, and ends nothing."""
    first = connected(client_app, bob.by_key)
    configure(refresh_token_ttl=DAY)
    second = refresh_token.rotate(client=client_app, refresh_token=str(first.refresh_token), issuer=ISSUER)
    clock(2 * DAY)
    assert garbage.collect()["refresh tokens"] == 0
    again = refresh_token.rotate(client=client_app, refresh_token=str(first.refresh_token), issuer=ISSUER)
    assert again.refresh_token == second.refresh_token
    assert works(again.access_token)
    clock(29 * DAY)
    assert garbage.collect()["refresh tokens"] == 2


def test_a_used_refresh_token_stays_until_it_expires(bob: Person, client_app: Client, clock: Clock) -> None:
    first = connected(client_app, bob.by_key)
    second = refresh_token.rotate(client=client_app, refresh_token=str(first.refresh_token), issuer=ISSUER)
    clock(29 * DAY)
    garbage.collect()
    again = refresh_token.rotate(client=client_app, refresh_token=str(first.refresh_token), issuer=ISSUER)
    assert again.refresh_token == second.refresh_token


def test_what_has_expired_goes_and_at_last_the_grant_and_the_client(bob: Person, client_app: Client, clock: Clock) -> None:
    connected(client_app, bob.by_key)
    begun(client_app)
    clock(3600)
    counts = garbage.collect()
    assert counts["access tokens"] == 1
    assert counts["authorization codes"] + counts["pending authorizations"] >= 2
    assert not AccessToken.objects.exists()
    assert not AuthorizationCode.objects.exists()
    assert not PendingAuthorization.objects.exists()
    assert RefreshToken.objects.exists()
    assert Grant.objects.exists()
    clock(30 * DAY)
    counts = garbage.collect()
    assert (counts["refresh tokens"], counts["grants"], counts["clients"]) == (1, 1, 0)
    clock(60 * DAY)
    assert garbage.collect()["clients"] == 1


def test_a_client_that_was_never_used_goes_after_a_day_unless_an_operator_made_it(
    bob: Person, client_app: Client, clock: Clock
) -> None:
    clients.make(name="Made", redirect_uris=["https://made.example/cb"], token_endpoint_auth_method="none")
    clock(DAY - 1)
    assert garbage.collect()["clients"] == 0
    clock(1)
    assert garbage.collect()["clients"] == 1
    assert [client.name for client in Client.objects.all()] == ["Made"]


def test_what_an_operator_said_of_a_client_outlives_its_disuse(client_app: Client, clock: Clock) -> None:
    """A document comes back whenever its client does: it must not come back unblocked, or unknown."""
    now = timezone.now()
    blocked, known, neither = (registered() for _ in range(3))
    Client.objects.filter(pk__in=(blocked.pk, neither.pk)).update(origin=ClientOrigin.DOCUMENT)
    Client.objects.filter(pk=blocked.pk).update(blocked_at=now)
    Client.objects.filter(pk=known.pk).update(approved_at=now)
    Client.objects.filter(pk=client_app.pk).update(blocked_at=now)  # registered by itself: its id never comes back
    clock(100 * DAY)
    assert garbage.collect()["clients"] == 2
    assert set(Client.objects.all()) == {blocked, known}


def test_a_client_with_a_living_grant_or_a_waiting_request_stays(
    bob: Person, client_app: Client, clock: Clock, configure: Callable[..., object]
) -> None:
    configure(refresh_token_ttl=200 * DAY, pending_ttl=200 * DAY)
    pair, waiting = connected(client_app, bob.by_key), registered()
    begun(waiting)
    clock(100 * DAY)
    assert garbage.collect()["clients"] == 0
    again = refresh_token.rotate(client=client_app, refresh_token=str(pair.refresh_token), issuer=ISSUER)
    assert works(again.access_token)


def test_it_goes_batch_by_batch(bob: Person, client_app: Client, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "LARGEST", 10)
    for _ in range(5):
        begun(client_app)
    clock(600)
    assert garbage.collect()["pending authorizations"] == 5


def test_a_one_time_password_that_was_given_stands_as_long_as_its_page(
    bob: Person, client_app: Client, clock: Clock
) -> None:
    pending = begun(client_app)
    typed, lives = one_time_password.issue(authority=bob.by_key)
    approval.present_one_time_password(pending_id=pending, browser="browser", typed=typed)
    clock(lives + 1)
    assert garbage.collect()["one-time passwords"] == 0
    assert approval.authority_on_page(pending_id=pending, browser="browser") == bob.by_key
    clock(600)
    assert garbage.collect()["one-time passwords"] == 1


def test_what_nobody_decided_in_time_is_told_once(bob: Person, client_app: Client, clock: Callable[[float], None]) -> None:
    begun(client_app)
    decided = begun(client_app)
    approval.deny(authority=bob.by_key, pending_id=decided)
    clock(601)
    assert garbage.collect()["pending authorizations"] == 2
    garbage.collect()
    (event,) = AuditEvent.objects.filter(event="authorization.expired")
    assert (event.actor_kind, event.outcome, event.client_id) == ("system", "failure", client_app.client_id)


def test_audit_events_go_when_their_time_is_over(
    client_app: Client, clock: Callable[[float], None], configure: Callable[..., object]
) -> None:
    configure(audit_days=2)
    clock(86400)
    audit.record("admin.action", now=timezone.now())
    clock(86400 + 1)
    assert garbage.collect()["audit events"] == 1
    assert list(AuditEvent.objects.values_list("event", flat=True)) == ["admin.action"]


def test_between_two_batches_somebody_else_has_a_say(client_app: Client, clock: Callable[[float], None]) -> None:
    begun(client_app)
    clock(601)

    class Stop(Exception): ...

    def between() -> None:
        raise Stop

    with pytest.raises(Stop):
        garbage.collect(between=between)
    assert not PendingAuthorization.objects.exists(), "the batch before is done"
