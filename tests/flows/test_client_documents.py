"""Clients described by a document, fetched from a real https server on loopback: found, cached, ended, good again."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from ovauth import conf, fetching
from ovauth.errors import InvalidClient, TooManyRequests, Unavailable
from ovauth.fetching import Busy, Fetched
from ovauth.flows import client_documents, garbage, limits
from ovauth.models import AuditEvent, Client, ClientOrigin, Grant
from tests.conftest import Person, connected, works
from tests.fetching.https import HOST, Answer, Authority, HttpsServer, Resolver, authority, reply, resolver, server, trusted

__all__ = ["authority", "resolver", "server"]

pytestmark = pytest.mark.django_db
CALLBACK = "https://app.example.com/callback"


@pytest.fixture(autouse=True)
def _admitted(authority: Authority) -> Iterator[None]:
    with fetching.trusting(trusted(authority)):
        yield


def described(client_id: str, /, *, cache: str | None = None, **changes: Any) -> Answer:
    """A good document at that URL, with some members changed; None leaves one out."""
    members = {"client_id": client_id, "client_name": "Example", "redirect_uris": [CALLBACK]} | changes
    body = json.dumps({name: value for name, value in members.items() if value is not None})
    return reply(body.encode(), headers=() if cache is None else (f"Cache-Control: {cache}",))


@pytest.fixture
def url(server: HttpsServer) -> str:
    """The client_id of a client whose document is good."""
    found = server.url()
    server.answer = described(found)
    return found


def resolve(client_id: str, **options: Any) -> Client:
    return client_documents.resolve(client_id=client_id, **options)


def refused(client_id: str) -> str:
    with pytest.raises(InvalidClient) as refusal:
        resolve(client_id)
    return refusal.value.description


def unreachable(server: HttpsServer) -> None:
    server.answer = reply(b"", status="503 Later")


# ------------------------------------------------------------------ found


def test_a_client_is_what_its_document_says(url: str, server: HttpsServer) -> None:
    server.answer = described(url, scope="mcp fs", logo_uri="https://app.example.com/logo.svg")
    client = resolve(url)
    client.refresh_from_db()
    assert client.client_id == url
    assert client.origin == ClientOrigin.DOCUMENT
    assert client.name == "Example"
    assert client.redirect_uris == [CALLBACK]
    assert client.token_endpoint_auth_method == "none"
    assert client.secret_digest is None
    assert client.scope == "mcp fs"
    assert client.metadata == {"logo_uri": "https://app.example.com/logo.svg"}
    assert list(AuditEvent.objects.values_list("event", flat=True)) == ["client.registered"]


def test_a_client_with_keys_has_no_secret_of_ours(url: str, server: HttpsServer) -> None:
    server.answer = described(url, token_endpoint_auth_method="private_key_jwt", jwks_uri="https://app.example.com/keys")
    client = resolve(url)
    assert client.token_endpoint_auth_method == "private_key_jwt"
    assert client.secret_digest is None


def test_such_a_client_connects_like_every_other(url: str, alice: Person) -> None:
    assert works(connected(resolve(url), alice.by_session).access_token)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"client_id": "https://other.example.com/client.json"}, "client_id must be exactly"),
        ({"client_id": None}, "client_id must be exactly"),
        ({"redirect_uris": None}, "redirect_uris"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "Redirect URI number 1"),
        ({"token_endpoint_auth_method": "client_secret_basic"}, "shared secret"),
        ({"client_secret": "s3cret"}, "client_secret"),
    ],
)
def test_a_document_that_is_not_good_makes_no_client_and_says_why(
    changes: dict[str, Any], said: str, url: str, server: HttpsServer
) -> None:
    server.answer = described(url, **changes)
    assert said in refused(url)
    assert not Client.objects.exists()


def test_a_document_of_another_client_does_not_speak_for_it(url: str, server: HttpsServer) -> None:
    """Whoever may put a file on somebody's host must not be taken for the client that is described elsewhere there."""
    assert "client_id must be exactly" in refused(server.url("/uploads/client.json"))


@pytest.mark.parametrize(
    "client_id",
    [
        "https://client.ovauth.test/",
        "https://client.ovauth.test/c?id=1",
        "https://client.ovauth.test/a/../c",
        "https://127.0.0.1/c",
        "https://[::1]/c",
        "https://localhost/c",
        "https://client.ovauth.test/\0",
        "https://client.ovauth.test/" + "a" * 300,
        "https://",
    ],
)
def test_a_client_id_that_is_no_such_url_is_refused_without_a_fetch(client_id: str, resolver: Resolver) -> None:
    refused(client_id)
    assert resolver.asked == []


