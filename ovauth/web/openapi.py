"""What the endpoints take and answer, in OpenAPI 3.1: Ninja knows which operations there are, this page what they mean.

Served at `/api/v1/openapi.json`; `docs/api.md` is made from the same. Nothing here decides anything: requests are read by
`wire`, answers are made by `oauth` and `api`, and tests hold this page against both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, Literal

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from ovauth.web.api import api
from ovauth.web.oauth import api as oauth

Proof = Literal["client", "key", "session", "registration token"]

PROOFS: Final[dict[Proof, tuple[str, dict[str, Any]]]] = {
    "client": (
        "client",
        {
            "type": "http",
            "scheme": "basic",
            "description": "Client id and secret by Basic, or in the body, or a `client_assertion` (private_key_jwt); a "
            "public client sends its `client_id` alone. One way at a time.",
        },
    ),
    "key": (
        "key",
        {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key (`ovk_…`); `X-Api-Key` takes it too.",
        },
    ),
    "session": (
        "session",
        {
            "type": "apiKey",
            "in": "cookie",
            "name": "sessionid",
            "description": "A session of the console; a write sends its CSRF token along.",
        },
    ),
    "registration token": (
        "registration_token",
        {
            "type": "http",
            "scheme": "bearer",
            "description": "The registration access token (`ovreg_…`) that the client got when it registered.",
        },
    ),
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. `sends` and `answers` name members with a word about each; a name that ends in `?` may be missing."""

    summary: str
    standard: str = ""
    proofs: tuple[Proof, ...] = ()
    sends: Mapping[str, str] = field(default_factory=dict)
    as_json: bool = False
    status: int = 200
    answers: Mapping[str, str] = field(default_factory=dict)
    refusals: Mapping[int, str] = field(default_factory=dict)


_ERROR: Final = {400: "`invalid_request`", 429: "too many, `Retry-After` says when", 503: "the database does not answer"}
_CLIENT: Final = {"client_id?": "unless it stands in the Basic header", "client_secret?": "of a client that has one"}
_CLIENT_ERROR: Final = {**_ERROR, 401: "`invalid_client`"}
_CALLER_ERROR: Final = {401: "nobody was recognised", 403: "an OAuth token, a missing CSRF token, or too low a role"}
_METADATA: Final = {
    "redirect_uris": "https, http on loopback, or an app's own scheme",
    "client_name?": "as people see it",
    "token_endpoint_auth_method?": "`none`, `client_secret_basic`, `client_secret_post`, `private_key_jwt`",
    "grant_types?": "`authorization_code`, `refresh_token`, the device grant",
    "scope?": "what it may ask for; none: the defaults",
    "jwks_uri?": "or `jwks`: the keys of `private_key_jwt`",
    "logo_uri?": "https; so are `client_uri`, `policy_uri`, `tos_uri`",
}
_REGISTERED: Final = {
    "client_id": "",
    "client_id_issued_at": "seconds since 1970",
    "client_secret?": "shown this once",
    "client_secret_expires_at?": "0: never",
    "registration_client_uri": "where it manages itself",
    "registration_access_token?": "by which it does; shown this once",
    "…": "what is stored of the metadata",
}
_DOCUMENT: Final = {"…": "the document; `Cache-Control: public, max-age=3600`"}
_PATH: Final = {404: "another path than that of the issuer or resource"}

OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("get", "/.well-known/oauth-authorization-server"): Operation(
        "The metadata of the authorization server", "RFC 8414", answers=_DOCUMENT
    ),
    ("get", "/.well-known/oauth-authorization-server/{rest}"): Operation(
        "The same, with the path of the issuer behind it", "RFC 8414 §3.1", answers=_DOCUMENT, refusals=_PATH
    ),
    ("get", "/.well-known/openid-configuration"): Operation(
        "The same document, for clients that only try this name", "RFC 8414 §5", answers=_DOCUMENT
    ),
    ("get", "/.well-known/openid-configuration/{rest}"): Operation(
        "The same, with the path of the issuer behind it", "RFC 8414 §5", answers=_DOCUMENT, refusals=_PATH
    ),
    ("get", "/.well-known/oauth-protected-resource"): Operation(
        "The metadata of the MCP server", "RFC 9728", answers=_DOCUMENT
    ),
    ("get", "/.well-known/oauth-protected-resource/{rest}"): Operation(
        "The same, with the path of the MCP server behind it", "RFC 9728 §3.1", answers=_DOCUMENT, refusals=_PATH
    ),
    ("post", "/register"): Operation(
        "Registers a client",
        "RFC 7591",
        sends=_METADATA,
        as_json=True,
        status=201,
        answers=_REGISTERED,
        refusals={
            **_ERROR,
            400: "`invalid_client_metadata`, `invalid_redirect_uri`",
            401: "`OVAUTH_REGISTRATION=token`, and no API key of an admin or root",
            403: "`OVAUTH_REGISTRATION=off`",
        },
    ),
    ("get", "/register/{client_id}"): Operation(
        "What is stored of the client",
        "RFC 7592 §2.1",
        ("registration token",),
        answers=_REGISTERED,
        refusals={401: "`invalid_token`"},
    ),
    ("put", "/register/{client_id}"): Operation(
        "Replaces the metadata of the client",
        "RFC 7592 §2.2",
        ("registration token",),
        sends=_METADATA,
        as_json=True,
        answers=_REGISTERED,
        refusals={400: "`invalid_client_metadata`, `invalid_redirect_uri`", 401: "`invalid_token`"},
    ),
    ("delete", "/register/{client_id}"): Operation(
        "Deletes the client, and everything that it holds",
        "RFC 7592 §2.3",
        ("registration token",),
        status=204,
        refusals={401: "`invalid_token`"},
    ),
    ("get", "/authorize"): Operation(
        "Begins an authorization in a browser: goes on to the code page",
        "OAuth 2.1 §4.1.1, RFC 9207, RFC 8707",
        sends={
            "client_id": "registered, or the URL of a Client ID Metadata Document",
            "redirect_uri?": "exactly as registered; the port of a loopback address may differ",
            "response_type": "`code`",
            "code_challenge": "PKCE",
            "code_challenge_method": "`S256`",
            "scope?": "none: the defaults",
            "state?": "comes back as it is",
            "resource?": "none: the MCP server",
            "ui_locales?": "`en`, `zh-Hans`",
            "request_uri?": "of a pushed request, in the place of all others but `client_id`",
        },
        status=302,
        refusals={400: "a page, for an unknown app or address; every other fault goes to the client by redirect"},
    ),
    ("post", "/authorize"): Operation("The same, with the parameters in a form", "OAuth 2.1 §3.1", status=302),
    ("post", "/token"): Operation(
        "Tokens for a code, a refresh token, a device code, or for the client itself",
        "OAuth 2.1 §3.2",
        ("client",),
        sends={
            "grant_type": "`authorization_code`, `refresh_token`, `urn:ietf:params:oauth:grant-type:device_code`, "
            "`client_credentials`",
            "code?": "with `code_verifier`, and `redirect_uri` if it is repeated",
            "refresh_token?": "with `scope` for less than was granted",
            "device_code?": "of the device grant",
            "resource?": "may repeat the granted one",
            **_CLIENT,
        },
        answers={
            "access_token": "`ovat_…`",
            "token_type": "`Bearer`",
            "expires_in": "seconds",
            "scope": "what was granted",
            "refresh_token?": "`ovrt_…`, the one to use from now on",
        },
        refusals={
            **_CLIENT_ERROR,
            400: "`invalid_request`, `invalid_grant`, `invalid_scope`, `invalid_target`, `unauthorized_client`, "
            "`unsupported_grant_type`; of a device also `authorization_pending`, `slow_down`, `expired_token`, "
            "`access_denied`",
        },
    ),
    ("post", "/revoke"): Operation(
        "Ends an access token, or with a refresh token the whole connection",
        "RFC 7009",
        ("client",),
        sends={"token": "an unknown one, or another client's, is answered alike", **_CLIENT},
        refusals=_CLIENT_ERROR,
    ),
    ("post", "/introspect"): Operation(
        "Whether a token is good at this moment, and what it stands for",
        "RFC 7662",
        ("client", "key"),
        sends={"token": "", **_CLIENT},
        answers={
            "active": "`false` alone for whatever does not work or is not the asker's to know",
            "client_id?": "",
            "sub?": "account/user; `username` and `account_id` apart",
            "scope?": "",
            "aud?": "the resource",
            "exp?": "and `iat`: seconds since 1970",
            "iss?": "",
            "token_type?": "",
        },
        refusals=_CLIENT_ERROR,
    ),
    ("post", "/device_authorization"): Operation(
        "Begins an authorization of a device without a browser",
        "RFC 8628",
        ("client",),
        sends={"scope?": "none: the defaults", "resource?": "none: the MCP server", **_CLIENT},
        answers={
            "device_code": "`ovdc_…`, to poll `/token` with",
            "user_code": "six characters, for a person",
            "verification_uri": "where they are entered; `verification_uri_complete` has them in it",
            "expires_in": "seconds",
            "interval": "seconds between two polls",
        },
        refusals=_CLIENT_ERROR,
    ),
    ("post", "/par"): Operation(
        "Takes the parameters of an authorization request ahead",
        "RFC 9126",
        ("client",),
        sends={"…": "the parameters of `/authorize`", **_CLIENT},
        status=201,
        answers={"request_uri": "for `/authorize`, once", "expires_in": "seconds"},
        refusals=_CLIENT_ERROR,
    ),
    ("get", "/api/v1/whoami"): Operation(
        "Who calls",
        proofs=("key", "session"),
        answers={
            "account_id": "",
            "user_id": "",
            "role": "`user`, `admin`, `root`",
            "scopes": "a list",
            "from_oauth": "whether an OAuth token was sent, which works here too",
        },
        refusals={401: _CALLER_ERROR[401]},
    ),
    ("post", "/api/v1/auth/oauth-verify"): Operation(
        "Approves or denies a request that waits",
        proofs=("key", "session"),
        sends={
            "code?": "the six characters, or",
            "pending_id?": "the id of the request",
            "decision": "`approve` or `deny`",
        },
        as_json=True,
        answers={"status": "`approved` or `denied`", "client_id": "", "client_name": ""},
        refusals={
            **_CALLER_ERROR,
            400: "the words are not exactly these",
            404: "no request waits for this",
            409: "it was decided before",
            429: "too many wrong codes",
        },
    ),
    ("get", "/api/v1/auth/oauth/pending/{pending_id}"): Operation(
        "Who asks, and where the answer would go",
        proofs=("key", "session"),
        answers={"client_id": "", "client_name": "a claim", "redirect_host": "", "scopes": "a list"},
        refusals={**_CALLER_ERROR, 404: "no request waits for this"},
    ),
    ("post", "/api/v1/auth/otp"): Operation(
        "A one-time password, for a code page or the sign-in",
        proofs=("key", "session"),
        answers={"otp": "ten characters, for one use", "expires_in": "seconds"},
        refusals=_CALLER_ERROR,
    ),
    ("post", "/api/v1/admin/revoke-user-tokens"): Operation(
        "Ends every code, access and refresh token of a user",
        proofs=("key", "session"),
        sends={"account_id": "an admin's own; any for root", "user_id": ""},
        as_json=True,
        answers={"authorization_codes": "how many ended", "access_tokens": "", "refresh_tokens": ""},
        refusals={**_CALLER_ERROR, 404: "no such user"},
    ),
}


