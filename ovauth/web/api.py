"""The API of ovauth itself, below /api/v1: for people's programs and for the console."""

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from ninja import NinjaAPI

from ovauth import wire
from ovauth.errors import Forbidden, InvalidRequest, NotFound
from ovauth.flows import approval, one_time_password, revocation
from ovauth.roles import Role
from ovauth.web import callers, faults

api = NinjaAPI(title="ovauth API", urls_namespace="api", docs_url=None, openapi_url=None)
faults.replace_all(api)


@api.api_operation(["GET", "HEAD"], "/whoami")
def whoami(request: HttpRequest) -> HttpResponse:
    caller = callers.caller(request)
    return JsonResponse(
        {
            "account_id": caller.account_id,
            "user_id": caller.user_id,
            "role": caller.role.label,
            "scopes": list(caller.scopes),
            "from_oauth": caller.from_oauth,
        }
    )


@api.post("/auth/oauth-verify")
def oauth_verify(request: HttpRequest) -> HttpResponse:
    _, authority = callers.approver(request)
    document = _document(request)
    which: Any = {
        "code": wire.text_member(document, "code", most=32),
        "pending_id": wire.text_member(document, "pending_id", most=64),
    }
    # Only the exact words count; nothing defaults to approve.
    decide = {"approve": approval.approve, "deny": approval.deny}.get(wire.text_member(document, "decision") or "")
    if decide is None:
        raise InvalidRequest("decision should be 'approve' or 'deny'.")
    decided = decide(authority=authority, ip=_ip(request), **which)
    return JsonResponse({"status": decided.status, "client_id": decided.client_id, "client_name": decided.client_name})


@api.api_operation(["GET", "HEAD"], "/auth/oauth/pending/{pending_id}")
def pending(request: HttpRequest, pending_id: str) -> HttpResponse:
    _, authority = callers.approver(request)
    waiting = approval.review(authority=authority, pending_id=pending_id, ip=_ip(request))
    return JsonResponse(
        {
            "client_id": waiting.client_id,
            "client_name": waiting.client_name,
            "redirect_host": waiting.destination,
            "scopes": list(waiting.scopes),
        }
    )


@api.post("/auth/otp")
def otp(request: HttpRequest) -> HttpResponse:
    _, authority = callers.approver(request)
    plain, ttl = one_time_password.issue(authority=authority)
    response = JsonResponse({"otp": plain, "expires_in": ttl})
    response["Cache-Control"] = "no-store"
    return response


@api.post("/admin/revoke-user-tokens")
def revoke_user_tokens(request: HttpRequest) -> HttpResponse:
    caller, _ = callers.approver(request)
    if caller.role < Role.ADMIN:
        raise Forbidden("This needs the role admin or root.")
    document = _document(request)
    account = wire.text_member(document, "account_id")
    user = wire.text_member(document, "user_id")
    if account is None or user is None:
        raise InvalidRequest("Send account_id and user_id.")
    if caller.role < Role.ROOT and account != caller.account_id:
        raise NotFound("There is no such user.", reason="another account")
    ended = revocation.revoke_user_tokens(account=account, name=user)
    return JsonResponse(
        {
            "authorization_codes": ended.authorization_codes,
            "access_tokens": ended.access_tokens,
            "refresh_tokens": ended.refresh_tokens,
        }
    )


def _document(request: HttpRequest) -> dict[str, object]:
    return wire.json_object(request.headers.get("content-type"), request.body)


def _ip(request: HttpRequest) -> str:
    return str(request.META.get("REMOTE_ADDR", ""))
