"""Clients whose id is the URL of a document that describes them: found, read, and read again when it is time.

draft-ietf-oauth-client-id-metadata-document. The row of such a client is the cached copy of its document. The fetch takes
up to five seconds, so it happens outside of every transaction; who fetches is decided by one conditional UPDATE, and
everybody else goes on with what is known.
"""

import logging
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from ovauth import credentials, fetching
from ovauth.errors import InvalidClient, InvalidClientMetadata, InvalidRedirectUri, TooManyRequests, Unavailable
from ovauth.fetching import Busy, Invalid, NotFetched, Unreachable
from ovauth.flows import audit, limits
from ovauth.flows.limits import Counted
from ovauth.models import Client, ClientOrigin
from ovauth.rules import client_documents
from ovauth.rules.client_metadata import ClientMetadata
from ovauth.rules.networks import household

log = logging.getLogger(__name__)

SHORTEST: Final = 60
LONGEST: Final = 24 * 3600
UNSAID: Final = 3600
"""Seconds for which a document counts, whatever its headers say; the last one when they say nothing."""
AGAIN_AFTER: Final = timedelta(seconds=60)
"""When a document that could not be read, or was not good, is asked for again."""
CLAIM: Final = timedelta(seconds=10)
"""So long the one who fetches has it alone: longer than a fetch can take, short enough if that process dies."""
LAST_GOOD_COPY: Final = timedelta(days=30)
"""How long a copy serves while its host cannot be reached: as long as a refresh token, so that it logs nobody out."""


def is_document(client_id: str) -> bool:
    """Whether the client_id is shaped like the URL of a document, acceptable or not."""
    return client_id.startswith(client_documents.PREFIX)


def resolve(*, client_id: str, ip: str = "") -> Client:
    """The client that is described at the URL `client_id`, as fresh as HTTP asks for. Not authenticated.

    `ip` is whose request it is, for the limits. To be called outside of a transaction: it may fetch. Raises InvalidClient,
    with a sentence for whoever runs the client, when it is not admitted, blocked or not good; Unavailable when that cannot
    be said now; TooManyRequests.
    """
    now = timezone.now()
    _admit(client_id)
    client = Client.objects.filter(client_id=client_id).first()
    if client is None:
        return _first(client_id, ip, now)
    if client.blocked_at is not None:
        raise InvalidClient("An operator has blocked this app.")
    if _claimed(client, now):
        _read_again(client, now)
    return _usable(client, now)


def _admit(client_id: str) -> None:
    """Raises InvalidClient for a URL or a host that does not count, before anything is looked up or fetched."""
    if (why := client_documents.why_not_client_id(client_id)) is not None:
        raise InvalidClient(f"The client_id is not acceptable as a URL: {why}.")
    if not settings.OVAUTH.admits_documents_of(client_documents.host(client_id)):
        raise InvalidClient("Apps of this host are not admitted here.", reason="OVAUTH_CIMD")


# ------------------------------------------------------------------ the first time


def _first(client_id: str, ip: str, now: datetime) -> Client:
    failures = _checked(client_id, ip)
    limits.count(((limits.DOCUMENT_BY_ADDRESS, household(ip)),))  # successes too: a flood would consist of them
    try:
        metadata, fresh = _read(client_id)
    except Busy as busy:
        raise Unavailable(reason=busy.reason) from None
    except NotFetched as fault:
        limits.count(failures)
        raise _refusal(client_id, fault.description, fault.reason) from None
    facts = columns(metadata) | _copy(now, fresh)
    with transaction.atomic(durable=True):
        client, created = Client.objects.get_or_create(
            client_id=client_id, defaults=facts | {"origin": ClientOrigin.DOCUMENT, "created_at": now}
        )
        if created:  # otherwise somebody read the same document at the same time
            audit.record("client.registered", now=now, client=client, method="document")
    return client


def _checked(client_id: str, ip: str) -> Counted:
    """What a failure will be counted against; raises TooManyRequests when one of it, or the address, has had enough.

    Only for URLs that are not known: nobody can use the limit of a host to lock out the clients that it has here.
    """
    host = client_documents.host(client_id)
    recently = (limits.DOCUMENT_BY_URL, credentials.digest(client_id).hex())
    try:
        limits.check((recently,))
    except TooManyRequests as refusal:
        said = "What this app says about itself could not be used a moment ago. Try again in half a minute."
        raise TooManyRequests(refusal.retry_after, said, reason=refusal.reason) from None
    who = f"{household(ip)} {host}" if ip else ""
    by_host = ((limits.DOCUMENT_BY_HOST_AND_ADDRESS, who), (limits.DOCUMENT_BY_HOST, host))
    limits.check(((limits.DOCUMENT_BY_ADDRESS, household(ip)), *by_host))
    return (recently, *by_host)


