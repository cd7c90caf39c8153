"""Pushed authorization requests (RFC 9126): the client sends its parameters ahead, a browser carries only a reference."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final
from urllib.parse import urlencode

from django.db import transaction
from django.utils import timezone

from ovauth import credentials
from ovauth.errors import InvalidRequest, UntrustedRedirect
from ovauth.flows import authorization
from ovauth.models import Client, PushedRequest

PREFIX: Final = "urn:ietf:params:oauth:request_uri:"
KEPT: Final = (
    "redirect_uri",
    "response_type",
    "state",
    "scope",
    "code_challenge",
    "code_challenge_method",
    "ui_locales",
)
TTL: Final = 90
"""Seconds in which a browser has to come with the reference."""


def push(*, client: Client, parameters: Mapping[str, str], resource: Sequence[str], issuer: str) -> tuple[str, int]:
    """The reference, and its life in seconds. `client` is authenticated already.

    Everything is judged now, as it will be judged again at the authorization endpoint. Raises an OAuthRefusal.
    """
    if "request_uri" in parameters:
        raise InvalidRequest("request_uri cannot be pushed.")  # RFC 9126 §2.1
    try:
        to = authorization.destination(client_id=client.client_id, redirect_uri=parameters.get("redirect_uri"))
    except UntrustedRedirect as untrusted:
        raise InvalidRequest("The redirect_uri is not registered.", reason=untrusted.reason) from None
    authorization.judge(
        to=to,
        issuer=issuer,
        response_type=parameters.get("response_type"),
        state=parameters.get("state"),
        scope=parameters.get("scope"),
        code_challenge=parameters.get("code_challenge"),
        code_challenge_method=parameters.get("code_challenge_method"),
        resource=resource,
    )
    kept = [(name, parameters[name]) for name in KEPT if name in parameters]
    query = urlencode([("client_id", client.client_id), *kept, *(("resource", asked) for asked in resource)])
    reference = PREFIX + credentials.browser()
    PushedRequest.objects.create(
        digest=credentials.digest(reference),
        client=client,
        query=query,
        expires_at=timezone.now() + timedelta(seconds=TTL),
    )
    return reference, TTL


def take(*, client_id: str | None, request_uri: str) -> str:
    """The pushed parameters as a query string, once. Raises UntrustedRedirect: there is nothing that could be trusted."""
    now = timezone.now()
    with transaction.atomic():
        found = PushedRequest.objects.select_related("client").by_secret(request_uri)
        if (
            found is not None
            and found.client.client_id == client_id
            and found.expires_at > now
            and PushedRequest.objects.consume(found.pk, now)
        ):
            return str(found.query)
    raise UntrustedRedirect("This link was used already, or has expired.", reason="unknown request_uri")
