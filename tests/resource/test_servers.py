"""Somebody else's server in the place of the bundled one: every kind, every protocol revision, and who calls."""

import asyncio
from typing import Any

import pytest

from ovauth.conf import BUNDLED_SERVER, Misconfigured
from ovauth.resource import loading
from ovauth.resource.gate import Gate
from tests.conftest import Person, connected, registered
from tests.resource import servers
from tests.resource.conftest import MODERN, REVISIONS, SERVERS, Serve, message_of, started, text_of

pytestmark = pytest.mark.django_db(transaction=True)

KINDS = ("official", "fast", "lowlevel")


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_server_speaks_every_revision_and_knows_its_caller(
    serve: Serve, alice: Person, kind: str, revision: str
) -> None:
    pair = connected(registered(client_name="Claude"), alice.by_key)
    served = serve(kind)
    if revision == MODERN:
        opened = served.rpc("server/discover", secret=pair.access_token, revision=revision)
        assert MODERN in message_of(opened)["result"]["supportedVersions"]
    else:
        hello = {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "tests", "version": "1"}}
        opened = served.rpc("initialize", secret=pair.access_token, params=hello, revision=revision)
        assert message_of(opened)["result"]["protocolVersion"] == revision
    tools = message_of(served.rpc("tools/list", secret=pair.access_token, revision=revision))["result"]["tools"]
    assert {tool.__name__ for tool in servers.TOOLS} <= {tool["name"] for tool in tools}
    for tool in ("name", "slow_name"):
        said = text_of(served.call(tool, secret=pair.access_token, revision=revision))
        assert said == "acme/alice admin Claude"


@pytest.mark.parametrize("kind", KINDS)
def test_code_written_for_the_package_knows_the_caller_but_never_the_token(serve: Serve, alice: Person, kind: str) -> None:
    client = registered()
    pair = connected(client, alice.by_key, scope="mcp fs")
    said = text_of(serve(kind).call("package_name", secret=pair.access_token))
    assert said == f"acme/alice {client.client_id} mcp fs"


@pytest.mark.parametrize("revision", ["2025-11-25", MODERN])
@pytest.mark.parametrize("kind", [*KINDS, "bare"])
def test_many_callers_at_once_never_see_each_other(
    serve: Serve, alice: Person, bob: Person, charlie: Person, kind: str, revision: str
) -> None:
    callers = {
        alice.api_key: "acme/alice admin None",
        bob.api_key: "acme/bob user None",
        charlie.api_key: "other/charlie user None",
        connected(registered(client_name="Claude"), alice.by_key).access_token: "acme/alice admin Claude",
    }
    served = serve(kind)

    async def all_at_once() -> list[tuple[str, Any]]:
        sent = [secret for _ in range(8) for secret in callers]
        options = {"params": {"name": "slow_name", "arguments": {}}, "revision": revision}
        answers = await asyncio.gather(*(served.rpc_async("tools/call", secret, dict(options)) for secret in sent))
        return list(zip(sent, answers, strict=True))

    for secret, answer in served.portal.call(all_at_once):
        assert text_of(answer) == callers[secret]


def test_code_written_for_fastmcp_knows_the_caller(serve: Serve, alice: Person) -> None:
    token = connected(registered(), alice.by_key, scope="mcp fs").access_token
    assert text_of(serve("fast").call("fast_name", secret=token)) == "acme/alice mcp fs"


def test_a_session_belongs_to_its_caller_and_each_call_in_it_to_its_own_token(
    serve: Serve, alice: Person, bob: Person
) -> None:
    client = registered()
    narrow = connected(client, alice.by_key, scope="mcp").access_token
    wide = connected(client, alice.by_key, scope="mcp admin").access_token
    stranger = connected(client, bob.by_key, scope="mcp").access_token
    served = serve("stateful")
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "tests", "version": "1"}}
    opened = served.rpc("initialize", secret=narrow, params=hello)
    session = {"mcp-session-id": opened.headers["mcp-session-id"]}
    said = [text_of(served.call("package_name", secret=secret, headers=session)) for secret in (narrow, wide, narrow)]
    assert [each.split(" ", 2)[2] for each in said] == ["mcp", "mcp admin", "mcp"]
    assert served.call("administer", secret=narrow, headers=session).status_code == 403
    assert text_of(served.call("administer", secret=wide, headers=session)) == "done"
    assert served.call("name", secret=stranger, headers=session).status_code == 404
    assert served.request("DELETE", headers=session | {"authorization": f"Bearer {narrow}"}).status_code == 200


@pytest.mark.parametrize("path", ["/mcp", "/mcp/"])
def test_a_bare_application_sees_mcp_at_the_root_and_no_credential(serve: Serve, alice: Person, path: str) -> None:
    served = serve("bare")
    sent = {"x-api-key": alice.api_key, "cookie": "sessionid=x", "proxy-authorization": "Basic eDp5", "x-other": "1"}
    seen = served.request("POST", path, headers=sent, json={}).json()
    assert (seen["path"], seen["root_path"]) == ("/mcp", "")
    assert "x-other" in seen["headers"]
    assert not {"x-api-key", "authorization", "cookie", "proxy-authorization"} & set(seen["headers"])


