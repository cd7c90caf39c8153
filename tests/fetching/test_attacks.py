"""The fetch, asked by somebody who wants us to talk to somebody else, or never to stop."""

import gzip
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from ovauth import fetching
from ovauth.fetching import Busy, Invalid, Unreachable, fetch_json
from tests.fetching.https import (
    HOST,
    Authority,
    HttpsServer,
    Resolver,
    reply,
    say,
    trusted,
    watching_connections,
)


@pytest.fixture(autouse=True)
def _admitted(authority: Authority) -> Iterator[None]:
    with fetching.trusting(trusted(authority)):
        yield


@pytest.fixture
def connections() -> Iterator[list[Any]]:
    with watching_connections() as seen:
        yield seen


def refused(url: str) -> str:
    """The reason that the log is told."""
    with pytest.raises(Invalid) as refusal:
        fetch_json(url)
    return refusal.value.reason


# ------------------------------------------------------------------ other spellings


@pytest.mark.parametrize(
    "url",
    [
        "http://client.ovauth.test/client.json",
        "HTTPS://client.ovauth.test/client.json",
        "ftp://client.ovauth.test/client.json",
        "file:///etc/passwd",
        "//client.ovauth.test/client.json",
        "https:client.ovauth.test/client.json",
        "https:///client.json",
        "https://user@client.ovauth.test/client.json",
        "https://client.ovauth.test:443@10.0.0.1/client.json",
        "https://client.ovauth.test\\@10.0.0.1/client.json",
        "https://client.ovauth.test/client.json#fragment",
        "https://client.ovauth.test/client json",
        "https://client.ovauth.test/\r\nHost: 10.0.0.1",
        "https://client.ovauth.test\n/client.json",
        "https://client.ovauth.test\0/client.json",
        "https://client.ovauth.test%00.evil.test/client.json",
        "https://client.ovauth.test%2f@10.0.0.1/client.json",
        "https://client。ovauth。test/client.json",
        "https://①②⑦.0.0.1/client.json",
        "https://client.ovauth.test./client.json",
        "https://client..test/client.json",
        "https://localhost/client.json",
        "https://intranet/client.json",
        "https://127.0.0.1/client.json",
        "https://93.184.216.34/client.json",
        "https://2130706433/client.json",
        "https://0x7f000001/client.json",
        "https://0x7f.0.0.1/client.json",
        "https://0177.0.0.1/client.json",
        "https://127.1/client.json",
        "https://127.0.0.1./client.json",
        "https://127.0.0.0x1/client.json",
        "https://[::1]/client.json",
        "https://[::ffff:127.0.0.1]/client.json",
        "https://[2606:4700::1111]/client.json",
        "https://[fe80::1%25eth0]/client.json",
        "https://[fe80::1%eth0]/client.json",
        "https://client.ovauth.test:22/client.json",
        "https://client.ovauth.test:25/client.json",
        "https://client.ovauth.test:80/client.json",
        "https://client.ovauth.test:0/client.json",
        "https://client.ovauth.test:65536/client.json",
        "https://client.ovauth.test:00443/client.json",
        "https://client.ovauth.test:/client.json",
        "https://client.ovauth.test/" + "a" * 2000,
    ],
)
def test_a_url_that_could_mean_something_else_is_refused_before_any_name_is_resolved(
    url: str, resolver: Resolver, connections: list[Any]
) -> None:
    assert "its URL is not acceptable" in refused(url)
    assert resolver.asked == []
    assert connections == []


# ------------------------------------------------------------------ names that lead inside

NOT_PUBLIC = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.53",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "2606:4700::5efe:127.0.0.1",
    "2606:4700::200:5efe:10.0.0.1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_a_name_with_an_address_that_is_not_public_is_refused_and_nobody_is_connected_to(
    address: str, server: HttpsServer, resolver: Resolver, connections: list[Any]
) -> None:
    resolver.answers[HOST] = [[address]]
    assert "its host is not on the public internet" in refused(server.url())
    assert connections == []


