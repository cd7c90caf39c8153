"""The main job through the mcp package's own routes, on our Provider: the official client, over real HTTP."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
import uvicorn
from asgiref.sync import sync_to_async
from django.utils import timezone
from mcp.server.auth.provider import TokenError
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions, RevocationOptions
from mcp.server.mcpserver import MCPServer
from mcp.shared.auth import OAuthClientInformationFull
from starlette.routing import Mount
from starlette.types import ASGIApp

import ovauth
from ovauth import credentials
from ovauth.flows import accounts, clients
from ovauth.models import AccessToken, AuditEvent, Client, Grant
from ovauth.resource.sdk import Provider
from ovauth.web.public_origin import PublicOrigin
from ovauth.web.serving import DjangoOnThreads
from tests.conftest import CHALLENGE, VERIFIER, Person, works
from tests.journeys.people import CALLBACK, Browser, OfficialClient
from tests.resource.conftest import close_connections

pytestmark = pytest.mark.django_db(transaction=True)


def notes(issuer: str) -> MCPServer:
    """Somebody's server, protected by the package's own routes and bearer check."""
    server = MCPServer(
        "notes",
        auth_server_provider=Provider(issuer),
        auth=AuthSettings.model_validate(
            {
                "issuer_url": issuer,
                "resource_server_url": f"{issuer}/mcp",
                "validate_token_resource": True,
                "required_scopes": ["mcp"],
                "client_registration_options": ClientRegistrationOptions(enabled=True),
                "revocation_options": RevocationOptions(enabled=True),
            }
        ),
    )

    @server.tool()
    def whoami() -> str:
        me = ovauth.current_identity()
        return f"{me.account_id}/{me.user_id} {me.client_name} {' '.join(me.scopes)}"

    @server.tool()
    @ovauth.requires("admin")
    def administer() -> str:
        return "done"

    return server


def composed(issuer: str) -> ASGIApp:
    """The package's routes first, and behind them everything else of ovauth, at one origin."""
    app = notes(issuer).streamable_http_app(stateless_http=True)
    app.router.routes.append(Mount("/", PublicOrigin(DjangoOnThreads())))
    return app


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    """The origin of a real server in a thread of this process, so that it shares the test database."""
    config = uvicorn.Config(lambda: None, host="127.0.0.1", port=0, log_level="warning", proxy_headers=False)
    socket = config.bind_socket()
    origin = f"http://127.0.0.1:{socket.getsockname()[1]}"
    config.app, config.loaded_app = composed(origin), None
    server = uvicorn.Server(config)
    ready = threading.Event()
    main = server.startup

    async def startup(*args: Any, **kwargs: Any) -> None:
        await main(*args, **kwargs)
        ready.set()

    server.startup = startup  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
    thread.start()
    assert ready.wait(10)
    yield origin
    server.should_exit = True
    thread.join(10)
    close_connections()


@pytest.fixture
def url(origin: str, transactional_db: None) -> str:
    """The same, with a database for one test."""
    return origin


def approver(url: str, api_key: str, decision: str = "approve") -> Callable[[Browser], None]:
    """Somebody with an API key, who decides what the browser waits for."""

    def decide(browser: Browser) -> None:
        answer = httpx2.post(
            f"{url}/api/v1/auth/oauth-verify",
            json={"pending_id": browser.pending_id, "decision": decision},
            headers={"x-api-key": api_key},
        )
        assert answer.status_code == 200, answer.text

    return decide


def text_of(result: Any) -> str:
    return "".join(part.text for part in result.content)


@pytest.mark.parametrize("method", ["none", "client_secret_basic", "client_secret_post", None])
def test_from_nothing_to_a_tool_call_through_refresh_to_revocation(url: str, alice: Person, method: str | None) -> None:
    official = OfficialClient(url, approver(url, alice.api_key), token_endpoint_auth_method=method, client_name="Notes app")

    async def journey() -> None:
        async with official.connected() as client:
            assert {tool.name for tool in (await client.list_tools()).tools} == {"whoami", "administer"}
            assert text_of(await client.call_tool("whoami", {})) == "acme/alice Notes app mcp"
            assert (await client.call_tool("administer", {})).is_error
            first = official.storage.tokens
            assert first is not None
            await expire(first.access_token)
            assert text_of(await client.call_tool("whoami", {})) == "acme/alice Notes app mcp"
            second = official.storage.tokens
            assert second is not None
            assert second.access_token != first.access_token
            assert second.refresh_token != first.refresh_token

    asyncio.run(journey())
    assert {"/register", "/token", "/mcp"} <= {line.split()[-1] for line in official.recorder.lines}
    assert official.storage.tokens is not None
    assert official.storage.client_info is not None
    token = official.storage.tokens.access_token
    assert works(token, resource=f"{url}/mcp")
    revoked = revoke(url, official.storage.client_info, str(official.storage.tokens.refresh_token))
    assert revoked.status_code == 200
    assert not works(token, resource=f"{url}/mcp")
    assert mcp(url, token).status_code == 401