def test_below_an_issuer_with_a_path_the_server_still_answers_at_mcp(serve: Serve, alice: Person, configure: Any) -> None:
    configure(issuer="https://example.com/auth")
    for kind in ("official", "bare"):
        assert text_of(serve(kind).call("name", secret=alice.api_key, path="/auth/mcp")).startswith("acme/alice")


def test_a_bare_application_may_answer_other_methods_and_paths(serve: Serve, alice: Person) -> None:
    served = serve("bare")
    for method, path in (("GET", "/mcp"), ("DELETE", "/mcp"), ("POST", "/mcp/messages")):
        seen = served.request(method, path, headers={"x-api-key": alice.api_key}).json()
        assert (seen["method"], seen["path"]) == (method, path)


def test_an_application_without_lifespan_is_started_and_stopped_for_it() -> None:
    async def life() -> list[str]:
        async with started(Gate(loading.load(f"{SERVERS}:bare"))) as said:
            pass
        return said

    assert asyncio.run(life()) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_lifespan_of_a_server_is_its_own(kind: str) -> None:
    async def life() -> list[str]:
        async with started(Gate(loading.load(f"{SERVERS}:{kind}"))) as said:
            assert said == ["lifespan.startup.complete"]
        return said

    assert asyncio.run(life())[1:] == ["lifespan.shutdown.complete"]


# ------------------------------------------------------------------ the bundled server


def test_the_bundled_server_has_three_tools_that_say_what_they_do(serve: Serve, alice: Person) -> None:
    served = serve(BUNDLED_SERVER)
    tools = message_of(served.rpc("tools/list", secret=alice.api_key))["result"]["tools"]
    assert [tool["name"] for tool in tools] == ["whoami", "compare_texts", "server_status"]
    assert all(tool["title"] and tool["description"] and tool["annotations"]["readOnlyHint"] for tool in tools)
    assert loading.describe(BUNDLED_SERVER) == "bundled example, 3 tools"


def test_the_bundled_whoami_tells_everything_about_the_caller(serve: Serve, bob: Person) -> None:
    client = registered(client_name="Claude")
    pair = connected(client, bob.by_key, scope="mcp fs")
    answer = message_of(serve(BUNDLED_SERVER).call("whoami", secret=pair.access_token))
    assert answer["result"]["structuredContent"] == {
        "account_id": "acme",
        "user_id": "bob",
        "role": "user",
        "client_id": client.client_id,
        "client_name": "Claude",
        "scopes": ["mcp", "fs"],
        "from_oauth": True,
    }


def test_the_bundled_comparison_shows_what_changed_within_bounds(serve: Serve, bob: Person) -> None:
    served = serve(BUNDLED_SERVER)
    said = text_of(served.call("compare_texts", secret=bob.api_key, arguments={"before": "a\nb", "after": "a\nc"}))
    assert said.splitlines()[-3:] == [" a", "-b", "+c"]
    for too_much in ("x" * 20_001, "\n" * 501):
        refused = served.call("compare_texts", secret=bob.api_key, arguments={"before": too_much, "after": ""})
        assert message_of(refused)["result"]["isError"]


# ------------------------------------------------------------------ what cannot be served


@pytest.mark.parametrize(
    ("import_path", "sentence"),
    [
        ("nowhere.at_all:server", "there is no module nowhere"),
        ("tests.resource.nowhere:server", "there is no module tests.resource.nowhere"),
        (f"{SERVERS}:server", "has no `server`; it has: official, fast, lowlevel, bare, with_sessions, stateful"),
        (f"{SERVERS}:a_number", "is of type int"),
        (f"{SERVERS}:factory", "a factory is not called"),
        (f"{SERVERS}:MCPServer", "is a class"),
        (f"{SERVERS}:wrong_order", "the tool left_open is registered without its guard"),
        (f"{SERVERS}:fast_wrong_order", "the tool left_open is registered without its guard"),
        (f"{SERVERS}:unknown_scope", "the tool unreachable requires the scope nonsense"),
        ("tests.resource.broken:server", "importing tests.resource.broken failed (ZeroDivisionError"),
        ("tests.resource.own_auth:official", "checks tokens itself"),
        ("tests.resource.own_auth:fast", "checks tokens itself"),
    ],
)
def test_what_cannot_be_served_is_refused_in_a_sentence(import_path: str, sentence: str) -> None:
    for ask in (loading.load, loading.describe):
        with pytest.raises(Misconfigured) as refused:
            ask(import_path)
        assert sentence in str(refused.value)
        assert "OVAUTH_MCP_SERVER" in str(refused.value)


@pytest.mark.parametrize(
    ("import_path", "words"),
    [
        (f"{SERVERS}:official", f"{SERVERS}:official, 6 tools"),
        (f"{SERVERS}:fast", f"{SERVERS}:fast, 6 tools"),
        (f"{SERVERS}:lowlevel", f"{SERVERS}:lowlevel"),
    ],
)
def test_a_server_is_described_in_a_few_words(import_path: str, words: str) -> None:
    assert loading.describe(import_path) == words
