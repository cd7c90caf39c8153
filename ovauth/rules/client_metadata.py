"""What a client says about itself, at registration or in its own document (RFC 7591 §2).

Tolerant where a mistake costs nobody anything, since clients are written once and for many servers; strict
about where people are sent and what is stored. The answer states what was stored, so that a client can see
what it got.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ovauth.errors import InvalidClientMetadata, InvalidRedirectUri, InvalidScope
from ovauth.rules import display_text, redirect_uris, scopes, web_address
from ovauth.rules.client_keys import why_not_key_set
from ovauth.rules.json_bounds import why_not_bounded

MOST_REDIRECT_URIS = 20
MOST_CONTACTS = 10
MOST_TYPES = 20
LONGEST_NAME = 200
LONGEST_TEXT = 200
LONGEST_SCOPE = 2000

_LINKS = ("client_uri", "logo_uri", "tos_uri", "policy_uri", "jwks_uri")
_TEXTS = ("software_id", "software_version")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientMetadata:
    """What is stored about a client; `extra` has the optional members that were sent, and nothing else."""

    client_name: str
    redirect_uris: tuple[str, ...]
    grant_types: tuple[str, ...]
    response_types: tuple[str, ...]
    token_endpoint_auth_method: str
    scope: str
    application_type: str
    extra: dict[str, object] = field(default_factory=dict)


def read(
    document: object,
    *,
    known_scopes: Sequence[str],
    default_scopes: Sequence[str],
    grant_types: Collection[str],
    auth_methods: Collection[str],
) -> ClientMetadata:
    """A JSON document in; what we support of it out, with defaults for what it leaves open (RFC 7591 §2).

    `grant_types` and `auth_methods` are those that this server supports here. Unknown members are ignored,
    `null` and `""` count as absent. Raises InvalidRedirectUri and InvalidClientMetadata (RFC 7591 §3.2.2).
    """
    members = _members(document)
    grants = _grant_types(members, grant_types)
    uris = _redirect_uris(members, required="authorization_code" in grants)
    extra = _extra(members)
    native = [redirect_uris.is_loopback(uri) or redirect_uris.is_private_use(uri) for uri in uris]
    method = _auth_method(members, native, auth_methods, has_keys="jwks" in extra or "jwks_uri" in extra)
    if method == "none" and "client_credentials" in grants:
        grants = _without_client_credentials(grants)
    return ClientMetadata(
        client_name=display_text.clean(_text(members, "client_name", LONGEST_NAME), LONGEST_NAME),
        redirect_uris=uris,
        grant_types=grants,
        response_types=_response_types(members, grants),
        token_endpoint_auth_method=method,
        scope=_scope(members, known_scopes, default_scopes),
        application_type=_application_type(members, native),
        extra=extra,
    )


def document(metadata: ClientMetadata) -> dict[str, object]:
    """The members of an answer (RFC 7591 §3.2.1) without unset ones: clients choke on `null` and `""`."""
    members: dict[str, object] = {
        "client_name": metadata.client_name,
        "redirect_uris": list(metadata.redirect_uris),
        "grant_types": list(metadata.grant_types),
        "response_types": list(metadata.response_types),
        "token_endpoint_auth_method": metadata.token_endpoint_auth_method,
        "scope": metadata.scope,
        "application_type": metadata.application_type,
        **metadata.extra,
    }
    return {name: value for name, value in members.items() if value not in (None, "", [])}


def likeness(metadata: ClientMetadata) -> str:
    """The same text for installations of one app: name, authentication and redirect URIs, but for ports on loopback."""
    uris = sorted({redirect_uris.regardless_of_port(uri) for uri in metadata.redirect_uris})
    return "\n".join((metadata.client_name, metadata.token_endpoint_auth_method, *uris))


def _members(document: object) -> dict[str, object]:
    if not isinstance(document, dict):
        raise InvalidClientMetadata("The client metadata must be a JSON object.")
    if fault := why_not_bounded(document):
        raise InvalidClientMetadata(f"The client metadata is not acceptable: {fault}.")
    return {name: value for name, value in document.items() if value is not None and value != ""}


def _grant_types(members: Mapping[str, object], supported: Collection[str]) -> tuple[str, ...]:
    asked = _texts(members, "grant_types", MOST_TYPES) or ("authorization_code", "refresh_token")
    kept = tuple(grant for grant in asked if grant in supported)
    # A refresh token alone begins nothing: such a client could never get one.
    if not set(kept) - {"refresh_token"}:
        raise InvalidClientMetadata("None of the grant_types is supported here.")
    return kept


def _without_client_credentials(grants: tuple[str, ...]) -> tuple[str, ...]:
    """Whoever knows a public client's id would be that client (RFC 6749 §4.4)."""
    kept = tuple(grant for grant in grants if grant != "client_credentials")
    if not set(kept) - {"refresh_token"}:
        raise InvalidClientMetadata("The grant type client_credentials needs client authentication.")
    return kept


