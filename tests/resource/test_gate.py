"""Who may enter /mcp, and what everybody else is told (RFC 6750 §3, RFC 9728 §5.1)."""

import asyncio
import itertools
import json
import logging
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from django.db import OperationalError
from django.utils import timezone

from ovauth import credentials, logs
from ovauth.conf import Config
from ovauth.flows import accounts, revocation
from ovauth.models import AccessToken, ApiKey, Client, Member
from ovauth.resource.gate import MAX_BODY
from ovauth.roles import Role
from ovauth.sql import Statement
from ovauth.web.public_origin import PublicOrigin
from tests.conftest import ISSUER, Person, approved, connected, redeemed, registered
from tests.resource import servers
from tests.resource.conftest import ACCEPT, MODERN, REVISIONS, Serve, Served, message_of, text_of

pytestmark = pytest.mark.django_db(transaction=True)

METADATA = 'resource_metadata="http://testserver/.well-known/oauth-protected-resource/mcp"'
INVITATION = f'Bearer {METADATA}, scope="mcp"'
REFUSAL = f'Bearer error="invalid_token", {METADATA}, scope="mcp"'


@pytest.fixture
def served(serve: Serve) -> Served:
    return serve()


@pytest.fixture(autouse=True)
def _nothing_ran_yet() -> None:
    servers.ran.clear()


def assert_told(response: httpx2.Response, status: int, error: str, challenge: str | None) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers.get("www-authenticate") == challenge
    body = response.json()
    assert body["error"] == error
    assert set(body) == {"error", "error_description"}


# ------------------------------------------------------------------ the challenge


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE", "PUT", "OPTIONS"])
@pytest.mark.parametrize("path", ["/mcp", "/mcp/", "/mcp/anything"])
def test_nobody_is_invited_and_told_no_error(served: Served, method: str, path: str) -> None:
    assert_told(served.request(method, path), 401, "unauthenticated", INVITATION)


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer ovat_nope"},
        {"authorization": "Bearer ovk_nope"},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": "Basic dXNlcjpwYXNz"},
        {"authorization": "Bearer \x7f"},
        {"authorization": "Bearer " + "x" * 513},
        {"x-api-key": "ovk_nope"},
        {"x-api-key": ""},
    ],
)
def test_a_bad_credential_is_told_so(served: Served, headers: dict[str, str]) -> None:
    assert_told(served.request("POST", headers=headers), 401, "invalid_token", REFUSAL)


def test_the_challenge_names_the_well_known_in_front_of_the_issuers_path(served: Served, configure: Any) -> None:
    configure(issuer="https://host.example/auth")
    challenge = served.request("POST", "/auth/mcp").headers["www-authenticate"]
    assert 'resource_metadata="https://host.example/.well-known/oauth-protected-resource/auth/mcp"' in challenge


def test_behind_a_proxy_the_challenge_names_the_public_origin(served: Served) -> None:
    headers = {"x-forwarded-proto": "https", "x-forwarded-host": "mcp.example.com"}
    challenge = served.request("POST", headers=headers).headers["www-authenticate"]
    assert 'resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/mcp"' in challenge


def test_a_host_that_cannot_be_one_is_refused_before_anything_else(served: Served) -> None:
    response = served.request("POST", headers={"host": "a b", "authorization": "Bearer ovat_x"})
    assert_told(response, 400, "invalid_request", None)


def test_without_oauth_there_is_no_challenge_and_no_token_but_keys_work(
    served: Served, alice: Person, configure: Callable[..., Any]
) -> None:
    token = connected(registered(), alice.by_key).access_token
    configure(enabled=False)
    assert_told(served.request("POST"), 401, "unauthenticated", None)
    assert_told(served.rpc(secret=token), 401, "invalid_token", None)
    assert served.rpc(secret=alice.api_key).status_code == 200
    assert_told(served.call("administer", secret=token), 401, "invalid_token", None)


# ------------------------------------------------------------------ which credential