async def expire(token: str) -> None:
    rows = AccessToken.objects.filter(digest=credentials.digest(token))
    assert await sync_to_async(rows.update)(expires_at=timezone.now()) == 1


def revoke(url: str, client: OAuthClientInformationFull, token: str) -> httpx2.Response:
    form = {"token": token, "client_id": client.client_id}
    if client.token_endpoint_auth_method == "client_secret_basic":
        basic = httpx2.BasicAuth(client.client_id, str(client.client_secret))
        return httpx2.post(f"{url}/revoke", data=form | {"client_secret": ""}, auth=basic)
    return httpx2.post(f"{url}/revoke", data=form | {"client_secret": client.client_secret or ""})


def mcp(url: str, token: str) -> httpx2.Response:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    headers = {"authorization": f"Bearer {token}", "accept": "application/json, text/event-stream"}
    return httpx2.post(f"{url}/mcp", json=message, headers=headers)


# ------------------------------------------------------------------ one client without manners


class Guest:
    """A client that speaks to the package's routes by hand."""

    def __init__(self, url: str, **metadata: Any) -> None:
        self.url = url
        self.browser = Browser(url)
        asked = {"client_name": "Guest", "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "client_secret_post"}
        self.registered = httpx2.post(f"{url}/register", json=asked | metadata)
        self.told: dict[str, Any] = self.registered.json()

    @property
    def credentials(self) -> dict[str, str]:
        return {name: self.told[name] for name in ("client_id", "client_secret") if name in self.told}

    def authorize(self, **changes: Any) -> dict[str, str]:
        return {
            "response_type": "code",
            "client_id": self.told["client_id"],
            "redirect_uri": CALLBACK,
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "state": "st",
            "resource": f"{self.url}/mcp",
        } | changes

    def result(self, person: Person, decision: str = "approve", **changes: Any) -> dict[str, str]:
        self.browser.open(str(httpx2.URL(f"{self.url}/authorize", params=self.authorize(**changes))))
        approver(self.url, person.api_key, decision)(self.browser)
        return self.browser.result()

    def token(self, **form: Any) -> httpx2.Response:
        return httpx2.post(f"{self.url}/token", data=self.credentials | form)

    def redeem(self, code: str, **changes: Any) -> httpx2.Response:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
        return self.token(**form | changes)

    def refresh(self, refresh_token: str, **changes: Any) -> httpx2.Response:
        return self.token(grant_type="refresh_token", refresh_token=refresh_token, **changes)


def test_the_packages_authorize_sends_the_browser_on_to_the_endpoint_that_binds_it(url: str) -> None:
    guest = Guest(url)
    first = httpx2.get(f"{url}/authorize", params=guest.authorize(scope="mcp fs"))
    assert first.status_code == 302
    where = urlsplit(first.headers["location"])
    assert f"{where.scheme}://{where.netloc}{where.path}" == f"{url}/oauth/authorize"
    sent = {name: values[0] for name, values in parse_qs(where.query).items()}
    assert sent == guest.authorize(scope="mcp fs")
    second = httpx2.get(first.headers["location"])
    assert second.headers["location"].startswith("/oauth/authorize/page?pending=")
    assert "ovauth_browser=" in second.headers["set-cookie"]


def test_only_the_browser_that_began_gets_the_code(url: str, alice: Person) -> None:
    guest = Guest(url)
    guest.result(alice)
    other = Browser(url)
    status = other.http.get("/oauth/authorize/page/status", params={"pending": guest.browser.pending_id})
    assert status.status_code == 403


def test_what_comes_back_names_the_one_issuer(url: str, alice: Person) -> None:
    issuer = httpx2.get(f"{url}/.well-known/oauth-authorization-server").json()["issuer"]
    guest = Guest(url)
    result = guest.result(alice)
    assert (result["iss"], result["state"]) == (issuer, "st")
    assert guest.result(alice, "deny") | {"error_description": ""} == {
        "error": "access_denied",
        "error_description": "",
        "state": "st",
        "iss": issuer,
    }


def test_another_resource_is_refused_at_the_client(url: str) -> None:
    guest = Guest(url)
    sent = httpx2.get(f"{url}/authorize", params=guest.authorize(resource="https://elsewhere.example/mcp"))
    told = httpx2.get(sent.headers["location"])
    assert "error=invalid_target" in told.headers["location"]


def test_a_code_is_redeemed_once_and_its_replay_ends_everything(url: str, alice: Person) -> None:
    guest = Guest(url)
    code = guest.result(alice)["code"]
    pair = guest.redeem(code).json()
    assert mcp(url, pair["access_token"]).status_code == 200
    assert guest.redeem(code).json()["error"] == "invalid_grant"
    assert mcp(url, pair["access_token"]).status_code == 401
    assert guest.refresh(pair["refresh_token"]).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "wrong",
    [
        {"code_verifier": VERIFIER[::-1]},
        {"redirect_uri": "http://127.0.0.1:1/other"},
        {"client_secret": "ovcs_wrong"},
        {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "x"},
    ],
)
def test_a_failed_attempt_spends_nothing(url: str, alice: Person, wrong: dict[str, str]) -> None:
    guest = Guest(url)
    code = guest.result(alice)["code"]
    assert guest.redeem(code, **wrong).status_code in (400, 401)
    assert guest.redeem(code).status_code == 200