# ------------------------------------------------------------------ and again


def _claimed(client: Client, now: datetime) -> bool:
    """Whether the document is due, and it is for this caller to read it: true for one of all who ask at once."""
    due = client.document_due_at
    if due is None or due > now:
        return False
    return Client.objects.filter(pk=client.pk, document_due_at=due).update(document_due_at=now + CLAIM) == 1


def _read_again(client: Client, now: datetime) -> None:
    """Brings the client up to date with its document, or notes why it could not be."""
    try:
        metadata, fresh = _read(client.client_id)
    except Busy:
        return  # the claim runs out in a few seconds
    except Unreachable as fault:
        _write(client, {"document_due_at": now + AGAIN_AFTER})
        log.warning("the document %s cannot be read: %s", client.client_id, fault.reason)
    except Invalid as fault:
        _end(client, fault, now)
    else:
        facts = columns(metadata)
        changed = bool(client.document_fault) or any(getattr(client, name) != fact for name, fact in facts.items())
        if any(getattr(client, name) != facts[name] for name in ("name", "redirect_uris")):
            facts["approved_at"] = None  # what the operator knew was another one
        with transaction.atomic(durable=True):
            _write(client, facts | _copy(now, fresh))
            if changed:
                audit.record("client.updated", now=now, client=client, document=True)


def _end(client: Client, fault: Invalid, now: datetime) -> None:
    """Nothing is authorized and nothing refreshed until it is good again; its grants stay, for that day."""
    begins = not client.document_fault
    with transaction.atomic(durable=True):
        _write(client, {"document_fault": fault.description[:300], "document_due_at": now + AGAIN_AFTER})
        if begins:
            audit.record("client.document_ended", now=now, client=client, reason=fault.reason)


def _usable(client: Client, now: datetime) -> Client:
    if client.document_fault:
        raise _refusal(client.client_id, client.document_fault)
    if client.document_read_at is not None and client.document_read_at + LAST_GOOD_COPY <= now:
        raise Unavailable("What this app says about itself cannot be read.", reason="the last good copy is too old")
    return client


# ------------------------------------------------------------------ the document


def _read(client_id: str) -> tuple[ClientMetadata, timedelta]:
    """What the document says, and for how long that counts. Raises NotFetched."""
    fetched = fetching.fetch_json(client_id)
    config = settings.OVAUTH
    try:
        metadata = client_documents.read(
            fetched.document,
            client_id=client_id,
            known_scopes=config.scope_names,
            default_scopes=config.default_scopes,
        )
    except (InvalidClientMetadata, InvalidRedirectUri) as refusal:
        raise Invalid(refusal.description.rstrip("."), reason=refusal.reason) from None
    seconds = UNSAID if fetched.max_age is None else fetched.max_age
    return metadata, timedelta(seconds=min(max(seconds, SHORTEST), LONGEST))


def _refusal(client_id: str, why: str, reason: str = "") -> InvalidClient:
    host = client_documents.host(client_id)
    return InvalidClient(f"What this app says about itself at {host} cannot be used: {why}.", reason=reason)


def columns(metadata: ClientMetadata) -> dict[str, Any]:
    """The columns that a document fills, the client's own or the one that it registers with."""
    return {
        "name": metadata.client_name,
        "redirect_uris": list(metadata.redirect_uris),
        "grant_types": list(metadata.grant_types),
        "response_types": list(metadata.response_types),
        "token_endpoint_auth_method": metadata.token_endpoint_auth_method,
        "application_type": metadata.application_type,
        "scope": metadata.scope,
        "metadata": dict(metadata.extra),  # whoever changes it changes it for one client
    }


def _copy(now: datetime, fresh: timedelta) -> dict[str, Any]:
    """The columns that say how good the copy is."""
    return {"document_read_at": now, "document_due_at": now + fresh, "document_fault": ""}


def _write(client: Client, changes: dict[str, Any]) -> None:
    """Changes these columns of the row and no other: an operator may be blocking the client at this moment."""
    Client.objects.filter(pk=client.pk).update(**changes)
    for name, value in changes.items():
        setattr(client, name, value)
