"""OpenViking's OAuth provider and store, from its package, on the routes of the mcp package, as its `server/app.py` mounts
them; the bearer check is the mcp package's middleware with the provider as verifier, in front of an MCP server that does
nothing. (OpenViking asks its key manager beside that, which is not part of this.)

    PYTHON openviking_server.py PORT          in a folder of its own; run by the Python of the peer's environment
"""

import secrets
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
from mcp.server.auth.provider import ProviderTokenVerifier
from mcp.server.auth.routes import create_auth_routes
from mcp.server.auth.settings import ClientRegistrationOptions, RevocationOptions
from openviking.server.identity import Role
from openviking.server.oauth.provider import OpenVikingOAuthProvider
from openviking.server.oauth.storage import OAuthStore
from pydantic import AnyHttpUrl
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

ISSUER = "http://127.0.0.1:1933"
REDIRECT_URI = "http://localhost:8123/callback"
ANSWER = b'{"jsonrpc":"2.0","id":1,"result":{}}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]
WHO = {"account_id": "default", "user_id": "alice", "role": "user", "authorizing_key_fp": "f" * 64}
BOUND = {"scope": "mcp", "resource": f"{ISSUER}/mcp", **WHO}

store = OAuthStore(Path("oauth.db").resolve())


async def role_of(account_id: str, user_id: str) -> Role:
    return Role.USER


provider = OpenVikingOAuthProvider(store=store, issuer=ISSUER, role_resolver=role_of)


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})


class Mcp:
    """An application and no function: Starlette wraps functions."""

    guarded = RequireAuthMiddleware(nothing, required_scopes=[])

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.guarded(scope, receive, send)


async def prepare(request: Request) -> JSONResponse:
    """What the load needs: codes, refresh tokens and access tokens of one public client."""
    wish = await request.json()
    client_id = secrets.token_urlsafe(16)
    await store.register_client(client_id=client_id, redirect_uris=[REDIRECT_URI], client_name="Bench", scope="mcp")
    made = []
    for _ in range(wish.get("codes", 0)):
        code = provider.mint_authorization_code()
        await store.insert_auth_code(
            code_plain=code,
            client_id=client_id,
            redirect_uri=REDIRECT_URI,
            code_challenge=wish["challenge"],
            code_challenge_method="S256",
            ttl_seconds=600,
            **BOUND,
        )
        made.append([code, client_id, REDIRECT_URI])
    for _ in range(wish.get("refresh", 0)):
        token = provider._mint_refresh()
        await store.insert_refresh(token_plain=token, client_id=client_id, ttl_seconds=2_592_000, **BOUND)
        made.append([token, client_id])
    for _ in range(wish.get("tokens", 0)):
        token = provider._mint_access()
        await store.insert_access(token_plain=token, client_id=client_id, ttl_seconds=36_000, **BOUND)
        made.append([token])
    return JSONResponse(made)


async def ready(request: Request) -> JSONResponse:
    return JSONResponse({})


@asynccontextmanager
async def lifespan(app: Starlette) -> Any:
    await store.initialize()
    yield
    await store.close()


application = Starlette(
    routes=[
        *create_auth_routes(
            provider=provider,
            issuer_url=AnyHttpUrl(ISSUER),
            client_registration_options=ClientRegistrationOptions(enabled=True, default_scopes=["mcp"]),
            revocation_options=RevocationOptions(enabled=True),
        ),
        Route("/mcp", Mcp(), methods=["POST"]),
        Route("/prepare", prepare, methods=["POST"]),
        Route("/ready", ready),
    ],
    lifespan=lifespan,
)
guarded = Middleware(AuthenticationMiddleware, backend=BearerAuthBackend(ProviderTokenVerifier(provider)))


class OnlyAtMcp:
    """The bearer check stands before `/mcp` alone; the other endpoints do not pay for it."""

    def __init__(self, app: Any) -> None:
        self.plain, self.checked = app, guarded.cls(app, *guarded.args, **guarded.kwargs)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await (self.checked if scope.get("path") == "/mcp" else self.plain)(scope, receive, send)


if __name__ == "__main__":
    uvicorn.run(
        OnlyAtMcp(application),
        port=int(sys.argv[1]),
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ws="none",
    )
