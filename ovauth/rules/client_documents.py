"""Clients that describe themselves by a document at the https URL that is their `client_id`.

draft-ietf-oauth-client-id-metadata-document. What may be fetched at all is asked in `ovauth.fetching`; here is what such a
URL means, and what the document behind it must say.
"""

import re
from collections.abc import Sequence
from typing import Final

from ovauth.errors import InvalidClientMetadata
from ovauth.rules import client_metadata, redirect_uris, web_address
from ovauth.rules.client_metadata import ClientMetadata

PREFIX: Final = "https://"
"""What such a client_id begins with, and no other of ours does."""
LONGEST: Final = 255
"""Characters of such a client_id: so many are stored."""
GRANT_TYPES: Final = ("authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code")
AUTH_METHODS: Final = ("none", "private_key_jwt")
"""Everybody can read the document, so there is no shared secret."""
_SECRETS: Final = ("client_secret", "client_secret_expires_at")
_ENCODED_DOT: Final = re.compile(r"%2e", re.IGNORECASE)


def why_not_client_id(client_id: str) -> str | None:
    """Why this cannot be the URL of a client's document, as a phrase fit for an answer; None when it can.

    A query is refused, which the draft advises against and does not forbid: many sites echo theirs as JSON, so that whoever
    asks would write the document, in the name of that site.
    """
    if len(client_id) > LONGEST:
        return f"it must not be longer than {LONGEST} characters"
    try:
        address = web_address.read(client_id)
    except ValueError as fault:
        return str(fault)
    if address.scheme != "https":
        return "it must begin with https://"
    if "#" in address.rest:
        return "it must not contain a fragment"
    if "?" in address.rest:
        return "it must not contain a query"
    if address.rest in ("", "/"):
        return "it must have a path"
    if any(_ENCODED_DOT.sub(".", segment) in (".", "..") for segment in address.rest.split("/")):
        return "it must not contain dot segments"
    return None


def host(client_id: str) -> str:
    """The host (`host` or `host:port`, in lower case) that vouches for such a client; the URL must be acceptable."""
    return web_address.read(client_id).authority


def why_not_host(text: str) -> str | None:
    """Why this is not a host as `host` gives it, as a phrase; None when it is."""
    try:
        address = web_address.read(f"{PREFIX}{text}")
    except ValueError as fault:
        return str(fault)
    if address.rest or address.authority != text:
        return "write the host alone, or host:port for a port other than 443"
    return None if "." in address.host else "it must be a full name"


def vouches(client_id: str, redirect_uri: str) -> bool:
    """Whether the host of the document is the one that a person is sent to: then it may speak for the client's name.

    A loopback address or an app's scheme proves nothing: any program on the device may answer there.
    """
    if why_not_client_id(client_id) is not None:
        return False
    return redirect_uris.origin(redirect_uri) == web_address.read(client_id).origin


def read(document: object, *, client_id: str, known_scopes: Sequence[str], default_scopes: Sequence[str]) -> ClientMetadata:
    """What the document at the URL `client_id` says of its client. A document without a name names its host.

    Raises InvalidClientMetadata and InvalidRedirectUri, with a sentence for whoever wrote it.
    """
    if not isinstance(document, dict):
        raise InvalidClientMetadata("The client metadata must be a JSON object.")
    # As strings: whoever may put a file beside another's document must not be able to speak for it.
    if document.get("client_id") != client_id:
        raise InvalidClientMetadata("Its client_id must be exactly the URL that it is at.")
    if any(document.get(name) is not None for name in _SECRETS):
        raise InvalidClientMetadata("It must not contain a client_secret: everybody can read it.")
    if str(document.get("token_endpoint_auth_method", "")).startswith("client_secret_"):
        raise InvalidClientMetadata("Its token_endpoint_auth_method must be none or private_key_jwt, not a shared secret.")
    return client_metadata.read(
        {**document, "client_name": document.get("client_name") or host(client_id)},
        known_scopes=known_scopes,
        default_scopes=default_scopes,
        grant_types=GRANT_TYPES,
        auth_methods=AUTH_METHODS,
    )
