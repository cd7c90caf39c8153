"""Group commit on SQLite: one commit for several requests, and still each of them for itself."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, connection, connections, transaction
from django.utils import timezone

from ovauth import sql
from ovauth.errors import InvalidGrant
from ovauth.flows import authorization_code, commits, refresh_token
from ovauth.models import AccessToken, Account, AuditEvent, Client, RefreshToken
from tests.conftest import CALLBACK, ISSUER, VERIFIER, Person, approved, connected, works

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def commits_counted() -> Iterator[list[str]]:
    heard: list[str] = []
    connection.ensure_connection()
    connection.connection.set_trace_callback(heard.append)
    yield heard
    connection.connection.set_trace_callback(None)


def refreshed(client: Client) -> Callable[[str], Any]:
    """What a request does: refusals are answers."""

    def do(token: str) -> Any:
        try:
            return refresh_token.rotate(client=client, refresh_token=token, issuer=ISSUER)
        except InvalidGrant as refusal:
            return refusal

    return do


def test_requests_that_come_together_share_one_commit(
    client_app: Client, alice: Person, commits_counted: list[str]
) -> None:
    tokens = [connected(client_app, alice.by_key).refresh_token or "" for _ in range(5)]
    commits_counted.clear()
    pairs = commits.together(refreshed(client_app), tokens)
    assert all(works(pair.access_token) for pair in pairs)
    assert [text for text in commits_counted if text.startswith(("BEGIN", "COMMIT"))] == ["BEGIN IMMEDIATE", "COMMIT"]


def test_a_refused_request_undoes_nothing_of_its_neighbours(client_app: Client, alice: Person) -> None:
    good, other = (connected(client_app, alice.by_key).refresh_token or "" for _ in range(2))
    first, refused, last = commits.together(refreshed(client_app), [good, "ovrt_unknown", other])
    assert isinstance(refused, InvalidGrant)
    assert works(first.access_token)
    assert works(last.access_token)


def test_what_a_refusal_has_to_leave_behind_is_committed_with_the_others(client_app: Client, alice: Person) -> None:
    """A replayed code ends what it issued, and the refusal comes out of a transaction that was committed."""
    code = approved(client_app, alice.by_key)
    fields = {"client": client_app, "code": code, "redirect_uri": CALLBACK, "code_verifier": VERIFIER, "issuer": ISSUER}

    def redeem(_: int) -> Any:
        try:
            return authorization_code.redeem(**fields)  # type: ignore[arg-type]
        except InvalidGrant as refusal:
            return refusal

    pair, replayed = commits.together(redeem, [1, 2])
    assert isinstance(replayed, InvalidGrant)
    assert not works(pair.access_token)


def test_of_two_uses_of_one_token_both_get_the_same_successor(client_app: Client, alice: Person) -> None:
    token = connected(client_app, alice.by_key).refresh_token or ""
    first, second = commits.together(refreshed(client_app), [token, token])
    assert first.refresh_token == second.refresh_token


def test_what_fails_within_one_of_them_is_undone_for_it_alone(client_app: Client, alice: Person) -> None:
    tokens = [connected(client_app, alice.by_key).refresh_token or "" for _ in range(3)]
    rotate = refreshed(client_app)
    before = RefreshToken.objects.count()

    def do(token: str) -> Any:
        if token != tokens[1]:
            return rotate(token)
        try:
            with transaction.atomic():
                rotate(token)
                raise ValueError
        except ValueError as fault:
            return fault

    results = commits.together(do, tokens)
    assert isinstance(results[1], ValueError)
    assert RefreshToken.objects.count() == before + 2
    assert AuditEvent.objects.filter(event="token.refreshed").count() == 2
    assert works(rotate(tokens[1]).access_token)


def test_a_transaction_that_was_ended_half_way_is_done_again_one_by_one(client_app: Client, alice: Person) -> None:
    """SQLite itself rolls back when the disk is full: what was done before must not be told as done."""
    tokens = [connected(client_app, alice.by_key).refresh_token or "" for _ in range(3)]
    rotate = refreshed(client_app)
    before, done = AccessToken.objects.count(), []

    def do(token: str) -> Any:
        pair = rotate(token)
        if len(done) == 1:
            connection.connection.rollback()
        done.append(token)
        return pair

    pairs = commits.together(do, tokens)
    assert done == [*tokens[:2], *tokens]
    assert all(works(pair.access_token) for pair in pairs)
    assert AccessToken.objects.count() == before + 3


def test_a_commit_that_fails_leaves_nothing_and_each_is_done_again(
    client_app: Client, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = [connected(client_app, alice.by_key).refresh_token or "" for _ in range(3)]
    before = AccessToken.objects.count()
    wrapper: Any = connections["default"]
    commit = wrapper._commit
    faults = iter([OperationalError("database or disk is full")])

    def once_not() -> None:
        for fault in faults:
            raise fault
        commit()

    monkeypatch.setattr(wrapper, "_commit", once_not)
    pairs = commits.together(refreshed(client_app), tokens)
    assert all(works(pair.access_token) for pair in pairs)
    assert AccessToken.objects.count() == before + 3
    assert AuditEvent.objects.filter(event="token.refreshed").count() == 3


def test_what_fails_behind_the_commit_of_one_spoils_no_answer(client_app: Client, alice: Person) -> None:
    tokens = [connected(client_app, alice.by_key).refresh_token or "" for _ in range(3)]
    rotate, told = refreshed(client_app), []

    def do(token: str) -> Any:
        with sql.atomic():
            sql.after_commit(lambda: told.append(token) if token != tokens[0] else [][0])
            return rotate(token)

    pairs = commits.together(do, tokens)
    assert all(works(pair.access_token) for pair in pairs)
    assert told == tokens[1:]


def test_one_alone_pays_no_savepoint(client_app: Client, alice: Person, commits_counted: list[str]) -> None:
    token = connected(client_app, alice.by_key).refresh_token or ""
    commits_counted.clear()
    commits.together(refreshed(client_app), [token])
    assert not [text for text in commits_counted if "SAVEPOINT" in text]


# ------------------------------------------------------------------ the savepoint of a nested transaction


def test_what_a_savepoint_undoes_is_neither_stored_nor_told(db: None) -> None:
    told: list[str] = []
    with transaction.atomic():
        with sql.atomic():
            Account.objects.create(name="kept", created_at=timezone.now())
            sql.after_commit(lambda: told.append("kept"))
        with suppress(ValueError), sql.atomic():
            Account.objects.create(name="undone", created_at=timezone.now())
            sql.after_commit(lambda: told.append("undone"))
            raise ValueError
        assert told == []
    assert told == ["kept"]
    assert [account.name for account in Account.objects.all()] == ["kept"]


def test_what_django_marked_as_broken_goes_back_to_the_savepoint_and_the_rest_lives(db: None) -> None:
    with transaction.atomic():
        Account.objects.create(name="kept", created_at=timezone.now())
        with suppress(IntegrityError), sql.atomic(), suppress(IntegrityError):
            Account.objects.create(name="kept", created_at=timezone.now())
        assert not connection.needs_rollback
        Account.objects.create(name="later", created_at=timezone.now())
    assert Account.objects.count() == 2


def test_a_savepoint_in_a_transaction_that_is_gone_ends_the_whole(db: None) -> None:
    with transaction.atomic():
        with suppress(ValueError), sql.atomic():
            connection.connection.rollback()
            raise ValueError
        assert connection.needs_rollback
