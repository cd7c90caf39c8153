"""The mcp package's own authorization routes and bearer check, on our flows and database.

    provider = Provider("https://mcp.example.com")
    server = MCPServer("notes", auth_server_provider=provider, auth=AuthSettings(
        issuer_url="https://mcp.example.com", resource_server_url="https://mcp.example.com/mcp",
        client_registration_options=ClientRegistrationOptions(enabled=True),
        revocation_options=RevocationOptions(enabled=True)))
    app = server.streamable_http_app(stateless_http=True)
    app.router.routes.append(Mount("/", project.asgi.application))

The package then answers `/authorize`, `/token`, `/register`, `/revoke`, the discovery documents and `/mcp`; everything
else of the same origin (the code page, the console, the API) is ovauth's own application, behind it, in the same process or
behind a proxy that divides the paths. One origin, one issuer: clients compare the `iss` that comes back with the code with
the issuer that they discovered (RFC 9207).

What the package's interface leaves open, and how it is closed:

- **The browser.** Only the browser that began may receive the code, and the package never shows us its cookies. So
  `authorize` sends it on to our own authorization endpoint, at `/oauth/authorize`, with the same parameters; that one
  judges them again, binds the browser and shows the code page.
- **Client secrets.** The package compares them in clear, we store digests. So a client that registers through the package
  gets a secret derived from its id under the secret key, which is not in the database: it can be told again and is stored
  nowhere. The secret of any other client is unknown here, so such a client is refused (public ones are not).
- **PKCE** is checked by the package against the challenge of the code; the code is spent by `authorization_code.redeem`,
  as everywhere. A used code is loaded too, so that its second use is seen and ends what the first one issued.
- **`redirect_uri` and `resource` at the token endpoint**: the package wants the former repeated (OAuth 2.0), and does not
  pass the latter on; the token is for the resource that was approved.
"""

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlencode

from django.conf import settings
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    OAuthAuthorizationServerProvider,
    RefreshToken,
    RegistrationError,
    TokenError,
    TokenVerifier,
)
from mcp.shared.auth import InvalidRedirectUriError, OAuthClientInformationFull, OAuthToken
from pydantic import AnyUrl

from ovauth import bearer, threads
from ovauth.errors import InvalidToken, Refusal
from ovauth.flows import authorization_code, clients, refresh_token, revocation
from ovauth.flows.clients import Registration
from ovauth.flows.issuance import TokenPair
from ovauth.resource import identity
from ovauth.resource.identity import Identity
from ovauth.rules import client_metadata, redirect_uris

Result = TypeVar("Result")


class Client(OAuthClientInformationFull):
    """A client of ours as the package sees it; what it may ask for is judged by our rules, not by the package's."""

    def validate_redirect_uri(self, redirect_uri: AnyUrl | None) -> AnyUrl:
        """One of the registered ones, with any port on loopback (RFC 8252 §7.3)."""
        registered = self.redirect_uris or []
        if redirect_uri is None and len(registered) == 1:
            return registered[0]
        for known in registered:
            # The package registers a bare origin as it is written, and reads it with a slash when it is asked for.
            if AnyUrl(str(known)) == redirect_uri:
                return known
        if redirect_uri is not None and redirect_uris.matches(str(redirect_uri), [str(known) for known in registered]):
            return redirect_uri
        raise InvalidRedirectUriError("This redirect URI is not registered for the client.")

    def validate_scope(self, requested_scope: str | None) -> list[str] | None:
        """Our authorization endpoint chooses; a person decides."""
        return requested_scope.split() if requested_scope else None


class VerifiedToken(AccessToken):
    """An access token or API key that works, and whose it is."""

    identity: Identity