def test_a_token_and_a_key_open_the_door_by_every_header(served: Served, alice: Person) -> None:
    token = connected(registered(), alice.by_key).access_token
    for headers in (
        {"authorization": f"Bearer {token}"},
        {"authorization": f"bearer {token}"},
        {"authorization": f"Bearer {alice.api_key}"},
        {"x-api-key": alice.api_key},
    ):
        assert served.rpc(headers=headers).status_code == 200


def test_what_begins_like_a_token_is_never_looked_up_as_a_key(served: Served, alice: Person) -> None:
    """Even when the key table holds its very digest."""
    ApiKey.objects.filter(member=alice.member).update(digest=credentials.digest("ovat_a-key-in-disguise"))
    for headers in ({"authorization": "Bearer ovat_a-key-in-disguise"}, {"x-api-key": "ovat_a-key-in-disguise"}):
        assert_told(served.rpc(headers=headers), 401, "invalid_token", REFUSAL)


def test_two_credentials_are_refused_and_not_chosen_from(served: Served, alice: Person, bob: Person) -> None:
    both = [("authorization", f"Bearer {alice.api_key}"), ("x-api-key", alice.api_key)]
    twice = [("authorization", f"Bearer {alice.api_key}"), ("authorization", f"Bearer {bob.api_key}")]
    keys = [("x-api-key", alice.api_key), ("x-api-key", alice.api_key)]
    for headers in (both, twice, keys):
        assert_told(served.request("POST", headers=headers), 401, "invalid_token", REFUSAL)


def test_a_credential_in_the_query_or_in_a_cookie_is_none(served: Served, alice: Person) -> None:
    token = connected(registered(), alice.by_key).access_token
    response = served.request("POST", f"/mcp?access_token={token}", headers={"cookie": f"access_token={token}"})
    assert_told(response, 401, "unauthenticated", INVITATION)


# ------------------------------------------------------------------ what ends


def _revoked(person: Person, client: Client, token: str) -> None:
    revocation.revoke(client=client, token=token)


def _rotated(person: Person, client: Client, token: str) -> None:
    accounts.rotate_api_key(account=person.member.account.name, name=person.member.name)


def _demoted(person: Person, client: Client, token: str) -> None:
    Member.objects.filter(pk=person.member.pk).update(role=Role.USER)


def _deactivated(person: Person, client: Client, token: str) -> None:
    Member.objects.filter(pk=person.member.pk).update(is_active=False)


def _blocked(person: Person, client: Client, token: str) -> None:
    Client.objects.filter(pk=client.pk).update(blocked_at=timezone.now())


def _expired(person: Person, client: Client, token: str) -> None:
    AccessToken.objects.update(expires_at=timezone.now())


def _ended(person: Person, client: Client, token: str) -> None:
    revocation.revoke_user_tokens(account=person.member.account.name, name=person.member.name)


@pytest.mark.parametrize("end", [_revoked, _rotated, _demoted, _deactivated, _blocked, _expired, _ended])
def test_what_has_ended_is_refused_at_the_next_request(
    served: Served, alice: Person, end: Callable[[Person, Client, str], None]
) -> None:
    client = registered()
    token = connected(client, alice.by_key).access_token
    assert served.rpc(secret=token).status_code == 200
    end(alice, client, token)
    assert_told(served.rpc(secret=token), 401, "invalid_token", REFUSAL)


def test_a_key_ends_with_its_rotation_and_with_its_owner(served: Served, alice: Person, bob: Person) -> None:
    accounts.rotate_api_key(account="acme", name="alice")
    Member.objects.filter(pk=bob.member.pk).update(is_active=False)
    for gone in (alice.api_key, bob.api_key):
        assert_told(served.rpc(secret=gone), 401, "invalid_token", REFUSAL)


def test_a_token_for_another_resource_is_refused(served: Served, alice: Person) -> None:
    token = connected(registered(), alice.by_key).access_token
    elsewhere = served.rpc(secret=token, base_url="http://elsewhere.example")
    assert elsewhere.status_code == 401
    assert 'error="invalid_token"' in elsewhere.headers["www-authenticate"]
    assert served.rpc(secret=token, base_url=ISSUER).status_code == 200


