"""Reading in the event loop: what is answered there, and what sends whoever asks to a thread."""

import sqlite3
import time
from collections.abc import Iterator

import pytest
from django.db import connection
from django.utils import timezone

from ovauth import glances
from ovauth.flows import clients, limits
from ovauth.glances import Glances
from ovauth.models import Client, Tally
from ovauth.statements import CLIENT

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def looking() -> Iterator[Glances]:
    looking = Glances()
    yield looking
    looking.close()


def name_of(client: Client) -> str | None:
    row = CLIENT.row(client_id=client.client_id)
    return row[3] if row else None


def test_it_reads_what_is_committed(looking: Glances, client_app: Client) -> None:
    assert looking.look(lambda: name_of(client_app)) == client_app.name
    Client.objects.filter(pk=client_app.pk).update(name="renamed")
    assert looking.look(lambda: name_of(client_app)) == "renamed"


def test_a_writer_is_not_waited_for(looking: Glances, client_app: Client) -> None:
    writer = sqlite3.connect(str(connection.settings_dict["NAME"]), isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    started = time.monotonic()
    assert looking.look(lambda: name_of(client_app)) == client_app.name
    assert time.monotonic() - started < 1
    writer.execute("ROLLBACK")
    writer.close()


def test_what_would_write_is_left_to_a_thread_and_nothing_is_written(looking: Glances, client_app: Client) -> None:
    def count() -> str:
        limits.count([(limits.CLIENT_SECRET_BY_CLIENT_AND_ADDRESS, "somebody")])
        return "written"

    def block() -> str:
        clients.register(document={"redirect_uris": ["https://a.example/cb"]})
        return "registered"

    assert looking.look(count) is None
    assert looking.look(block) is None
    assert not Tally.objects.filter(key__contains="somebody").exists()
    assert looking.look(lambda: name_of(client_app)) == client_app.name  # that was no fault


def test_a_fault_sends_everybody_to_a_thread_for_a_while(
    looking: Glances, client_app: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert looking.look(lambda: name_of(client_app))
    monkeypatch.setattr(CLIENT, "sqlite", "SELECT nonsense FROM nowhere")
    assert looking.look(lambda: name_of(client_app)) is None
    monkeypatch.undo()
    assert looking.look(lambda: name_of(client_app)) is None
    monkeypatch.setattr(glances, "LOOK_AWAY", 0.0)
    looking._looks_again_at = 0.0
    assert looking.look(lambda: name_of(client_app)) == client_app.name


def test_two_slow_glances_in_a_row_do_so_too_and_one_does_not(
    looking: Glances, client_app: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(glances, "SLOW", -1.0)
    assert looking.look(lambda: name_of(client_app))
    monkeypatch.undo()
    assert looking.look(lambda: name_of(client_app))
    monkeypatch.setattr(glances, "SLOW", -1.0)
    assert looking.look(lambda: name_of(client_app))
    assert looking.look(lambda: name_of(client_app))
    assert looking.look(lambda: name_of(client_app)) is None


def test_the_thread_has_its_own_connection_back(looking: Glances, client_app: Client) -> None:
    with pytest.raises(ZeroDivisionError):
        looking.look(lambda: 1 / 0)
    Client.objects.filter(pk=client_app.pk).update(last_used_at=timezone.now())
    limits.count([(limits.CLIENT_SECRET_BY_CLIENT_AND_ADDRESS, "somebody")])
    assert Tally.objects.filter(key__contains="somebody").exists()
