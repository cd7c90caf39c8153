"""What did they send? Form, query, Basic and JSON in, plain values out: nothing repeated, nothing guessed, no database.

Works on bytes and header values, so that no framework's leniency comes between. A parameter without a value counts as not
sent, and an unknown one is ignored (RFC 6749 §3.1, §3.2).
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote_plus

from ovauth.errors import (
    InvalidClient,
    InvalidRequest,
    InvalidToken,
    TooLarge,
    Unauthenticated,
    UnsupportedMediaType,
)

MAX_PARAMETERS: Final = 60
MAX_FORM: Final = 64 * 1024
MAX_JSON: Final = 64 * 1024
MAX_CREDENTIAL: Final = 512
MAX_DEPTH: Final = 12
REPEATABLE: Final = frozenset({"resource"})
"""RFC 8707 §2: the only parameter that may come more than once."""
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
FORM: Final = "application/x-www-form-urlencoded"
JSON: Final = "application/json"
_UNSPEAKABLE: Final = re.compile("[\0\ud800-\udfff]")
_NAME: Final = re.compile(r"[a-z_]{1,40}")
"""What may stand in an answer although a stranger wrote it: the name of a parameter."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of an OAuth request. `one` for those that come at most once, `resource` for all of that name."""

    values: Mapping[str, str]
    resource: tuple[str, ...] = ()

    def one(self, name: str) -> str | None:
        return self.values.get(name)

    def need(self, name: str) -> str:
        """The parameter, which must be there. Raises InvalidRequest."""
        value = self.values.get(name)
        if value is None:
            raise InvalidRequest(f"{name} is missing.")
        return value


@dataclass(frozen=True, slots=True)
class Lenient(Parameters):
    """The parameters of an authorization request that may be faulty: what is certain of them, and what is wrong.

    Where to send the fault is known only once client_id and redirect_uri are, so the two are judged first.
    """

    fault: str = ""
    repeated: frozenset[str] = field(default_factory=frozenset)


def form(content_type: str | None, body: bytes) -> Parameters:
    """A form body, strictly. Raises InvalidRequest, TooLarge and UnsupportedMediaType."""
    _require_media_type(content_type, FORM)
    return _strict(body)


def query(raw: bytes) -> Parameters:
    """A query string, strictly. Raises InvalidRequest."""
    return _strict(raw)


def authorization_request(raw: bytes) -> Lenient:
    """The parameters of an authorization request (OAuth 2.1 §4.1.1), from a query or a form body.

    A repeated parameter is no parameter. Raises InvalidRequest only when nothing can be read at all.
    """
    pairs = _pairs(raw)
    names = [name for name, _ in pairs]
    repeated = frozenset(name for name in names if names.count(name) > 1 and name not in REPEATABLE)
    sent = {name: value for name, value in pairs if value and name not in repeated and name not in REPEATABLE}
    return Lenient(sent, _resources(pairs), _said_of(repeated), repeated)


def authorization_form(content_type: str | None, body: bytes) -> Lenient:
    """The same, for POST."""
    _require_media_type(content_type, FORM)
    return authorization_request(body)


def _said_of(repeated: frozenset[str]) -> str:
    if not repeated:
        return ""
    name = min(repeated)
    return f"{name if _NAME.fullmatch(name) else 'A parameter'} was sent more than once."


def _require_media_type(content_type: str | None, expected: str) -> None:
    if content_type == expected:
        return
    media_type, *parameters = (part.strip().lower() for part in (content_type or "").split(";"))
    if media_type != expected:
        raise UnsupportedMediaType(f"Send the body as {expected}.")
    charsets = [part.removeprefix("charset=").strip('"') for part in parameters if part.startswith("charset=")]
    if any(charset not in ("utf-8", "utf8") for charset in charsets):
        raise UnsupportedMediaType("Send the body in UTF-8.")


def _strict(raw: bytes) -> Parameters:
    found = authorization_request(raw)
    if found.fault:
        raise InvalidRequest(found.fault)
    return Parameters(found.values, found.resource)


def _pairs(raw: bytes) -> list[tuple[str, str]]:
    if len(raw) > MAX_FORM:
        raise TooLarge
    try:
        text = raw.decode("ascii")
        if text.count("&") >= MAX_PARAMETERS:
            raise ValueError("too many")
        pairs = [_pair(part) for part in text.split("&") if part]
    except ValueError:  # not ASCII, not UTF-8 behind the percent signs, or too many
        raise InvalidRequest(
            f"The parameters cannot be read: send at most {MAX_PARAMETERS}, form-encoded in UTF-8."
        ) from None
    # Strict UTF-8 has no halves of surrogate pairs, so only a NUL is left to be looked for.
    if ("%00" in text or "\0" in text) and any(unspeakable(part) for pair in pairs for part in pair):
        raise InvalidRequest("A parameter contains a NUL character.")
    return pairs


def _pair(part: str) -> tuple[str, str]:
    name, _, value = part.partition("=")
    if "%" not in part and "+" not in part:
        return name, value
    return unquote_plus(name, errors="strict"), unquote_plus(value, errors="strict")


