"""Who is calling? An API key or an OAuth token in a header, or a console session in a cookie: exactly one of them."""

from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest
from ninja.utils import check_csrf

from ovauth import bearer, wire
from ovauth.errors import Forbidden, Unauthenticated
from ovauth.flows import api_keys
from ovauth.flows.authority import Authority
from ovauth.provenance import Actor, recognised
from ovauth.roles import Role
from ovauth.web.public_origin import issuer_of

API_KEY: Final = "ovauth.api_key"
"""Where a session that was opened with an API key names its row."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who was recognised. `authority` is None for an OAuth token, which approves nothing."""

    account_id: str
    user_id: str
    role: Role
    scopes: tuple[str, ...]
    authority: Authority | None

    @property
    def from_oauth(self) -> bool:
        return self.authority is None


def caller(request: HttpRequest) -> Caller:
    """Who calls. A header counts before the cookie, which a browser sends unasked.

    Raises Unauthenticated, InvalidToken, and Forbidden for a session's write without its CSRF token.
    """
    secret = wire.bearer(values(request, "authorization"), values(request, "x-api-key"))
    if secret is None:
        return _of_session(request)
    resource = settings.OVAUTH.resources(issuer_of(request))[0]
    identity = bearer.identify(secret, resource=resource, ip=request.META.get("REMOTE_ADDR", ""))
    kind = Actor.CLIENT if identity.from_oauth else Actor.API_KEY
    recognised(kind, f"{identity.account_id}/{identity.user_id}", identity.client_id or "")
    if identity.first_use_of_key and identity.api_key_pk is not None:
        api_keys.used_first(key_pk=identity.api_key_pk)
    authority = None if identity.from_oauth else Authority(identity.member_pk, api_key_pk=identity.api_key_pk)
    return Caller(identity.account_id, identity.user_id, Role.named(identity.role), identity.scopes, authority)


def approver(request: HttpRequest) -> tuple[Caller, Authority]:
    """Who calls, if they may approve and create. Raises as `caller` does, and Forbidden for an OAuth token."""
    found = caller(request)
    if found.authority is None:
        raise Forbidden("An OAuth token cannot do this. Use an API key, or sign in.")
    return found, found.authority


def _of_session(request: HttpRequest) -> Caller:
    member = getattr(request, "user", None)  # the protocol stack knows no sessions
    if member is None or not member.is_authenticated:
        raise Unauthenticated
    if check_csrf(request) is not None:
        raise Forbidden("The CSRF token is missing or wrong.")
    return of_session(request)


def of_session(request: HttpRequest) -> Caller:
    """Who is signed in to the console, with the authority of what opened the session: a password, or an API key."""
    member: Any = request.user  # its class is not for this room
    recognised(Actor.SESSION, member.sign_in_name)
    key: int | None = request.session.get(API_KEY)
    return _of_member(member, Authority(member.pk, key, member.password_epoch if key is None else None))


def of_authority(authority: Authority) -> Caller:
    """Whom an authority stands for. Raises Forbidden when it no longer stands."""
    return _of_member(authority.prove(), authority)


def _of_member(member: Any, authority: Authority) -> Caller:
    lowest = settings.OVAUTH.lowest_roles
    scopes = tuple(name for name, role in lowest.items() if role <= member.role)
    return Caller(member.account.name, member.name, Role(member.role), scopes, authority)


def values(request: HttpRequest, name: str) -> list[str]:
    """Every value of a header. Django joins repeated ones by a comma, which no credential of ours contains."""
    value = request.headers.get(name)
    return value.split(",") if value is not None else []