class Verifier(TokenVerifier):
    """The package's bearer check: `MCPServer(token_verifier=Verifier(issuer), auth=…)`.

    `issuer` is ovauth's, and tokens are good for its default resource. API keys are accepted too, as at the gate.
    """

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer.rstrip("/")

    @property
    def resource(self) -> str:
        return str(settings.OVAUTH.resources(self.issuer)[0])

    async def verify_token(self, token: str) -> AccessToken | None:
        """The token and who holds it, or None for one that does not work."""
        try:
            found = await _on_threads(lambda: bearer.identify(token, resource=self.resource))
        except InvalidToken:
            return None
        return VerifiedToken(
            token=token,
            client_id=found.client_id or "",
            scopes=list(found.scopes),
            resource=self.resource,
            subject=f"{found.account_id}/{found.user_id}",
            claims={
                "iss": self.issuer,
                "account_id": found.account_id,
                "user_id": found.user_id,
                "role": found.role,
            },
            identity=identity.of(found),
        )


class Provider(OAuthAuthorizationServerProvider[AuthorizationCode, RefreshToken, AccessToken]):
    """The package's authorization server interface. `issuer` is the origin that ovauth and the package's routes share;
    `authorization_endpoint` is ours, where it is not at `<issuer>/oauth/authorize`."""

    def __init__(self, issuer: str, *, authorization_endpoint: str | None = None) -> None:
        self.verifier = Verifier(issuer)
        self.issuer = self.verifier.issuer
        self.authorization_endpoint = authorization_endpoint or f"{self.issuer}/oauth/authorize"

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        """The client, or None when it is unknown or blocked, or OAuth is switched off."""
        if not settings.OVAUTH.enabled:
            return None
        found = await _on_threads(lambda: clients.described(client_id=client_id))
        return None if found is None else Client.model_validate(_members(found))

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        """Stores the client, and puts into `client_info`, which the package answers with, what was stored.

        Id and secret are ours in place of those that the package made up. Raises RegistrationError.
        """
        if not settings.OVAUTH.enabled or settings.OVAUTH.registration != "open":
            raise RegistrationError("invalid_client_metadata", "Apps cannot register themselves here.")
        document = client_info.model_dump(mode="json", exclude_none=True)
        try:
            made = await _on_threads(lambda: clients.register(document=document, derived_secret=True))
        except Refusal as refusal:
            raise RegistrationError(
                _AT_REGISTRATION.get(refusal.code, "invalid_client_metadata"), refusal.description
            ) from refusal
        stored = OAuthClientInformationFull.model_validate(_members(made))
        for name in OAuthClientInformationFull.model_fields:
            setattr(client_info, name, getattr(stored, name))

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        """The URL of our own authorization endpoint, which binds the browser that follows it."""
        asked = {
            "response_type": "code",
            "client_id": client.client_id,
            "redirect_uri": str(params.redirect_uri),
            "code_challenge": params.code_challenge,
            "code_challenge_method": "S256",
            "state": params.state,
            "scope": " ".join(params.scopes) if params.scopes else None,
            "resource": params.resource,
        }
        return f"{self.authorization_endpoint}?{urlencode({name: value for name, value in asked.items() if value})}"

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> AuthorizationCode | None:
        """What the code is bound to; a used one too, so that its replay is seen. None when it is of no use."""
        found = await _on_threads(lambda: _peek_code(client.client_id, authorization_code))
        if found is None:
            return None
        return AuthorizationCode(
            code=authorization_code,
            scopes=found.scope.split(),
            expires_at=found.expires_at.timestamp(),
            client_id=client.client_id,
            code_challenge=found.code_challenge,
            redirect_uri=AnyUrl(found.redirect_uri),
            redirect_uri_provided_explicitly=True,
            resource=found.resource,
            subject=found.subject,
        )

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: AuthorizationCode
    ) -> OAuthToken:
        """Tokens for the code, once. Raises TokenError."""
        return await self._tokens(lambda: self._redeem(client.client_id, authorization_code.code))

    async def load_refresh_token(self, client: OAuthClientInformationFull, refresh_token: str) -> RefreshToken | None:
        """What the refresh token stands for; a used one too, so that its replay is seen. None when it is of no use."""
        found = await _on_threads(lambda: _peek_refresh_token(client.client_id, refresh_token))
        if found is None:
            return None
        return RefreshToken(
            token=refresh_token,
            client_id=client.client_id,
            scopes=found.scope.split(),
            expires_at=int(found.expires_at.timestamp()),
            resource=found.resource,
            subject=found.subject,
        )

    async def exchange_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: RefreshToken, scopes: list[str]
    ) -> OAuthToken:
        """A fresh access token and the one successor of the refresh token. Raises TokenError."""
        return await self._tokens(lambda: self._rotate(client.client_id, refresh_token.token, scopes))

    async def load_access_token(self, token: str) -> AccessToken | None:
        """The token and who holds it, or None for one that does not work."""
        return await self.verifier.verify_token(token)

    async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
        """RFC 7009 as everywhere: a refresh token ends its whole grant, an access token ends itself."""
        await _on_threads(lambda: _revoke(token.client_id, token.token))

    # exchange_identity_assertion is the package's own: unsupported_grant_type.

    async def _tokens(self, act: Callable[[], TokenPair]) -> OAuthToken:
        try:
            pair = await _on_threads(act)
        except Refusal as refusal:
            raise TokenError(_AT_TOKEN.get(refusal.code, "invalid_grant"), refusal.description) from refusal
        return OAuthToken(
            access_token=pair.access_token,
            expires_in=pair.expires_in,
            scope=pair.scope,
            refresh_token=pair.refresh_token,
        )

    def _redeem(self, client_id: str, code: str) -> TokenPair:
        return authorization_code.redeem(
            client=_named(client_id),
            code=code,
            redirect_uri=None,
            code_verifier=None,
            issuer=self.issuer,
            verified=True,
        )

    def _rotate(self, client_id: str, plain: str, scopes: list[str]) -> TokenPair:
        return refresh_token.rotate(
            client=_named(client_id), refresh_token=plain, scope=" ".join(scopes), issuer=self.issuer
        )