def _resources(pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(value for name, value in pairs if name == "resource" and value)


def unspeakable(text: str) -> bool:
    """Whether it holds what no database stores and no answer repeats: NUL, or half of a surrogate pair."""
    return _UNSPEAKABLE.search(text) is not None


# ------------------------------------------------------------------ JSON


def json_object(content_type: str | None, body: bytes) -> dict[str, Any]:
    """A JSON object: UTF-8, nothing named twice, no NUL, of bounded size and depth.

    Raises InvalidRequest, TooLarge and UnsupportedMediaType.
    """
    _require_media_type(content_type, JSON)
    if len(body) > MAX_JSON:
        raise TooLarge
    try:
        document = _DECODER.decode(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise InvalidRequest("The body is not a JSON object in UTF-8 in which nothing is named twice.") from None
    if not isinstance(document, dict):
        raise InvalidRequest("The body is not a JSON object.")
    # Only an escape can name such a character, and nothing is nested deeper than it has brackets.
    if b"\\u" in body or body.count(b"[") + body.count(b"{") >= MAX_DEPTH:
        _check_json(document, MAX_DEPTH)
    return document


def text_member(document: Mapping[str, Any], name: str, *, most: int = 200) -> str | None:
    """A member that is a string of 1 to `most` characters if it is there; null counts as absent. Raises InvalidRequest."""
    value = document.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value or len(value) > most:
        raise InvalidRequest(f"{name} should be a string of 1 to {most} characters.")
    return value


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a member is named twice")
    return document


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_no_twins, parse_constant=_no_constant)


def _check_json(value: Any, depth: int) -> None:
    if depth == 0:
        raise InvalidRequest("The JSON is nested too deeply.")
    match value:
        case str():
            if unspeakable(value):
                raise InvalidRequest("The JSON contains a character that cannot be stored.")
        case dict():
            for name, member in value.items():
                _check_json(name, depth)
                _check_json(member, depth - 1)
        case list():
            for member in value:
                _check_json(member, depth - 1)


# ------------------------------------------------------------------ credentials


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """How a client says who it is (RFC 6749 §2.3, RFC 7521 §4.2). Of secret and assertion at most one was sent."""

    client_id: str | None
    client_secret: str | None
    client_assertion: str | None = None


def client_credentials(authorization: str | None, parameters: Parameters) -> ClientCredentials:
    """From the Basic header, or from the body as a secret or as an assertion; never by two of them.

    Raises InvalidRequest for two at once, InvalidClient for what cannot be read.
    """
    in_body = ClientCredentials(
        parameters.one("client_id"), parameters.one("client_secret"), parameters.one("client_assertion")
    )
    if in_body.client_assertion is not None:
        if in_body.client_secret is not None or authorization is not None:
            raise InvalidRequest("Authenticate in one way, not in two.")
        if parameters.one("client_assertion_type") != ASSERTION_TYPE:
            raise InvalidClient("This client_assertion_type is not supported.")
    if authorization is None:
        return in_body
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise InvalidClient("Authenticate by HTTP Basic or in the body.")
    try:
        user, colon, secret = base64.b64decode(value.strip(), validate=True).decode("utf-8").partition(":")
    except ValueError:
        raise InvalidClient("The Basic credentials cannot be read.") from None
    # Form-encoded before they were joined (RFC 6749 §2.3.1). Ours hold no character that this changes.
    client_id, client_secret = unquote_plus(user), unquote_plus(secret)
    if not colon or not client_id or unspeakable(client_id + client_secret):
        raise InvalidClient("The Basic credentials cannot be read.")
    if in_body.client_secret is not None:
        raise InvalidRequest("Authenticate in one way, not in two.")
    if in_body.client_id not in (None, client_id):
        raise InvalidRequest("client_id differs from the one in the Authorization header.")
    return ClientCredentials(client_id, client_secret or None)


def bearer(authorization: Iterable[str], api_key: Iterable[str]) -> str | None:
    """The one credential of a request to a protected resource: all values of both headers in, the secret out.

    None when there is none. Raises InvalidToken for what is no bearer credential, and for more than one: refused, not
    chosen from.
    """
    authorizations, keys = list(authorization), list(api_key)
    if not authorizations and not keys:
        return None
    if len(authorizations) + len(keys) > 1:
        raise InvalidToken("Send exactly one credential.")
    if keys:
        secret = keys[0].strip()
    else:
        scheme, _, secret = authorizations[0].partition(" ")
        secret = secret.strip()
        if scheme.lower() != "bearer":
            raise InvalidToken("Send the credential as Authorization: Bearer.")
    if not secret or not secret.isascii() or not secret.isprintable() or len(secret) > MAX_CREDENTIAL:
        raise InvalidToken
    return secret


def need_bearer(authorization: Iterable[str], api_key: Iterable[str] = ()) -> str:
    """The same, where there must be one. Raises Unauthenticated."""
    secret = bearer(authorization, api_key)
    if secret is None:
        raise Unauthenticated
    return secret