@csrf_exempt
@require_safe
def document(request: HttpRequest) -> HttpResponse:
    response = JsonResponse(schema())
    response["Cache-Control"] = "public, max-age=3600"
    return response


@cache
def schema() -> dict[str, Any]:
    """The OpenAPI document of both APIs. HEAD answers wherever GET does."""
    paths: dict[str, dict[str, Any]] = {}
    for below, described in {"/": oauth, "/api/v1/": api}.items():
        for path, operations in described.get_openapi_schema(path_prefix=below)["paths"].items():
            paths[path] = {
                method: _described(method, path, found) for method, found in operations.items() if method != "head"
            }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ovauth",
            "version": "1",
            "description": "Errors of the OAuth endpoints are those of RFC 6749 (`error`, `error_description`); below "
            '/api/v1 they are `{"error": {"code", "message"}}`.',
        },
        "paths": paths,
        "components": {"securitySchemes": dict(PROOFS.values())},
    }


def _described(method: str, path: str, found: Mapping[str, Any]) -> dict[str, Any]:
    told = OPERATIONS[method, path]
    described: dict[str, Any] = {
        "operationId": f"{method} {path}",
        "summary": told.summary,
        "tags": ["API" if path.startswith("/api/") else "OAuth"],
        "parameters": list(found.get("parameters", [])),
        "responses": {
            str(told.status): _answer(told),
            **{str(status): {"description": why} for status, why in sorted(told.refusals.items())},
        },
    }
    if told.standard:
        described["description"] = told.standard
    if told.proofs:
        described["security"] = [{PROOFS[proof][0]: []} for proof in told.proofs]
    if told.sends and method == "get":
        described["parameters"] += [
            {"in": "query", "name": name, "required": required, "description": word, "schema": {"type": "string"}}
            for name, required, word in _members(told.sends)
        ]
    elif told.sends:
        kind = "application/json" if told.as_json else "application/x-www-form-urlencoded"
        described["requestBody"] = {"required": True, "content": {kind: {"schema": _object(told.sends)}}}
    return described


def _answer(told: Operation) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": "done"}
    if told.answers:
        answer["content"] = {"application/json": {"schema": _object(told.answers)}}
    return answer


def _object(members: Mapping[str, str]) -> dict[str, Any]:
    named = _members(members)
    return {
        "type": "object",
        "properties": {name: {"description": word} if word else {} for name, _required, word in named},
        "required": [name for name, required, _word in named if required],
        **({"description": members["…"]} if "…" in members else {}),
    }


def _members(members: Mapping[str, str]) -> list[tuple[str, bool, str]]:
    return [(name.removesuffix("?"), not name.endswith("?"), word) for name, word in members.items() if name != "…"]