def test_another_client_gets_and_ends_nothing(url: str, alice: Person) -> None:
    guest, stranger = Guest(url), Guest(url)
    code = guest.result(alice)["code"]
    assert stranger.redeem(code).json()["error"] == "invalid_grant"
    pair = guest.redeem(code).json()
    assert stranger.redeem(code).json()["error"] == "invalid_grant"
    assert stranger.refresh(pair["refresh_token"]).json()["error"] == "invalid_grant"
    for token in (pair["refresh_token"], pair["access_token"]):
        assert httpx2.post(f"{url}/revoke", data=stranger.credentials | {"token": token}).status_code == 200
    assert mcp(url, pair["access_token"]).status_code == 200


def test_a_lost_answer_to_a_refresh_is_given_again_and_a_replay_ends_everything(
    url: str, alice: Person, configure: Any
) -> None:
    configure(refresh_grace=0)
    guest = Guest(url)
    first = guest.redeem(guest.result(alice, scope="mcp fs")["code"]).json()
    second = guest.refresh(first["refresh_token"]).json()
    again = guest.refresh(first["refresh_token"], scope="mcp").json()
    assert again["refresh_token"] == second["refresh_token"]
    assert (second["scope"], again["scope"]) == ("mcp fs", "mcp")
    assert guest.refresh(first["refresh_token"], scope="admin").json()["error"] == "invalid_scope"
    third = guest.refresh(second["refresh_token"]).json()
    assert guest.refresh(first["refresh_token"]).json()["error"] == "invalid_grant"
    assert mcp(url, third["access_token"]).status_code == 401


def test_revoking_an_access_token_ends_itself_and_a_refresh_token_everything(url: str, alice: Person) -> None:
    guest = Guest(url)
    pair = guest.redeem(guest.result(alice)["code"]).json()
    assert httpx2.post(f"{url}/revoke", data=guest.credentials | {"token": pair["access_token"]}).status_code == 200
    assert mcp(url, pair["access_token"]).status_code == 401
    second = guest.refresh(pair["refresh_token"]).json()
    assert mcp(url, second["access_token"]).status_code == 200
    assert httpx2.post(f"{url}/revoke", data=guest.credentials | {"token": second["refresh_token"]}).status_code == 200
    assert mcp(url, second["access_token"]).status_code == 401
    assert Grant.objects.get().revoked_because == "revoked by the client"


def test_a_role_that_drops_ends_the_token_at_the_package_too(url: str, alice: Person) -> None:
    guest = Guest(url)
    pair = guest.redeem(guest.result(alice)["code"]).json()
    accounts.rotate_api_key(account="acme", name="alice")
    assert mcp(url, pair["access_token"]).status_code == 401
    assert guest.refresh(pair["refresh_token"]).json()["error"] == "invalid_grant"


def test_an_api_key_opens_the_packages_server_and_says_who_calls(url: str, bob: Person) -> None:
    assert mcp(url, bob.api_key).status_code == 200
    assert mcp(url, "ovk_nope").status_code == 401


# ------------------------------------------------------------------ registration and secrets


def test_what_is_answered_is_what_is_stored_and_the_secret_is_not(url: str) -> None:
    guest = Guest(url, scope="mcp nonsense", grant_types=["authorization_code", "refresh_token", "password"])
    assert guest.registered.status_code == 201
    stored = Client.objects.get()
    assert guest.told["client_id"] == stored.client_id
    assert guest.told["scope"] == stored.scope == "mcp"
    assert guest.told["grant_types"] == stored.grant_types == ["authorization_code", "refresh_token"]
    assert guest.told["client_secret"].startswith("ovcs_")
    assert guest.told["client_secret_expires_at"] == 0
    row = Client.objects.filter(pk=stored.pk).values().get()
    assert guest.told["client_secret"] not in repr(row)
    assert bytes(row["secret_digest"]) == credentials.digest(guest.told["client_secret"])
    assert AuditEvent.objects.filter(event="client.registered", client_id=stored.client_id).exists()