@pytest.mark.parametrize("others", [["127.0.0.1", "10.0.0.1"], ["10.0.0.1", "127.0.0.1"], ["127.0.0.1", "fe80::1"]])
def test_one_private_address_among_good_ones_spoils_the_whole_answer(
    others: list[str], server: HttpsServer, resolver: Resolver, connections: list[Any]
) -> None:
    resolver.answers[HOST] = [others]
    assert "its host is not on the public internet" in refused(server.url())
    assert connections == []


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001::1"])
def test_addresses_of_the_public_internet_are_public(address: str) -> None:
    assert fetching.is_public(ip_address(address))


def test_a_name_is_resolved_once_so_that_a_second_answer_cannot_lead_inside(
    server: HttpsServer, resolver: Resolver, connections: list[Any]
) -> None:
    resolver.answers[HOST] = [["127.0.0.1"], ["10.0.0.1"]]
    fetch_json(server.url())
    assert resolver.asked == [f"{HOST}."], "once, and without a search list"
    assert connections == [("127.0.0.1", server.port)], "to the number that was checked"


def test_the_second_address_is_tried_when_the_first_does_not_answer(
    authority: Authority, server: HttpsServer, resolver: Resolver, connections: list[Any]
) -> None:
    resolver.answers[HOST] = [["127.0.0.2", "127.0.0.1"]]  # the server listens on the latter alone
    with fetching.trusting(trusted(authority, "127.0.0.1", "127.0.0.2")):
        fetch_json(server.url())
    assert connections == [("127.0.0.2", server.port), ("127.0.0.1", server.port)]


def test_a_stranger_does_not_learn_what_a_name_resolves_to_or_who_listens(server: HttpsServer, resolver: Resolver) -> None:
    """A private address, no address, a closed port, a certificate for another name: one answer to all."""
    said = set()
    for name, answers in {"private.test": [["10.0.0.1"]], "nowhere.test": [], "other.test": [["127.0.0.1"]]}.items():
        resolver.answers[name] = answers
        with pytest.raises(fetching.NotFetched) as fault:
            fetch_json(server.url(host=name))
        said.add(fault.value.description)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(Unreachable) as refusal:
        fetch_json(f"https://{HOST}:{port}/client.json")
    assert said | {refusal.value.description} == {fetching.NOT_REACHED}


def test_a_host_without_addresses_and_one_with_too_many(server: HttpsServer, resolver: Resolver) -> None:
    del resolver.answers[HOST]
    with pytest.raises(Unreachable, match="cannot be resolved"):
        fetch_json(server.url())
    resolver.answers[HOST] = [[]]
    with pytest.raises(Unreachable, match="no address"):
        fetch_json(server.url())
    resolver.answers[HOST] = [[f"8.8.8.{last}" for last in range(17)]]
    assert "too many addresses" in refused(server.url())


# ------------------------------------------------------------------ certificates


def test_a_certificate_for_another_name_is_no_certificate(authority: Authority, resolver: Resolver) -> None:
    with HttpsServer(authority.context("other.ovauth.test")) as other:
        with pytest.raises(Unreachable, match="its certificate is not good"):
            fetch_json(other.url())
        assert other.requests == []


def test_a_certificate_for_the_address_is_none_for_the_name(authority: Authority, resolver: Resolver) -> None:
    with (
        HttpsServer(authority.context("127.0.0.1")) as other,
        pytest.raises(Unreachable, match="its certificate is not good"),
    ):
        fetch_json(other.url())


def test_self_signed_and_expired_certificates_are_refused(authority: Authority, resolver: Resolver) -> None:
    past = datetime(2020, 1, 1, tzinfo=UTC)
    for context in (authority.context(self_signed=True), authority.context(until=past)):
        with HttpsServer(context) as other, pytest.raises(Unreachable, match="its certificate is not good"):
            fetch_json(other.url())


def test_old_versions_of_tls_are_refused(authority: Authority, resolver: Resolver) -> None:
    context = authority.context()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with HttpsServer(context) as other, pytest.raises(Unreachable):
        fetch_json(other.url())


