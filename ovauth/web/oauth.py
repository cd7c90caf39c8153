"""The OAuth endpoints that programs call, as Ninja operations: parse by wire, act by flows, answer in JSON."""

import json
from collections.abc import Callable
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI

from ovauth import provenance, wire
from ovauth.errors import (
    Forbidden,
    InvalidClient,
    InvalidClientMetadata,
    InvalidGrant,
    InvalidTarget,
    Unauthenticated,
    UnauthorizedClient,
    UnsupportedGrantType,
)
from ovauth.flows import (
    attempts,
    authorization_code,
    client_credentials,
    clients,
    connections,
    device_code,
    introspection,
    pushed_request,
    refresh_token,
    revocation,
)
from ovauth.flows.clients import Registration
from ovauth.flows.introspection import Asker
from ovauth.flows.issuance import TokenPair
from ovauth.roles import Role
from ovauth.rules import client_metadata
from ovauth.web import authorize, callers, discovery, faults
from ovauth.web.public_origin import issuer_of
from ovauth.wire import ClientCredentials, Parameters


class Api(NinjaAPI):
    """Its operations answer with responses of their own."""

    _unused: Final = HttpResponse()

    def create_temporal_response(self, request: HttpRequest) -> HttpResponse:
        return self._unused  # Ninja makes one for each request, for operations that ask for it


api = Api(title="ovauth", urls_namespace="oauth", docs_url=None, openapi_url=None)
faults.replace_all(api)
discovery.mount(api)
authorize.mount(api)


_PARAMETERS = "ovauth_parameters"
"""Where a request keeps its form, once that was read."""
_CREDENTIALS = "ovauth_credentials"
"""Where it keeps how its client says who it is."""


def _code(parameters: Parameters) -> dict[str, Any]:
    return {
        "code": parameters.need("code"),
        "redirect_uri": parameters.one("redirect_uri"),
        "code_verifier": parameters.one("code_verifier"),
        "resource": parameters.resource,
    }


def _refresh(parameters: Parameters) -> dict[str, Any]:
    return {
        "refresh_token": parameters.need("refresh_token"),
        "scope": parameters.one("scope"),
        "resource": parameters.resource,
    }


def _device(parameters: Parameters) -> dict[str, Any]:
    return {"device_code": parameters.need("device_code")}


def _machine(parameters: Parameters) -> dict[str, Any]:
    return {"scope": parameters.one("scope"), "resource": parameters.resource}


GRANTS: dict[str, tuple[Callable[[Parameters], dict[str, Any]], Callable[..., TokenPair]]] = {
    "authorization_code": (_code, authorization_code.redeem),
    "refresh_token": (_refresh, refresh_token.rotate),
    device_code.GRANT_TYPE: (_device, device_code.poll),
    "client_credentials": (_machine, client_credentials.issue),
}


@api.post("/token")
def token(request: HttpRequest) -> HttpResponse:
    parameters, client = _authenticated(request)
    grant_type = parameters.need("grant_type")
    if grant_type not in GRANTS:
        raise UnsupportedGrantType
    if grant_type not in client.grant_types:
        raise UnauthorizedClient
    parse, act = GRANTS[grant_type]
    sent = parse(parameters)
    try:
        pair = act(client=client, issuer=issuer_of(request), **sent)
    except (InvalidGrant, InvalidTarget) as refusal:
        if act is authorization_code.redeem:
            attempts.refused(client_id=client.client_id, refusal=refusal, ip=request.META["REMOTE_ADDR"], at_token=True)
        elif act is refresh_token.rotate:
            connections.tried_again(refresh_token=sent["refresh_token"])
        raise
    body = {
        "access_token": pair.access_token,
        "token_type": "Bearer",
        "expires_in": pair.expires_in,
        "scope": pair.scope,
    }
    if pair.refresh_token is not None:
        body["refresh_token"] = pair.refresh_token
    return _told(body)


@api.post("/revoke")
def revoke(request: HttpRequest) -> HttpResponse:
    parameters, client = _authenticated(request)
    revocation.revoke(client=client, token=parameters.need("token"))
    return _no_store(_empty(200))


@api.post("/introspect")
def introspect(request: HttpRequest) -> HttpResponse:
    """RFC 7662, for a client with a secret, or for whoever holds the API key of an admin or root."""
    if request.headers.get("x-api-key") or request.headers.get("authorization", "").lower().startswith("bearer "):
        caller, _ = callers.approver(request)
        if caller.role < Role.ADMIN:
            raise Forbidden("This needs the API key of an administrator.")
        parameters = _form(request)
        asker = Asker(account=None if caller.role >= Role.ROOT else caller.account_id)
    else:
        parameters, client = _authenticated(request)
        if client.secret_digest is None:
            raise InvalidClient("Introspection needs a client that has a secret.")
        asker = Asker(client=client)
    told = introspection.introspect(asker=asker, token=parameters.need("token"), issuer=issuer_of(request))
    return _told(told)