# What the package has a word for; anything else that we refuse is told by the last resort of each endpoint.
_AT_TOKEN: Any = {code: code for code in ("invalid_client", "invalid_grant", "invalid_scope", "invalid_target")}
_AT_REGISTRATION: Any = {code: code for code in ("invalid_redirect_uri", "invalid_client_metadata")}


async def _on_threads(act: Callable[[], Result]) -> Result:
    return await threads.pages.run(act)


def _named(client_id: str) -> Any:
    client = clients.named(client_id=client_id)
    if client is None:
        raise InvalidToken(reason="the client is gone")  # between the package's two calls
    return client


def _peek_code(client_id: str, code: str) -> authorization_code.Peeked | None:
    client = clients.named(client_id=client_id)
    return None if client is None else authorization_code.peek(client=client, code=code)


def _peek_refresh_token(client_id: str, plain: str) -> refresh_token.Peeked | None:
    client = clients.named(client_id=client_id)
    return None if client is None else refresh_token.peek(client=client, refresh_token=plain)


def _revoke(client_id: str, token: str) -> None:
    client = clients.named(client_id=client_id)
    if client is not None:
        revocation.revoke(client=client, token=token)


def _members(registration: Registration) -> dict[str, Any]:
    """A client as RFC 7591 §3.2.1 describes it."""
    members = client_metadata.document(registration.metadata) | {
        "client_id": registration.client_id,
        "client_id_issued_at": registration.issued_at,
    }
    if registration.client_secret is not None:
        members |= {"client_secret": registration.client_secret, "client_secret_expires_at": 0}
    return members


def _caller() -> Identity | None:
    """Who calls a server that the package guards with our verifier."""
    token = get_access_token()
    return token.identity if isinstance(token, VerifiedToken) else None


identity.also_known_from(_caller)