def test_a_promotion_leaves_the_token_with_the_role_that_it_had(served: Served, bob: Person) -> None:
    token = connected(registered(), bob.by_key).access_token
    Member.objects.filter(pk=bob.member.pk).update(role=Role.ADMIN)
    assert text_of(served.call("name", secret=token)) == "acme/bob user Test client"


# ------------------------------------------------------------------ scopes


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize("kind", ["official", "fast", "lowlevel", "bare"])
@pytest.mark.parametrize(
    ("tool", "granted", "needed"),
    [("administer", "mcp", "mcp admin"), ("administer", "fs", "fs admin"), ("administer_files", "mcp", "mcp fs admin")],
)
def test_a_tool_beyond_the_tokens_scope_is_403_with_all_scopes_that_it_takes(
    serve: Serve, alice: Person, caplog: Any, kind: str, revision: str, tool: str, granted: str, needed: str
) -> None:
    token = connected(registered(), alice.by_key, scope=granted).access_token
    response = serve(kind).call(tool, secret=token, revision=revision)
    challenge = f'Bearer error="insufficient_scope", {METADATA}, scope="{needed}"'
    assert_told(response, 403, "insufficient_scope", challenge)
    assert servers.ran == []
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING and record.exc_info]


@pytest.mark.parametrize("revision", ["2025-11-25", MODERN])
@pytest.mark.parametrize("kind", ["official", "fast", "lowlevel", "bare"])
def test_with_the_scope_the_tool_runs(serve: Serve, alice: Person, kind: str, revision: str) -> None:
    token = connected(registered(), alice.by_key, scope="mcp fs admin").access_token
    assert text_of(serve(kind).call("administer_files", secret=token, revision=revision)) == "done"
    assert servers.ran == ["administer_files"]


def test_a_key_holds_what_its_owners_role_may_have_and_is_not_sent_to_ask_for_more(
    served: Served, alice: Person, bob: Person
) -> None:
    assert_told(served.call("administer", secret=bob.api_key), 403, "insufficient_scope", None)
    assert servers.ran == []
    assert text_of(served.call("administer", secret=alice.api_key)) == "done"


def test_a_refusal_after_the_stream_began_is_a_refusal_in_the_stream(served: Served, alice: Person) -> None:
    token = connected(registered(), alice.by_key).access_token
    options = {"name": "reports_progress", "arguments": {}, "_meta": {"progressToken": 1}}
    response = served.rpc("tools/call", secret=token, params=options)
    assert "notifications/progress" in response.text
    assert message_of(response)["result"]["isError"]
    assert servers.ran == []


def test_a_token_without_any_configured_scope_is_403(served: Served, alice: Person) -> None:
    token = connected(registered(), alice.by_key).access_token
    AccessToken.objects.update(scope="forgotten")
    challenge = f'Bearer error="insufficient_scope", {METADATA}, scope="mcp"'
    assert_told(served.rpc(secret=token), 403, "insufficient_scope", challenge)


WAYS_TO_WRITE_A_CALL = (
    '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"administer","arguments":{}}}',
    '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"name","arguments":{},"name":"administer"}}',
    '{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call","params":{"name":"administer"}}',
    '[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"administer","arguments":{}}}]',
    '{"jsonrpc":"2.0","id":1,"method":"tools\\u002fcall","params":{"name":"\\u0061dminister","arguments":{}}}',
    '\ufeff{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"administer","arguments":{}}}',
    '{"jsonrpc":"2.0","method":"tools/call","params":{"name":"administer","arguments":{}}}',
)
WAYS_TO_ANNOUNCE_IT: tuple[dict[str, str], ...] = (
    {"mcp-protocol-version": "2025-11-25"},
    {"mcp-protocol-version": MODERN, "mcp-method": "tools/list"},
    {"mcp-protocol-version": MODERN, "mcp-method": "tools/call", "mcp-name": "name"},
    {},
)