def test_the_server_is_told_the_name_and_nothing_about_us(authority: Authority, resolver: Resolver) -> None:
    named: list[str] = []
    context = authority.context()
    context.sni_callback = lambda _socket, name, _context: named.append(name)  # type: ignore[assignment]
    with HttpsServer(context) as server:
        fetch_json(server.url("/some/client.json"))
        assert named == [HOST]
        [request] = server.requests
        assert request.decode().split("\r\n") == [
            "GET /some/client.json HTTP/1.1",
            f"Host: {HOST}:{server.port}",
            "User-Agent: ovauth",
            "Accept: application/json",
            "Accept-Encoding: identity",
            "Connection: close",
            "",
            "",
        ]


# ------------------------------------------------------------------ answers that lead elsewhere, or are none


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_no_redirect_is_followed(status: str, server: HttpsServer) -> None:
    server.answer = reply(b"{}", status=status, headers=(f"Location: {server.url('/other.json')}",))
    assert "instead of 200" in refused(server.url())
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [201, 203, 204, 206, 304, 400, 401, 403, 404, 410, 418, 451])
def test_what_is_not_a_plain_200_is_no_document(status: int, server: HttpsServer) -> None:
    server.answer = reply(b"{}" if status not in (204, 304) else b"", status=f"{status} Other")
    assert f"answered {status}" in refused(server.url())


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 529])
def test_a_server_in_trouble_is_unreachable_and_its_document_not_ended(status: int, server: HttpsServer) -> None:
    server.answer = reply(b"{}", status=f"{status} Later")
    with pytest.raises(Unreachable, match=f"answered {status}"):
        fetch_json(server.url())


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, identity", "x-unknown"])
def test_nothing_is_decompressed(encoding: str, server: HttpsServer) -> None:
    bomb = gzip.compress(b" " * 10_000_000 + b"{}")
    server.answer = reply(bomb[:16_000], headers=(f"Content-Encoding: {encoding}",))
    assert "compressed" in refused(server.url())


def test_a_compressed_transfer_is_refused_too(server: HttpsServer) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    server.answer = say(head + b"2\r\n{}\r\n0\r\n\r\n")
    with pytest.raises(Unreachable, match="not HTTP"):
        fetch_json(server.url())


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\r\n\r\n",
        b"hello\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 200\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type application/json\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\nContent-Type: application/json\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\nContent-Type: application/json\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\nzz\r\n{}",
        b"HTTP/1.1 200 OK\r\nX: \0\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
def test_what_is_not_http_is_not_read_further(answer: bytes, server: HttpsServer) -> None:
    server.answer = say(answer)
    with pytest.raises(Unreachable):
        fetch_json(server.url())


def test_a_truncated_answer_is_none(server: HttpsServer) -> None:
    server.answer = reply(b"{}", length=100)
    with pytest.raises(Unreachable):
        fetch_json(server.url())


def test_an_end_that_somebody_on_the_way_could_have_made_is_none(server: HttpsServer) -> None:
    def cut(connection: ssl.SSLSocket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{}")
        connection.shutdown(socket.SHUT_RDWR)  # TCP ends, TLS was not told

    server.answer = cut
    with pytest.raises(Unreachable):
        fetch_json(server.url())


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/html",
        "text/plain",
        "text/json",
        "application/javascript",
        "application/octet-stream",
        "application/jsonp",
        "application/+json",
        "image/svg+xml",
        "application/json, text/html",
        "application/json; charset=utf-16",
        "multipart/form-data; boundary=application/json",
    ],
)
def test_a_document_of_another_type_is_none(content_type: str | None, server: HttpsServer) -> None:
    server.answer = reply(b"{}", content_type=content_type)
    refused(server.url())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b"{} {}",
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 1}}',
        b'{"a": "\\ud800"}',
        b'{"a": "\\u0000"}',
        b'{"a": "\xff"}',
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": ' * 9 + b"1" + b"}" * 9,
        b"[" * 16_000,
        json.dumps({"a": list(range(2000))}).encode(),
    ],
)
def test_what_two_readers_could_understand_differently_is_no_document(body: bytes, server: HttpsServer) -> None:
    server.answer = reply(body)
    refused(server.url())