@api.post("/device_authorization")
def device_authorization(request: HttpRequest) -> HttpResponse:
    """RFC 8628 §3.1."""
    parameters, client = _authenticated(request)
    issuer = issuer_of(request)
    begun = device_code.begin(
        client=client,
        scope=parameters.one("scope"),
        resource=parameters.resource,
        issuer=issuer,
        ip=request.META.get("REMOTE_ADDR", ""),
        user_agent=request.headers.get("user-agent", ""),
    )
    verification_uri = f"{issuer}/console/verify"
    body = {
        "device_code": begun.device_code,
        "user_code": begun.user_code,
        "verification_uri": verification_uri,
        "verification_uri_complete": f"{verification_uri}?code={begun.user_code}",
        "expires_in": begun.expires_in,
        "interval": begun.interval,
    }
    return _told(body)


@api.post("/par")
def pushed_authorization_request(request: HttpRequest) -> HttpResponse:
    """RFC 9126 §2."""
    parameters, client = _authenticated(request)
    reference, ttl = pushed_request.push(
        client=client, parameters=parameters.values, resource=parameters.resource, issuer=issuer_of(request)
    )
    return _told({"request_uri": reference, "expires_in": ttl}, status=201)


@api.post("/register")
def register(request: HttpRequest) -> HttpResponse:
    match settings.OVAUTH.registration:
        case "off":
            raise Forbidden("Apps cannot register themselves here. Ask the operator for a client.")
        case "token" if callers.approver(request)[0].role < Role.ADMIN:
            raise Forbidden("Registering needs the API key of an administrator.")
    document = wire.json_object(request.headers.get("content-type"), request.body)
    made = clients.register(document=document, ip=request.META.get("REMOTE_ADDR", ""))
    return _told(_described(made, issuer_of(request)), status=201)


@api.api_operation(["GET", "HEAD", "PUT", "DELETE"], "/register/{client_id}")
def registration(request: HttpRequest, client_id: str) -> HttpResponse:
    secret = wire.bearer(callers.values(request, "authorization"), callers.values(request, "x-api-key"))
    if secret is None:
        raise Unauthenticated("Send the registration access token.")
    proof = {"client_id": client_id, "registration_access_token": secret}
    if request.method == "DELETE":
        clients.delete(**proof)
        return _no_store(_empty(204))
    if request.method == "PUT":
        document = wire.json_object(request.headers.get("content-type"), request.body)
        if document.get("client_id", client_id) != client_id:
            raise InvalidClientMetadata("client_id differs from the one in the address.")  # RFC 7592 §2.2
        found = clients.update(document=document, **proof)
    else:
        found = clients.read(**proof)
    return _told(_described(found, issuer_of(request)) | {"registration_access_token": secret})


def may_wait_for_others(request: HttpRequest) -> bool:
    """Whether the answer may take somebody else's server: a client that is described by its own document, or that proves
    itself by a key. Read as the operation reads it, so that no spelling slips through."""
    if request.method != "POST" or getattr(request, "scope", {}).get("ovauth.fault") is not None:
        return False
    try:
        sent = _credentials(request)
    except Exception:
        return False  # the operation meets the same fault, and there it is answered
    return sent.client_assertion is not None or clients.is_described_elsewhere(sent.client_id)


def _form(request: HttpRequest) -> Parameters:
    """The parameters of the request's form, read once."""
    known: Parameters | None = getattr(request, _PARAMETERS, None)
    if known is None:
        known = wire.form(request.headers.get("content-type"), request.body)
        setattr(request, _PARAMETERS, known)
    return known


def _credentials(request: HttpRequest) -> ClientCredentials:
    """How the client says who it is, read once."""
    known: ClientCredentials | None = getattr(request, _CREDENTIALS, None)
    if known is None:
        known = wire.client_credentials(request.headers.get("authorization"), _form(request))
        setattr(request, _CREDENTIALS, known)
    return known


def _authenticated(request: HttpRequest) -> tuple[Parameters, Any]:
    parameters = _form(request)
    sent = _credentials(request)
    issuer = issuer_of(request)
    client = clients.authenticate(
        client_id=sent.client_id,
        client_secret=sent.client_secret,
        client_assertion=sent.client_assertion,
        audiences=frozenset({issuer, f"{issuer}/token"}),
        ip=request.META.get("REMOTE_ADDR", ""),
    )
    provenance.client(client.client_id)
    return parameters, client


def _described(registration: Registration, issuer: str) -> dict[str, Any]:
    """RFC 7591 §3.2.1 and RFC 7592 §3: what is stored, and nothing that is not."""
    body: dict[str, Any] = {
        "client_id": registration.client_id,
        "client_id_issued_at": registration.issued_at,
        **client_metadata.document(registration.metadata),
        "registration_client_uri": f"{issuer}/register/{registration.client_id}",
    }
    if registration.client_secret is not None:
        body |= {"client_secret": registration.client_secret, "client_secret_expires_at": 0}
    if registration.registration_access_token is not None:
        body["registration_access_token"] = registration.registration_access_token
    return body


def _told(document: dict[str, Any], *, status: int = 200) -> HttpResponse:
    """JSON of plain values, which needs no encoder of Django's."""
    return _no_store(HttpResponse(json.dumps(document).encode(), content_type="application/json", status=status))


def _empty(status: int) -> HttpResponse:
    response = HttpResponse(status=status)
    del response["Content-Type"]
    return response


def _no_store(response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "no-store"
    response["Pragma"] = "no-cache"
    return response