@pytest.mark.parametrize("kind", ["official", "fast"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-32"])
def test_no_way_of_writing_a_call_gets_past_the_scope(serve: Serve, alice: Person, kind: str, encoding: str) -> None:
    token = connected(registered(), alice.by_key).access_token
    served = serve(kind)
    seen = set()
    for body, announced, content_type in itertools.product(
        WAYS_TO_WRITE_A_CALL, WAYS_TO_ANNOUNCE_IT, ("application/json", "application/json; charset=utf-16", "text/plain")
    ):
        sent = {"authorization": f"Bearer {token}", "accept": ACCEPT, "content-type": content_type, **announced}
        seen.add(served.request("POST", content=body.encode(encoding), headers=sent).status_code)
    assert servers.ran == []
    assert not {status for status in seen if status >= 500}
    assert encoding != "utf-8" or 403 in seen


# ------------------------------------------------------------------ origins


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://testserver", 403),  # nobody has configured it: it may be a rebound name
        ("http://localhost:6274", 200),
        ("http://127.0.0.1:8080", 200),
        ("https://[::1]", 200),
        ("https://app.example", 200),
        ("https://APP.example", 200),
        ("https://app.example:8443", 403),
        ("http://app.example", 403),
        ("https://evil.example", 403),
        ("https://testserver", 403),
        ("http://testserver.evil.example", 403),
        ("http://localhost.evil.example", 403),
        ("http://127.0.0.1.evil.example:80", 403),
        ("http://localhost@evil.example", 403),
        ("null", 403),
        ("", 403),
        ("https://", 403),
    ],
)
def test_a_page_of_a_foreign_origin_may_call_only_with_a_token_of_its_own_client(
    served: Served, alice: Person, origin: str, expected: int
) -> None:
    client = registered(redirect_uris=["https://app.example/callback"])
    token = connected(
        client,
        alice.by_key,
    ).access_token
    assert served.rpc(secret=token, headers={"origin": origin}).status_code == expected


def test_a_page_of_our_own_configured_origin_may_call(
    served: Served, alice: Person, configure: Callable[..., Config]
) -> None:
    own = {"origin": "http://testserver"}
    assert served.rpc(secret=alice.api_key, headers=own).status_code == 403
    configure(public_base_url="http://testserver")
    assert served.rpc(secret=alice.api_key, headers=own).status_code == 200


def test_a_page_of_a_foreign_origin_may_not_use_a_key_and_without_one_is_invited(served: Served, alice: Person) -> None:
    foreign = {"origin": "https://app.example"}
    assert_told(served.rpc(secret=alice.api_key, headers=foreign), 403, "forbidden", None)
    assert_told(served.rpc(headers=foreign), 401, "unauthenticated", INVITATION)
    assert_told(served.rpc(secret="ovat_nope", headers=foreign), 401, "invalid_token", REFUSAL)


def test_two_origins_are_one_too_many(served: Served, alice: Person) -> None:
    headers = [("x-api-key", alice.api_key), ("origin", "http://testserver"), ("origin", "http://testserver")]
    assert_told(served.request("POST", headers=headers), 403, "forbidden", None)


# ------------------------------------------------------------------ methods and bodies


@pytest.mark.parametrize("kind", ["official", "fast", "lowlevel"])
@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_there_is_nothing_to_stream_and_no_session_to_end(serve: Serve, alice: Person, kind: str, method: str) -> None:
    response = serve(kind).request(method, headers={"x-api-key": alice.api_key, "accept": ACCEPT})
    assert_told(response, 405, "method_not_allowed", None)
    assert response.headers["allow"] == "POST"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b'{"a":' * 5000])
def test_a_body_that_is_no_message_is_a_bad_request(served: Served, alice: Person, content: bytes) -> None:
    headers = {"x-api-key": alice.api_key, "accept": ACCEPT, "content-type": "application/json"}
    assert served.request("POST", content=content, headers=headers).status_code == 400


