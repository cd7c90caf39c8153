"""Discovery: the authorization server metadata (RFC 8414) and the protected resource metadata (RFC 9728).

What is in a document depends on the issuer and the configuration alone. So each is made once, by the Ninja operation, and
what was answered then is given again from the event loop (`Kept`).
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from ninja import NinjaAPI
from starlette.types import Scope

from ovauth import threads
from ovauth.errors import NotFound
from ovauth.flows import progress
from ovauth.flows.clients import AUTH_METHODS, GRANT_TYPES, MACHINE_GRANT_TYPE
from ovauth.rules import client_assertions, web_address
from ovauth.web import languages
from ovauth.web.public_origin import issuer_of
from ovauth.web.serving import Answer

CACHE = "public, max-age=3600"
MOST_KEPT: Final = 200
"""Answers that are kept: who asks chooses the host, unless a public origin is configured."""
LOOK_AGAIN: Final = 1.0
"""Seconds in which an address is not looked for again: a client reads several documents in a row."""
MOST_LOOKED_FOR: Final = 1000
_BODY: Final = frozenset({b"content-length", b"transfer-encoding"})


def authorization_server(issuer: str) -> dict[str, Any]:
    """The document of RFC 8414 §2. What is not built or not allowed is not in it."""
    config = settings.OVAUTH
    document: dict[str, Any] = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "revocation_endpoint": f"{issuer}/revoke",
        "introspection_endpoint": f"{issuer}/introspect",
        "device_authorization_endpoint": f"{issuer}/device_authorization",
        "pushed_authorization_request_endpoint": f"{issuer}/par",
        "scopes_supported": list(config.scope_names),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": [*GRANT_TYPES, MACHINE_GRANT_TYPE],
        "token_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "token_endpoint_auth_signing_alg_values_supported": list(client_assertions.ALGORITHMS),
        "revocation_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "introspection_endpoint_auth_methods_supported": [method for method in AUTH_METHODS if method != "none"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "ui_locales_supported": languages.tags(),
    }
    if config.cimd != "off":
        document["client_id_metadata_document_supported"] = True
    if config.registration != "off":
        document["registration_endpoint"] = f"{issuer}/register"
    return document


def protected_resource(issuer: str) -> dict[str, Any]:
    """The document of RFC 9728 §2 for the MCP server."""
    config = settings.OVAUTH
    return {
        "resource": config.resources(issuer)[0],
        "authorization_servers": [issuer],
        "scopes_supported": list(config.scope_names),
        "bearer_methods_supported": ["header"],
    }


def mount(api: NinjaAPI) -> None:
    """Adds the well-known routes. Every other path below /.well-known/ is Django's 404, which `faults` answers in JSON."""
    for name in ("oauth-authorization-server", "openid-configuration"):
        _add(api, name, authorization_server, _path_of)
    _add(api, "oauth-protected-resource", protected_resource, lambda issuer: _path_of(settings.OVAUTH.resources(issuer)[0]))


def _path_of(url: str) -> str:
    """What the RFC inserts between the well-known name and nothing: the path of the issuer, or of the resource."""
    return web_address.read(url).rest


def _add(api: NinjaAPI, name: str, document: Callable[[str], dict[str, Any]], inserted_path: Callable[[str], str]) -> None:
    """The document at the well-known name, with nothing behind it or with the path that the RFC inserts."""

    @api.api_operation(["GET", "HEAD"], f"/.well-known/{name}", url_name=name, operation_id=name)
    def root(request: HttpRequest) -> HttpResponse:
        return _answer(request, document(issuer_of(request)))

    @api.api_operation(["GET", "HEAD"], f"/.well-known/{name}/{{path:rest}}", operation_id=f"{name}-with-path")
    def with_path(request: HttpRequest, rest: str) -> HttpResponse:
        issuer = issuer_of(request)
        if f"/{rest}".rstrip("/") != inserted_path(issuer):
            raise NotFound(reason=f"{name} asked for another path")
        return _answer(request, document(issuer))


def _answer(request: HttpRequest, document: dict[str, Any]) -> HttpResponse:
    progress.discovered(ip=request.META.get("REMOTE_ADDR", ""))
    response = JsonResponse(document)
    response["Cache-Control"] = CACHE
    response["Vary"] = "Host"
    return response


class Kept:
    """The answers to plain questions, as they were given the first time. A question is plain when nothing came with it, so
    that nothing in it can be refused; every other one goes the long way, and is judged there."""

    def __init__(self) -> None:
        self._by: Any = None
        self._answers: dict[tuple[str, str, str], tuple[Answer, str]] = {}
        self._looked_for: dict[str, float] = {}

    def again(self, scope: Scope) -> Answer | None:
        """The answer that this request got before, if it did."""
        if self._by is not settings.OVAUTH or not _is_plain(scope):
            return None
        known = self._answers.get(_question(scope))
        if known is None:
            return None
        answer, scope["ovauth.provenance"].route = known
        return answer

    def keep(self, scope: Mapping[str, Any], answer: Answer) -> None:
        """Keeps the answer to a question about a well-known path if it is a document, for whoever asks the same."""
        if answer[0] != 200 or not _is_plain(scope):
            return
        if self._by is not settings.OVAUTH or len(self._answers) >= MOST_KEPT:
            self._answers, self._by = {}, settings.OVAUTH
        self._answers[_question(scope)] = answer, scope["ovauth.provenance"].route

    async def note(self, ip: str) -> None:
        """Notes who read it, as the long way does. To be awaited when the answer is on its way: nobody waits for it."""
        now = time.monotonic()
        if now - self._looked_for.get(ip, -LOOK_AGAIN) < LOOK_AGAIN:
            return
        if len(self._looked_for) >= MOST_LOOKED_FOR:
            self._looked_for.clear()
        self._looked_for[ip] = now
        await threads.protocol.run(_note, ip)


def _note(ip: str) -> None:
    progress.discovered(ip=ip)


def _is_plain(scope: Mapping[str, Any]) -> bool:
    return (
        scope["method"] in ("GET", "HEAD")
        and not scope["query_string"]
        and "ovauth.fault" not in scope
        and not any(name in _BODY for name, _ in scope["headers"])
    )


def _question(scope: Mapping[str, Any]) -> tuple[str, str, str]:
    return scope["ovauth.issuer"], scope["method"], scope["path"]
