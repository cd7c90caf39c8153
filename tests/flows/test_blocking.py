"""“I did not start this”: a client is blocked, and what it holds ends; for the account, or for the one who says so."""

from typing import Any

import pytest
from django.utils import timezone

from ovauth import logs
from ovauth.errors import Forbidden, NotFound
from ovauth.flows import approval, blocking, garbage
from ovauth.flows.blocking import Block
from ovauth.models import AuditEvent, BlockedClient, Client, Grant
from tests.conftest import Person, begun, connected, registered, works

pytestmark = pytest.mark.django_db


def approve(client: Client, person: Person) -> None:
    approval.approve(authority=person.by_key, pending_id=begun(client))


def test_an_administrators_block_ends_what_the_client_holds_in_the_account_and_nothing_elsewhere(
    client_app: Client, alice: Person, bob: Person, charlie: Person
) -> None:
    other = connected(registered(), bob.by_key)
    own, ours, theirs = (connected(client_app, person.by_key) for person in (alice, bob, charlie))
    blocked = blocking.block(authority=alice.by_session, client_id=client_app.client_id)
    assert (blocked.whom, blocked.whole_account, blocked.ended) == ("acme", True, 2)
    assert not works(own.access_token)
    assert not works(ours.access_token)
    assert works(theirs.access_token)
    assert works(other.access_token)


def test_an_administrators_block_refuses_every_member_of_the_account_and_nobody_else(
    client_app: Client, alice: Person, bob: Person, charlie: Person
) -> None:
    blocking.block(authority=alice.by_session, client_id=client_app.client_id)
    for person in (alice, bob):
        with pytest.raises(Forbidden, match="blocked"):
            approve(client_app, person)
    assert not Grant.objects.exists()
    approve(client_app, charlie)
    approve(registered(), bob)


def test_a_users_block_reaches_nobody_but_themselves(client_app: Client, alice: Person, bob: Person) -> None:
    ours, own = connected(client_app, alice.by_key), connected(client_app, bob.by_key)
    blocked = blocking.block(authority=bob.by_session, client_id=client_app.client_id)
    assert (blocked.whom, blocked.whole_account, blocked.ended) == ("bob", False, 1)
    assert works(ours.access_token)
    assert not works(own.access_token)
    approve(client_app, alice)
    with pytest.raises(Forbidden, match="blocked"):
        approve(client_app, bob)


def test_a_blocked_client_can_still_be_denied(client_app: Client, bob: Person) -> None:
    blocking.block(authority=bob.by_session, client_id=client_app.client_id)
    assert approval.deny(authority=bob.by_key, pending_id=begun(client_app)).status == "denied"


def test_said_twice_is_blocked_once_and_told_once(client_app: Client, alice: Person, bob: Person) -> None:
    for person in (alice, alice, bob, bob):
        blocking.block(authority=person.by_session, client_id=client_app.client_id)
    assert BlockedClient.objects.count() == 2
    assert AuditEvent.objects.filter(event="client.blocked_for_account").count() == 2


def test_the_operator_is_told_who_blocked_what_for_whom(client_app: Client, alice: Person) -> None:
    blocking.block(authority=alice.by_session, client_id=client_app.client_id)
    event = AuditEvent.objects.get(event="client.blocked_for_account")
    assert (event.actor, event.client_id, event.detail) == (
        "acme/alice",
        client_app.client_id,
        {"whom": "acme", "grants": 0},
    )
    told: dict[str, Any] = {"event": event.event, "client_name": "X", "actor": event.actor, "detail": event.detail}
    assert logs.sentence(told) == "blocked           X for acme: acme/alice did not start its request"


def test_unblocked_it_may_ask_again_and_what_ended_stays_ended(client_app: Client, alice: Person) -> None:
    before = connected(client_app, alice.by_key)
    blocking.block(authority=alice.by_session, client_id=client_app.client_id)
    assert blocking.unblock(block_pk=BlockedClient.objects.get().pk)
    approve(client_app, alice)
    assert not works(before.access_token)
    assert not blocking.unblock(block_pk=1)
    assert AuditEvent.objects.filter(event="client.unblocked_for_account").count() == 1


def test_who_is_kept_from_it_learns_for_whom_it_is_blocked_and_since_when(
    client_app: Client, alice: Person, bob: Person, charlie: Person, clock: Any
) -> None:
    def standing(person: Person) -> Block | None:
        return blocking.standing(member_pk=person.member.pk, client_id=client_app.client_id)

    blocking.block(authority=bob.by_session, client_id=client_app.client_id)
    own = standing(bob)
    assert own == Block("member", "bob", timezone.now())
    assert (standing(alice), standing(charlie)) == (None, None)
    clock(60)
    blocking.block(authority=alice.by_session, client_id=client_app.client_id)
    assert standing(bob) == standing(alice) == Block("account", "acme", timezone.now())
    assert standing(charlie) is None


def test_what_an_operator_blocked_while_it_waited_is_not_approved(client_app: Client, bob: Person) -> None:
    pending = begun(client_app)
    Client.objects.update(blocked_at=timezone.now())
    with pytest.raises(Forbidden):
        approval.approve(authority=bob.by_session, pending_id=pending)
    assert approval.deny(authority=bob.by_session, pending_id=pending).status == "denied"


def test_who_may_not_approve_may_not_block(client_app: Client, alice: Person) -> None:
    authority = alice.by_session
    alice.member.set_password("another-long-password")
    alice.member.save()
    with pytest.raises(Forbidden):
        blocking.block(authority=authority, client_id=client_app.client_id)
    assert not BlockedClient.objects.exists()


def test_a_client_that_is_gone_cannot_be_blocked(alice: Person) -> None:
    with pytest.raises(NotFound):
        blocking.block(authority=alice.by_session, client_id="nobody")


def test_a_blocked_client_is_not_forgotten_for_being_unused(client_app: Client, bob: Person, clock: Any) -> None:
    blocking.block(authority=bob.by_session, client_id=client_app.client_id)
    unblocked = registered()
    clock(100 * 86400)
    garbage.collect()
    assert list(Client.objects.all()) == [client_app] != [unblocked]