def test_a_body_beyond_the_bound_is_refused_declared_or_not(served: Served, alice: Person) -> None:
    headers = {"x-api-key": alice.api_key, "accept": ACCEPT, "content-type": "application/json"}
    assert_told(served.request("POST", content=b" " * (MAX_BODY + 1), headers=headers), 413, "invalid_request", None)

    async def chunks() -> Any:
        for _ in range(MAX_BODY // 2**20 + 1):
            yield b" " * 2**20

    assert_told(served.request("POST", content=chunks(), headers=headers), 413, "invalid_request", None)


def test_the_largest_body_is_read_whole(serve: Serve, alice: Person) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "name", "arguments": {}}}
    content = json.dumps(message).encode().ljust(MAX_BODY)
    headers = {"x-api-key": alice.api_key, "accept": ACCEPT, "content-type": "application/json"}
    assert text_of(serve().request("POST", content=content, headers=headers)).startswith("acme/alice")


def test_nothing_of_a_strangers_body_is_read(served: Served) -> None:
    """A stranger may send slowly or without end: nobody waits for it."""

    async def endless() -> Any:
        while True:
            await asyncio.sleep(3600)
            yield b" "

    assert served.request("POST", content=endless()).status_code == 401


# ------------------------------------------------------------------ browsers


def test_a_page_may_read_every_answer_of_mcp_the_refusals_too(serve: Serve) -> None:
    from project.asgi import Root

    served = serve()
    composed = Served(PublicOrigin(Root()), served.portal, served.client)
    page = {"origin": "https://app.example"}
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,mcp-method"}
    preflight = composed.request("OPTIONS", headers=page | asked)
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, "*")
    refused = composed.request("POST", headers=page)
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "*")
    assert "WWW-Authenticate" in refused.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in refused.headers


# ------------------------------------------------------------------ trouble


def test_trouble_with_the_database_is_503_and_nobodys_token_is_invalid(
    served: Served, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr(Statement, "_execute", broken)
    response = served.rpc(secret=alice.api_key)
    assert_told(response, 503, "temporarily_unavailable", None)
    assert int(response.headers["retry-after"]) > 0
    assert "locked" not in response.text


def test_a_server_that_fails_is_a_500_without_a_traceback(serve: Serve, alice: Person) -> None:
    headers = {"x-api-key": alice.api_key}
    response = serve("bare").request("POST", content=b"{", headers=headers)
    assert_told(response, 500, "server_error", None)
    assert "Traceback" not in response.text


# ------------------------------------------------------------------ the story


def test_the_first_call_of_a_connection_is_told_once(
    served: Served, alice: Person, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ovauth.audit")
    client = registered(client_name="Claude")
    token = redeemed(client, approved(client, alice.by_key)).access_token
    for _ in range(3):
        assert served.rpc(secret=token).status_code == 200
        assert served.rpc(secret=alice.api_key).status_code == 200
    told = [record.__dict__["audit"] for record in caplog.records if record.getMessage() == "connection.first_call"]
    assert len(told) == 1
    assert logs.sentence(told[0]).startswith("connected         Claude: tools/list answered in ")


def test_a_call_that_needs_more_is_told_as_part_of_the_story_and_as_no_refusal(
    served: Served, alice: Person, bob: Person, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ovauth")
    caplog.set_level(logging.INFO, "ovauth.audit")
    token = connected(registered(client_name="Claude"), alice.by_key, scope="mcp").access_token
    assert served.call("administer", secret=token).status_code == 403
    assert served.call("administer", secret=bob.api_key).status_code == 403
    told = [record.__dict__["audit"] for record in caplog.records if record.getMessage() == "call.missed_scope"]
    assert [logs.sentence(each) for each in told] == [
        "needs more        Claude: admin for administer",
        "needs more        acme/bob with an API key: admin for administer",
    ]
    assert not [record for record in caplog.records if "refused" in record.getMessage()]


def test_a_stream_that_is_not_offered_is_no_event_for_the_log(
    serve: Serve, alice: Person, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ovauth")
    response = serve("official").request("GET", headers={"x-api-key": alice.api_key})
    assert response.status_code == 405
    assert not [record for record in caplog.records if "refused" in record.getMessage()]