def test_a_public_client_has_no_secret(url: str) -> None:
    assert "client_secret" not in Guest(url, token_endpoint_auth_method="none").told
    assert Client.objects.get().secret_digest is None


def test_the_secret_stands_after_the_secret_key_was_rotated(url: str, alice: Person, settings: Any) -> None:
    guest = Guest(url)
    code = guest.result(alice)["code"]
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another key that signs from now on"
    assert guest.redeem(code).status_code == 200


def test_a_secret_that_cannot_be_told_again_is_no_secret(url: str) -> None:
    """A client that an operator made, and one whose secret an operator renewed: refused, never let in without."""
    made = clients.make(name="Made", redirect_uris=[CALLBACK], token_endpoint_auth_method="client_secret_post")
    guest = Guest(url)
    old = guest.told["client_secret"]
    new = clients.renew_secret(client_id=guest.told["client_id"])
    for client_id, secret in (
        (made.client_id, made.client_secret),
        (made.client_id, ""),
        (guest.told["client_id"], old),
        (guest.told["client_id"], new),
    ):
        form = {"client_id": client_id, "client_secret": secret, "grant_type": "refresh_token", "refresh_token": "x"}
        answer = httpx2.post(f"{url}/token", data=form)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        ({"redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["http://example.com/callback"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://example.com/#fragment"]}, "invalid_redirect_uri"),
        ({"logo_uri": "http://example.com/logo.png"}, "invalid_client_metadata"),
        ({"client_name": "x" * 300}, "invalid_client_metadata"),
    ],
)
def test_our_rules_judge_what_registers_through_the_package(url: str, metadata: dict[str, Any], error: str) -> None:
    refused = Guest(url, **metadata)
    assert (refused.registered.status_code, refused.told["error"]) == (400, error)
    assert not Client.objects.exists()


def test_a_listener_on_loopback_may_choose_its_port(url: str, alice: Person) -> None:
    guest = Guest(url)
    elsewhere = CALLBACK.replace("33418", "40000")
    code = guest.result(alice, redirect_uri=elsewhere)["code"]
    assert guest.redeem(code, redirect_uri=elsewhere).status_code == 200
    refused = httpx2.get(f"{url}/authorize", params=guest.authorize(redirect_uri="http://127.0.0.1:1/elsewhere"))
    assert refused.status_code == 400


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example",
        "https://app.example/callback?for=us",
        "cursor://anysphere.cursor-retrieval/oauth/callback",
        "com.example.app:/callback",
    ],
)
def test_every_kind_of_redirect_uri_survives_the_packages_reading(url: str, alice: Person, uri: str) -> None:
    guest = Guest(url, redirect_uris=[uri])
    assert guest.told["redirect_uris"] == [uri]
    code = guest.result(alice, redirect_uri=uri)["code"]
    assert guest.browser.status().json()["redirect_url"].startswith(uri)
    assert guest.redeem(code, redirect_uri=uri).status_code == 200


def test_nobody_registers_and_nobody_is_known_while_oauth_or_registration_is_off(
    url: str, alice: Person, configure: Any
) -> None:
    guest = Guest(url)
    pair = guest.redeem(guest.result(alice)["code"]).json()
    configure(registration="off")
    assert Guest(url).registered.status_code == 400
    configure(registration="open", enabled=False)
    assert Guest(url).registered.status_code == 400
    assert guest.refresh(pair["refresh_token"]).status_code == 401
    assert mcp(url, pair["access_token"]).status_code == 401
    assert mcp(url, alice.api_key).status_code == 200


# ------------------------------------------------------------------ the interface itself


def test_the_identity_assertion_grant_is_not_supported() -> None:
    provider: Any = Provider("http://127.0.0.1:1")
    with pytest.raises(TokenError) as refused:
        asyncio.run(provider.exchange_identity_assertion(None, None))
    assert refused.value.error == "unsupported_grant_type"


def test_what_is_unknown_is_none_and_revoking_it_does_nothing(transactional_db: None) -> None:
    from mcp.server.auth.provider import AccessToken as PackageToken

    provider = Provider("http://127.0.0.1:1")
    nobody = OAuthClientInformationFull(client_id="nobody", redirect_uris=None)

    async def ask() -> list[Any]:
        await provider.revoke_token(PackageToken(token="ovat_x", client_id="nobody", scopes=[]))
        return [
            await provider.get_client("nobody"),
            await provider.load_authorization_code(nobody, "ovac_x"),
            await provider.load_refresh_token(nobody, "ovrt_x"),
            await provider.load_access_token("ovat_x"),
        ]

    assert asyncio.run(ask()) == [None, None, None, None]