def _redirect_uris(members: Mapping[str, object], *, required: bool) -> tuple[str, ...]:
    sent = members.get("redirect_uris", [])
    if not isinstance(sent, list) or not all(isinstance(uri, str) for uri in sent):
        raise InvalidRedirectUri("redirect_uris must be a list of strings.")
    if required and not sent:
        raise InvalidRedirectUri("redirect_uris must name at least one redirect URI.")
    if len(sent) > MOST_REDIRECT_URIS:
        raise InvalidRedirectUri(f"redirect_uris must not have more than {MOST_REDIRECT_URIS} entries.")
    for place, uri in enumerate(sent, start=1):
        if fault := redirect_uris.why_not_registrable(uri):
            raise InvalidRedirectUri(f"Redirect URI number {place} is not acceptable: {fault}.")
    return tuple(dict.fromkeys(sent))


def _auth_method(
    members: Mapping[str, object], native: Sequence[bool], supported: Collection[str], *, has_keys: bool
) -> str:
    asked = _text(members, "token_endpoint_auth_method", LONGEST_TEXT)
    method = asked or _default_auth_method(native, supported)
    if method not in supported:
        raise InvalidClientMetadata("This token_endpoint_auth_method is not supported here.")
    if method == "private_key_jwt" and not has_keys:
        raise InvalidClientMetadata("private_key_jwt needs jwks or jwks_uri.")
    return method


def _default_auth_method(native: Sequence[bool], supported: Collection[str]) -> str:
    """A program on somebody's computer keeps no secret (RFC 8252 §8.5); else RFC 7591 §2, where it can be."""
    if native and all(native):
        return "none"
    return "client_secret_basic" if "client_secret_basic" in supported else "none"


def _response_types(members: Mapping[str, object], grants: tuple[str, ...]) -> tuple[str, ...]:
    asked = _texts(members, "response_types", MOST_TYPES)
    if "authorization_code" not in grants:
        return ()  # RFC 7591 §2.1: the other grant types have none
    if asked and "code" not in asked:
        raise InvalidClientMetadata("Only the response type code is supported.")
    return ("code",)


def _scope(members: Mapping[str, object], known: Sequence[str], default: Sequence[str]) -> str:
    asked = _text(members, "scope", LONGEST_SCOPE)
    try:
        scopes.parse(asked)
    except InvalidScope as refusal:
        raise InvalidClientMetadata(refusal.description) from None
    try:
        return scopes.joined(scopes.choose(asked, known=known, default=default))
    except InvalidScope:
        return scopes.joined(default)


def _application_type(members: Mapping[str, object], native: Sequence[bool]) -> str:
    """Cursor calls itself `web` and has a private-use scheme: the URIs are believed, not the name."""
    asked = _text(members, "application_type", LONGEST_TEXT)
    if asked == "native":
        return "native"
    if asked == "web":
        return "native" if any(native) else "web"
    return "native" if native and all(native) else "web"


def _extra(members: Mapping[str, object]) -> dict[str, object]:
    extra: dict[str, object] = {}
    for name in _LINKS:
        if name in members:
            extra[name] = _https(name, _text(members, name, web_address.LONGEST))
    for name in _TEXTS:
        if name in members:
            extra[name] = _text(members, name, LONGEST_TEXT)
    if contacts := _texts(members, "contacts", MOST_CONTACTS):
        extra["contacts"] = list(contacts)
    if (keys := members.get("jwks")) is not None:
        if "jwks_uri" in extra:
            raise InvalidClientMetadata("jwks and jwks_uri must not be sent together.")
        if fault := why_not_key_set(keys):
            raise InvalidClientMetadata(f"jwks is not acceptable: {fault}.")
        extra["jwks"] = keys
    return extra


def _https(name: str, link: str) -> str:
    """Shown as links or fetched: nothing that runs, nothing that a network in between can change."""
    try:
        address = web_address.read(link)
    except ValueError as fault:
        raise InvalidClientMetadata(f"{name} is not acceptable: {fault}.") from None
    if address.scheme.lower() != "https":
        raise InvalidClientMetadata(f"{name} must begin with https://.")
    return link


def _text(members: Mapping[str, object], name: str, longest: int) -> str:
    return _checked(name, members[name], longest) if name in members else ""


def _checked(name: str, value: object, longest: int) -> str:
    if not isinstance(value, str):
        raise InvalidClientMetadata(f"{name} must be a string.")
    if len(value) > longest:
        raise InvalidClientMetadata(f"{name} must not be longer than {longest} characters.")
    if name != "client_name" and not value.isprintable():
        raise InvalidClientMetadata(f"{name} must not contain control characters.")
    return value


def _texts(members: Mapping[str, object], name: str, most: int) -> tuple[str, ...]:
    values = members.get(name)
    if values is None:
        return ()
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise InvalidClientMetadata(f"{name} must be a list of strings.")
    if len(values) > most:
        raise InvalidClientMetadata(f"{name} must not have more than {most} entries.")
    return tuple(dict.fromkeys([_checked(name, value, LONGEST_TEXT) for value in values if value]))