def test_a_host_that_leads_inside_is_refused_in_the_words_of_one_that_does_not_exist(
    server: HttpsServer, resolver: Resolver
) -> None:
    resolver.answers["inside.ovauth.test"] = [["10.0.0.1"]]
    said = {refused(server.url(host=name)).replace(name, "") for name in ("inside.ovauth.test", "nowhere.ovauth.test")}
    assert len(said) == 1


# ------------------------------------------------------------------ the policy


def test_switched_off_no_document_counts_not_even_a_known_one(
    url: str, server: HttpsServer, configure: Callable[..., Any]
) -> None:
    resolve(url)
    configure(cimd="off")
    assert "not admitted" in refused(url)
    assert len(server.requests) == 1


def test_a_list_admits_its_hosts_and_no_other(
    url: str, server: HttpsServer, resolver: Resolver, configure: Callable[..., Any]
) -> None:
    configure(cimd=(HOST, "other.ovauth.test"))
    assert "not admitted" in refused(url), "the port is part of the host"
    configure(cimd=(f"{HOST}:{server.port}",))
    assert resolve(url)
    resolver.asked.clear()
    assert "not admitted" in refused(server.url(host=f"evil.{HOST}"))
    assert resolver.asked == []


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("on", "on"),
        ("OFF", "off"),
        ("claude.ai", ("claude.ai",)),
        (" Claude.ai , chatgpt.com:8443,", ("claude.ai", "chatgpt.com:8443")),
    ],
)
def test_the_setting_is_read(value: str, read: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVAUTH_CIMD", value)
    assert conf.load().cimd == read


@pytest.mark.parametrize("value", ["true", "https://claude.ai", "*.claude.ai", "claude.ai/path", "claude.ai:443", "a b.c"])
def test_a_setting_that_names_no_hosts_stops_the_start_with_one_sentence(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVAUTH_CIMD", value)
    with pytest.raises(conf.Misconfigured) as fault:
        conf.load()
    assert str(fault.value).startswith("OVAUTH_CIMD: ")
    assert "on, off, or a list of hosts" in str(fault.value)
    assert "\n" not in str(fault.value)


def test_a_blocked_client_is_refused_and_not_asked_for(url: str, server: HttpsServer) -> None:
    resolve(url)
    Client.objects.update(blocked_at=timezone.now(), document_due_at=timezone.now())
    assert "blocked" in refused(url)
    assert len(server.requests) == 1


# ------------------------------------------------------------------ the copy


@pytest.mark.parametrize(
    ("cache", "seconds"),
    [
        (None, 3600),
        ("max-age=600", 600),
        ("max-age=1", 60),
        ("no-store", 60),
        ("max-age=31536000, immutable", 86400),
    ],
)
def test_a_document_counts_as_long_as_http_says_within_bounds(
    cache: str | None, seconds: int, url: str, server: HttpsServer, clock: Callable[[float], None]
) -> None:
    server.answer = described(url, cache=cache)
    resolve(url)
    clock(seconds - 1)
    resolve(url)
    assert len(server.requests) == 1
    clock(1)
    resolve(url)
    assert len(server.requests) == 2
    resolve(url)
    assert len(server.requests) == 2, "the new copy counts as long again"


def test_what_the_document_changes_changes_the_client_and_nothing_else(
    url: str, server: HttpsServer, clock: Callable[[float], None]
) -> None:
    pk = resolve(url).pk
    Client.objects.update(access_token_ttl=77)
    server.answer = described(url, client_name="Renamed", redirect_uris=[CALLBACK + "2"])
    clock(3600)
    client = resolve(url)
    client.refresh_from_db()
    assert (client.pk, client.name, client.redirect_uris) == (pk, "Renamed", [CALLBACK + "2"])
    assert client.access_token_ttl == 77
    assert list(AuditEvent.objects.values_list("event", flat=True)) == ["client.registered", "client.updated"]


def test_a_document_that_did_not_change_is_no_event(url: str, clock: Callable[[float], None]) -> None:
    resolve(url)
    clock(3600)
    resolve(url)
    assert AuditEvent.objects.count() == 1


@pytest.mark.parametrize("trouble", ["status", "name", "silence", "certificate"])
def test_the_last_good_copy_serves_while_its_host_cannot_be_reached(
    trouble: str, url: str, server: HttpsServer, resolver: Resolver, clock: Callable[[float], None], tmp_path: Any
) -> None:
    resolve(url)
    clock(3600)
    match trouble:
        case "status":
            unreachable(server)
        case "name":
            del resolver.answers[HOST]
        case "silence":
            server.answer = lambda _connection: None
        case "certificate":
            with fetching.trusting(trusted(Authority(tmp_path))):
                assert resolve(url).name == "Example"
    assert resolve(url).name == "Example"
    asked = len(resolver.asked)
    clock(59)
    resolve(url)
    assert len(resolver.asked) == asked, "not asked again within a minute"
    clock(1)
    resolve(url)
    assert len(resolver.asked) == asked + 1


def test_the_last_good_copy_does_not_serve_for_ever(url: str, server: HttpsServer, clock: Callable[[float], None]) -> None:
    resolve(url)
    unreachable(server)
    clock(30 * 24 * 3600 - 1)
    assert resolve(url)
    clock(60)
    with pytest.raises(Unavailable):  # and not invalid_client: nobody has to register again because of a network
        resolve(url)
    server.answer = described(url)
    clock(60)
    assert resolve(url)


@pytest.mark.parametrize("end", ["gone", "moved", "text", "other client", "inside", "secret"])
def test_a_missing_or_invalid_document_ends_the_client_until_it_is_good_again(
    end: str,
    url: str,
    server: HttpsServer,
    resolver: Resolver,
    clock: Callable[[float], None],
    alice: Person,
) -> None:
    client = resolve(url)
    pair = connected(client, alice.by_session)
    clock(3600 - 1)
    assert works(pair.access_token)
    clock(1)
    match end:
        case "gone":
            server.answer = reply(b"{}", status="404 Not Found")
        case "moved":
            server.answer = reply(b"", status="301 Moved", headers=("Location: https://other.example.com/",))
        case "text":
            server.answer = reply(b"{}", content_type="text/plain")
        case "other client":
            server.answer = described(url + "x")
        case "inside":
            resolver.answers[HOST] = [["127.0.0.1", "10.0.0.1"]]
        case "secret":
            server.answer = described(url, token_endpoint_auth_method="client_secret_post")
    first = refused(url)
    asked = len(resolver.asked)
    assert refused(url) == first, "the fault is remembered"
    assert len(resolver.asked) == asked
    assert Grant.objects.get(client=client).revoked_at is None, "its connections stay, for the day when it is good again"
    assert AuditEvent.objects.filter(event="client.document_ended").count() == 1
    clock(60)
    refused(url)
    assert AuditEvent.objects.filter(event="client.document_ended").count() == 1, "it ended once"

    resolver.answers[HOST] = [["127.0.0.1"]]
    server.answer = described(url)
    clock(60)
    assert works(connected(resolve(url), alice.by_session).access_token)


def test_an_ended_client_does_not_come_back_because_its_host_is_down(
    url: str, server: HttpsServer, clock: Callable[[float], None]
) -> None:
    resolve(url)
    server.answer = reply(b"{}", status="410 Gone")
    clock(3600)
    refused(url)
    unreachable(server)
    clock(60)
    assert "answered 410" in refused(url)


# ------------------------------------------------------------------ failures are remembered, and counted


def test_a_document_that_was_not_good_is_not_asked_for_again_at_once(
    url: str, server: HttpsServer, clock: Callable[[float], None]
) -> None:
    server.answer = reply(b"{}", status="404 Not Found")
    refused(url)
    for _ in range(3):
        with pytest.raises(TooManyRequests) as refusal:
            resolve(url)
        assert refusal.value.retry_after <= 31
    assert len(server.requests) == 1
    server.answer = described(url)
    clock(31)
    assert resolve(url)


def test_a_host_that_cannot_be_reached_is_not_asked_again_at_once_either(url: str, resolver: Resolver) -> None:
    del resolver.answers[HOST]
    refused(url)
    with pytest.raises(TooManyRequests):
        resolve(url)
    assert len(resolver.asked) == 1


def test_one_address_cannot_make_us_hammer_a_host(server: HttpsServer) -> None:
    server.answer = reply(b"{}", status="404 Not Found")
    for number in range(limits.DOCUMENT_BY_HOST_AND_ADDRESS.most):
        with pytest.raises(InvalidClient):
            resolve(server.url(f"/{number}"), ip="192.0.2.7")
    with pytest.raises(TooManyRequests):
        resolve(server.url("/more"), ip="192.0.2.7")
    assert len(server.requests) == limits.DOCUMENT_BY_HOST_AND_ADDRESS.most
    with pytest.raises(InvalidClient):
        resolve(server.url("/more"), ip="198.51.100.7")  # somebody else is not locked out


def test_many_addresses_cannot_either(server: HttpsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DOCUMENT_BY_HOST", limits.Limit("document/host", 3, 600))
    server.answer = reply(b"{}", status="404 Not Found")
    for number in range(3):
        with pytest.raises(InvalidClient):
            resolve(server.url(f"/{number}"), ip=f"192.0.2.{number}")
    with pytest.raises(TooManyRequests):
        resolve(server.url("/more"), ip="192.0.2.9")


def test_a_guesser_does_not_lock_out_the_clients_of_a_host(
    url: str, server: HttpsServer, monkeypatch: pytest.MonkeyPatch, clock: Callable[[float], None]
) -> None:
    monkeypatch.setattr(limits, "DOCUMENT_BY_HOST", limits.Limit("document/host", 1, 600))
    resolve(url)
    refused(server.url("/no/such.json"))
    with pytest.raises(TooManyRequests):
        resolve(server.url("/no/other.json"))
    clock(3600)
    assert resolve(url), "known, and read again as ever"


def test_one_address_cannot_fill_the_table_with_good_documents(
    server: HttpsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DOCUMENT_BY_ADDRESS", limits.Limit("document/address", 2, 600))
    for number in range(3):
        server.answer = described(server.url(f"/{number}"))
        if number < 2:
            resolve(server.url(f"/{number}"), ip="192.0.2.7")
    with pytest.raises(TooManyRequests):
        resolve(server.url("/2"), ip="192.0.2.7")
    assert Client.objects.count() == 2


def test_documents_that_nobody_uses_are_reaped(url: str, clock: Callable[[float], None]) -> None:
    resolve(url)
    clock(24 * 3600 + 1)
    garbage.collect()
    assert not Client.objects.exists()


# ------------------------------------------------------------------ at once


def test_a_process_that_fetches_too_much_already_says_so_and_blames_nobody(
    url: str, server: HttpsServer, monkeypatch: pytest.MonkeyPatch, clock: Callable[[float], None]
) -> None:
    def busy(_url: str) -> Fetched:
        raise Busy("full")

    with monkeypatch.context() as full:
        full.setattr(fetching, "fetch_json", busy)
        with pytest.raises(Unavailable):
            resolve(url)
    resolve(url)
    clock(3600)
    with monkeypatch.context() as full:
        full.setattr(fetching, "fetch_json", busy)
        assert resolve(url).name == "Example"
    clock(10)
    resolve(url)
    assert len(server.requests) == 2, "asked as soon as there is a place, and not after a minute"


@pytest.mark.django_db(transaction=True)
def test_of_many_that_find_a_copy_too_old_one_fetches_and_the_others_go_on(url: str, server: HttpsServer) -> None:
    resolve(url)
    Client.objects.update(document_due_at=timezone.now() - timedelta(seconds=1))
    asked, released = threading.Event(), threading.Event()

    def hold(held: Any) -> None:
        asked.set()
        released.wait(10)
        described(url, client_name="Renamed")(held)

    server.answer = hold
    names: list[str] = []

    def one() -> None:
        try:
            names.append(resolve(url).name)
        finally:
            connection.close()

    fetcher = threading.Thread(target=one)
    fetcher.start()
    assert asked.wait(5)
    others = [threading.Thread(target=one) for _ in range(4)]
    for thread in others:
        thread.start()
    for thread in others:
        thread.join(10)
    assert names == ["Example"] * 4
    released.set()
    fetcher.join(10)
    assert names[4:] == ["Renamed"]
    assert len(server.requests) == 2


@pytest.mark.django_db(transaction=True)
def test_two_that_meet_a_client_for_the_first_time_make_one(url: str, server: HttpsServer) -> None:
    together = threading.Barrier(2)

    def hold(held: Any) -> None:
        together.wait(10)
        described(url)(held)

    server.answer = hold
    found: list[int] = []

    def one() -> None:
        try:
            found.append(resolve(url).pk)
        finally:
            connection.close()

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(server.requests) == 2
    assert len(found) == 2
    assert len(set(found)) == 1
    assert AuditEvent.objects.filter(event="client.registered").count() == 1


@pytest.mark.django_db(transaction=True)
def test_no_transaction_is_open_while_it_is_fetched(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    fetch = fetching.fetch_json

    def watched(asked: str) -> Fetched:
        seen.append(connection.in_atomic_block)
        return fetch(asked)

    monkeypatch.setattr(fetching, "fetch_json", watched)
    resolve(url)
    Client.objects.update(document_due_at=timezone.now() - timedelta(seconds=1))
    resolve(url)
    assert seen == [False, False]
    Client.objects.all().delete()
    with transaction.atomic(), pytest.raises(RuntimeError):
        resolve(url)  # a caller that holds one is told in its first test


def test_the_log_names_the_reason_that_a_stranger_does_not_hear(
    url: str, resolver: Resolver, caplog: pytest.LogCaptureFixture, clock: Callable[[float], None]
) -> None:
    resolve(url)
    clock(3600)
    del resolver.answers[HOST]
    with caplog.at_level(logging.WARNING, logger="ovauth"):
        resolve(url)
    assert "cannot be resolved" in caplog.text