# ------------------------------------------------------------------ too much


def test_sixteen_kibibytes_are_read_and_one_byte_more_is_not(server: HttpsServer) -> None:
    def document(size: int) -> bytes:
        return b'{"a": 1' + b" " * (size - 8) + b"}"

    server.answer = reply(document(16 * 1024))
    assert fetch_json(server.url()).document == {"a": 1}
    server.answer = reply(document(16 * 1024 + 1))
    assert "larger than 16 KiB" in refused(server.url())


def test_a_document_that_announces_too_much_is_not_begun(server: HttpsServer) -> None:
    server.answer = reply(b"", length=10**9)
    assert "larger than 16 KiB" in refused(server.url())


def test_chunks_without_end_are_cut_off(server: HttpsServer) -> None:
    def endless(connection: ssl.SSLSocket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not server.stopped.is_set():
            connection.sendall(b"100\r\n" + b" " * 256 + b"\r\n")

    server.answer = endless
    assert "larger than 16 KiB" in refused(server.url())


def test_framing_without_end_is_cut_off_although_the_document_stays_small(server: HttpsServer) -> None:
    def endless(connection: ssl.SSLSocket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not server.stopped.is_set():
            connection.sendall(b"1;" + b"x" * 200 + b"\r\n \r\n")

    server.answer = endless
    assert "its answer is too large" in refused(server.url())


def test_interim_answers_without_end_are_cut_off(server: HttpsServer) -> None:
    def endless(connection: ssl.SSLSocket) -> None:
        while not server.stopped.is_set():
            connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")

    server.answer = endless
    assert "its answer is too large" in refused(server.url())


def test_one_interim_answer_is_passed_over(server: HttpsServer) -> None:
    def hinting(connection: ssl.SSLSocket) -> None:
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        reply(b'{"a": 1}')(connection)

    server.answer = hinting
    assert fetch_json(server.url()).document == {"a": 1}


@pytest.mark.parametrize("header", [b"X: " + b"y" * 40_000, b"\r\n".join(b"X: " + b"y" * 100 for _ in range(400))])
def test_huge_headers_are_not_read_to_the_end(header: bytes, server: HttpsServer) -> None:
    server.answer = say(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + header + b"\r\n\r\n{}")
    with pytest.raises(Unreachable, match="not HTTP"):
        fetch_json(server.url())


# ------------------------------------------------------------------ too slow


def too_late(url: str) -> None:
    """The fetch gives up by itself, long before anybody else would."""
    begun = time.monotonic()
    with pytest.raises(Unreachable):
        fetch_json(url, deadline=0.6)
    assert 0.4 < time.monotonic() - begun < 2.5


def drip(what: bytes, stopped: threading.Event, connection: ssl.SSLSocket) -> None:
    for byte in what:
        if stopped.wait(0.05):
            return
        connection.sendall(bytes([byte]))


def test_dripping_headers_do_not_prolong_the_deadline(server: HttpsServer) -> None:
    server.answer = lambda connection: drip(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100, server.stopped, connection)
    too_late(server.url())


def test_a_dripping_body_does_not_prolong_the_deadline(server: HttpsServer) -> None:
    def slowly(connection: ssl.SSLSocket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
        drip(b" " * 1000, server.stopped, connection)

    server.answer = slowly
    too_late(server.url())


def test_silence_after_the_request_ends_at_the_deadline(server: HttpsServer) -> None:
    server.answer = lambda _connection: server.stopped.wait(10) and None
    too_late(server.url())


@pytest.mark.parametrize("first", [b"", b"\x16", b"\x16\x03\x03\x40\x00"])
def test_a_handshake_that_never_ends_ends_at_the_deadline(first: bytes, resolver: Resolver) -> None:
    """The listener accepts into its backlog and drips a TLS record that it never completes."""
    stopped = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            plain, _ = listener.accept()
            with plain:
                for byte in first + b"\x02" * 200:
                    if stopped.wait(0.05):
                        return
                    try:
                        plain.sendall(bytes([byte]) if first else b"")
                    except OSError:
                        return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            if first == b"\x16":  # \x16\x02\x02… is no version of TLS at all, so it is refused at once
                with pytest.raises(Unreachable):
                    fetch_json(f"https://{HOST}:{listener.getsockname()[1]}/c", deadline=0.6)
            else:
                too_late(f"https://{HOST}:{listener.getsockname()[1]}/c")
        finally:
            stopped.set()
            thread.join(5)


def test_a_resolver_that_does_not_answer_ends_at_the_deadline_and_its_lookups_do_not_pile_up(
    server: HttpsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()
    begun: list[threading.Thread] = []

    def never(*arguments: Any, **options: Any) -> Any:
        begun.append(threading.current_thread())
        answered.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", never)
    try:
        too_late(server.url())
        for _ in range(fetching.LOOKUPS_AT_ONCE - 1):
            with pytest.raises(Unreachable, match="took too long to resolve"):
                fetch_json(server.url(), deadline=0.05)
        with pytest.raises(Busy):
            fetch_json(server.url())
        assert len(begun) == fetching.LOOKUPS_AT_ONCE
    finally:
        answered.set()
        for thread in begun:
            thread.join(5)


def test_slow_hosts_do_not_take_every_thread(server: HttpsServer) -> None:
    """Some are fetched, some wait for their turn, and the rest hears at once that there is no place."""
    arrived, released = threading.Semaphore(0), threading.Event()

    def hold(connection: ssl.SSLSocket) -> None:
        arrived.release()
        released.wait(10)
        reply(b"{}")(connection)

    server.answer = hold
    outcomes: list[object] = []

    def fetch() -> None:
        try:
            outcomes.append(fetch_json(server.url()).document)
        except fetching.NotFetched as fault:
            outcomes.append(fault)

    threads = [threading.Thread(target=fetch) for _ in range(fetching.AT_ONCE)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert arrived.acquire(timeout=5)
    waiting = [threading.Thread(target=fetch) for _ in range(fetching.MOST_WAITING)]
    for thread in waiting:
        thread.start()
    until = time.monotonic() + 5
    while fetching._turns._value:  # until all of them wait
        assert time.monotonic() < until
    with pytest.raises(Busy):
        fetch_json(server.url())
    released.set()
    for thread in (*threads, *waiting):
        thread.join(10)
    assert outcomes == [{}] * (fetching.AT_ONCE + fetching.MOST_WAITING)
    assert fetch_json(server.url()).document == {}, "every place was given back"


# ------------------------------------------------------------------ the environment


def test_proxies_and_certificates_of_the_environment_are_ignored(
    authority: Authority, server: HttpsServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, connections: list[Any]
) -> None:
    (tmp_path / "netrc").write_text(f"machine {HOST} login me password secret\n")
    log = tmp_path / "keys.log"
    with HttpsServer(authority.context()) as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            for spelling in (name, name.upper()):
                monkeypatch.setenv(spelling, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        monkeypatch.setenv("SSLKEYLOGFILE", str(log))
        fetch_json(server.url())
    assert connections == [("127.0.0.1", server.port)]
    assert b"uthorization" not in server.requests[0]
    assert not log.exists()


def test_no_variable_adds_an_authority(
    authority: Authority, server: HttpsServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "OVAUTH_CA_FILE"):
        monkeypatch.setenv(name, str(authority.file))
    monkeypatch.setenv("SSL_CERT_DIR", str(authority.file.parent))
    another = Authority(tmp_path)
    with (
        fetching.trusting(trusted(another)),
        pytest.raises(Unreachable, match="its certificate is not good"),
    ):
        fetch_json(server.url())


def test_outside_of_the_hook_the_tests_server_is_a_private_address_and_its_authority_is_unknown(
    authority: Authority, server: HttpsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_trusted", None)  # as every process begins
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    assert "its host is not on the public internet" in refused(server.url())
    # the address let through by force: then the certificate stands in the way
    monkeypatch.setattr(fetching, "is_public", lambda _address: True)
    with pytest.raises(Unreachable, match="its certificate is not good"):
        fetch_json(server.url())
    assert server.requests == []
