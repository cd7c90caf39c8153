"""Clients: registration (RFC 7591), its management (RFC 7592), and authentication at the token endpoint (RFC 6749 §2.3)."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from ovauth import credentials, statements
from ovauth.credentials import Kind
from ovauth.errors import Conflict, InvalidClient, InvalidClientMetadata, InvalidToken
from ovauth.flows import audit, client_assertions, client_documents, limits
from ovauth.models import Client, ClientOrigin, known
from ovauth.rules import client_assertions as client_assertions_rules
from ovauth.rules import client_metadata
from ovauth.rules.client_metadata import ClientMetadata
from ovauth.rules.networks import household
from ovauth.sql import Insert, Row, atomic, moment

GRANT_TYPES = ("authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code")
MACHINE_GRANT_TYPE = "client_credentials"
"""Only for clients that an operator made and bound to a member."""
AUTH_METHODS = ("none", "client_secret_basic", "client_secret_post", "private_key_jwt")
_INSERT = Insert(Client)
LONGEST_REMEMBERED = 2000
"""Characters of a document that is short enough to remember what was found in it."""
DELETIONS = 5
"""How often the deletion of a client that is in use is tried."""


@dataclass(frozen=True, slots=True)
class Registration:
    """What a client is told about itself. The secrets are in clear and shown once; None where there is none to show."""

    client_id: str
    issued_at: int
    metadata: ClientMetadata
    client_secret: str | None
    registration_access_token: str | None


def register(*, document: object, ip: str = "", derived_secret: bool = False) -> Registration:
    """A new client as the RFC 7591 document describes it. Raises InvalidRedirectUri and InvalidClientMetadata.

    `derived_secret`: one that `described` can tell again, as long as the secret key stands.
    """
    metadata = _read(document)
    counted = ((limits.REGISTRATION_BY_ADDRESS, household(ip)),)
    limits.remember(counted)
    now = timezone.now()
    client_id, management = credentials.identifier(), credentials.mint(Kind.REGISTRATION_TOKEN)
    secret = None
    if _has_secret(metadata):
        secret = (
            credentials.derived_client_secret(settings.SECRET_KEY, client_id)
            if derived_secret
            else credentials.mint(Kind.CLIENT_SECRET)
        )
    columns = client_documents.columns(metadata) | {
        "client_id": client_id,
        "origin": ClientOrigin.REGISTERED,
        "secret_digest": None if secret is None else credentials.digest(secret),
        "registration_digest": credentials.digest(management),
        "likeness": _likeness(metadata),
        "created_at": now,
    }
    with atomic():
        limits.admit(counted)  # the one surface where successes are what a flood consists of
        client = known(Client, id=_INSERT(**columns), **columns)
        audit.record("client.registered", now=now, client=client, method="dynamic")
    return Registration(client_id, int(now.timestamp()), metadata, secret, management)


def read(*, client_id: str, registration_access_token: str) -> Registration:
    """RFC 7592 §2.1. Raises InvalidToken."""
    return _told(_managed(client_id, registration_access_token))


def update(*, client_id: str, registration_access_token: str, document: object) -> Registration:
    """RFC 7592 §2.2: the document replaces what was registered. A secret stays, appears or goes with the method.

    Raises InvalidToken, InvalidRedirectUri, InvalidClientMetadata.
    """
    metadata = _read(document)
    now = timezone.now()
    with transaction.atomic():
        # Locked, since every field is written: a block that came in between would be undone.
        client = _managed(client_id, registration_access_token, lock=True)
        _refuse_another_secret(client, document)
        before = (client.name, client.redirect_uris)
        secret = _write(client, metadata)
        if (client.name, client.redirect_uris) != before:
            client.approved_at = None  # what the operator knew was another one
        client.save(force_update=True)
        audit.record("client.updated", now=now, client=client)
    return _told(client, client_secret=secret)


def _refuse_another_secret(client: Client, document: object) -> None:
    """A client may repeat its secret, and may not choose one (RFC 7592 §2.2)."""
    sent = document.get("client_secret") if isinstance(document, dict) else None
    if sent is None:
        return
    stored = client.secret_digest
    if stored is None or not isinstance(sent, str) or not credentials.same(sent, bytes(stored)):
        raise InvalidClientMetadata("client_secret is not the one that was issued.")


def delete(*, client_id: str, registration_access_token: str) -> None:
    """RFC 7592 §2.3: the client, and with it everything that it held. Raises InvalidToken."""
    _delete(lambda: _managed(client_id, registration_access_token))


def _delete(find: Callable[[], Client]) -> None:
    """Deletes the client that `find` finds, and everything that it held.

    What another request issues in the same moment refers to rows that are gone, so PostgreSQL refuses the commit. Then it
    begins again, and that goes as well.
    """
    now = timezone.now()
    for attempt in range(1, DELETIONS + 1):
        try:
            with transaction.atomic():
                client = find()
                audit.record("client.deleted", now=now, client=client)
                client.delete()
            return
        except IntegrityError:
            if attempt == DELETIONS:
                raise


def make(*, name: str, redirect_uris: Sequence[str], token_endpoint_auth_method: str, scope: str = "") -> Registration:
    """A client made by an operator. Raises InvalidRedirectUri and InvalidClientMetadata."""
    metadata = _read(
        {
            "client_name": name,
            "redirect_uris": list(redirect_uris),
            "token_endpoint_auth_method": token_endpoint_auth_method,
            "scope": scope,
        }
    )
    now = timezone.now()
    with transaction.atomic():
        client = Client(client_id=credentials.identifier(), origin=ClientOrigin.MANUAL, created_at=now)
        secret = _write(client, metadata)
        client.save(force_insert=True)
        audit.record("client.registered", now=now, client=client, method="manual")
    return _told(client, client_secret=secret)


def change(
    *,
    client_id: str,
    name: str,
    redirect_uris: Sequence[str],
    access_token_ttl: int | None,
    acts_as_pk: int | None,
) -> None:
    """What an operator changes of a client: its name, where its codes go, how many seconds its access tokens live, and as
    which member it acts by itself. Raises InvalidClient, InvalidRedirectUri and InvalidClientMetadata.
    """
    now = timezone.now()
    with transaction.atomic():
        client = Client.objects.filter(client_id=client_id).first()
        if client is None:
            raise InvalidClient(reason="no such client")
        metadata = _read({**_document(client), "client_name": name, "redirect_uris": list(redirect_uris)})
        client.name, client.redirect_uris = metadata.client_name, list(metadata.redirect_uris)
        client.likeness = _likeness(metadata) if client.origin == ClientOrigin.REGISTERED else ""
        client.access_token_ttl, client.acts_as_id = access_token_ttl, acts_as_pk
        by_itself = [MACHINE_GRANT_TYPE] if acts_as_pk is not None else []
        client.grant_types = [kind for kind in client.grant_types if kind != MACHINE_GRANT_TYPE] + by_itself
        client.save(update_fields=["name", "redirect_uris", "likeness", "access_token_ttl", "acts_as", "grant_types"])
        audit.record("client.updated", now=now, client=client)


def remove(*, client_id: str) -> None:
    """An operator deletes the client, and with it everything that it held. Raises InvalidClient."""

    def find() -> Client:
        client = Client.objects.filter(client_id=client_id).first()
        if client is None:
            raise InvalidClient(reason="no such client")
        return client

    _delete(find)


def renew_secret(*, client_id: str, secret_known: str | None = None) -> str:
    """A new secret for a client that has one, in clear; the old one stops working.

    `secret_known` is `secret_known_as` of the secret that whoever asks knows of: with it a form that is sent again replaces
    nothing. Raises InvalidClient, and Conflict when there is another secret by now.
    """
    now = timezone.now()
    with transaction.atomic():
        client = Client.objects.select_for_update().filter(client_id=client_id, secret_digest__isnull=False).first()
        if client is None:
            raise InvalidClient(reason="no such client with a secret")
        if secret_known is not None and secret_known != secret_known_as(client):
            raise Conflict("A new secret was made already, and is shown once. This time nothing was replaced.")
        secret = credentials.mint(Kind.CLIENT_SECRET)
        Client.objects.filter(pk=client.pk).update(secret_digest=credentials.digest(secret))
        audit.record("client.secret_renewed", now=now, client=client)
    return secret


def secret_known_as(client: Client) -> str:
    """Tells one secret of a client from the next, and nothing of either."""
    return bytes(client.secret_digest or b"")[:8].hex()


def end_management(*, client_pk: int) -> bool:
    """Ends the registration access token of a client (RFC 7592): it manages itself no more. False when it had none."""
    now = timezone.now()
    with transaction.atomic():
        client = Client.objects.filter(pk=client_pk, registration_digest__isnull=False).first()
        if client is None:
            return False
        Client.objects.filter(pk=client_pk).update(registration_digest=None)
        audit.record("client.updated", now=now, client=client, ended="registration access token")
    return True


def block(client: Client, now: datetime, *, blocked: bool) -> None:
    """Blocks the client, so that nothing it holds works any more, or lets it in again. For use inside a transaction."""
    Client.objects.filter(pk=client.pk).update(blocked_at=now if blocked else None)
    audit.record("client.blocked" if blocked else "client.unblocked", now=now, client=client)


def approve(client: Client, now: datetime, *, approved: bool) -> None:
    """Notes that the operator knows this client, or no longer does; people who review its requests are told so.

    It opens nothing by itself: every connection is still somebody's decision. For use inside a transaction.
    """
    Client.objects.filter(pk=client.pk).update(approved_at=now if approved else None)
    audit.record("client.approved" if approved else "client.unapproved", now=now, client=client)


def named(*, client_id: str) -> Client | None:
    """The client of that id, not authenticated; None when it is unknown or blocked."""
    return Client.objects.filter(client_id=client_id, blocked_at=None).first()


def described(*, client_id: str) -> Registration | None:
    """What is known of that client, with its secret if that was derived; None when it is unknown or blocked."""
    client = named(client_id=client_id)
    if client is None:
        return None
    return _told(client, client_secret=_derived_secret(client))


def _derived_secret(client: Client) -> str | None:
    if client.secret_digest is None:
        return None
    for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        secret = credentials.derived_client_secret(key, client.client_id)
        if credentials.same(secret, bytes(client.secret_digest)):
            return secret
    return None


def authenticate(
    *,
    client_id: str | None,
    client_secret: str | None,
    client_assertion: str | None = None,
    audiences: frozenset[str] = frozenset(),
    ip: str = "",
) -> Client:
    """The client, proven by its secret or its key if it has one. To be called outside of a transaction: it may fetch.

    Whether the secret came by Basic or in the body does not matter: libraries mix the two up. `audiences` are the names by
    which an assertion may address us. Raises InvalidClient, TooManyRequests for a guesser, and Unavailable.
    """
    if client_assertion is not None:
        claimed = client_assertions_rules.claimed_client_id(client_assertion)
        if client_id not in (None, claimed):
            raise InvalidClient(reason="client_id is not the subject of the assertion")
        client_id = claimed
    if not client_id:
        raise InvalidClient("No client authentication was sent.")
    client = found(client_id=client_id, ip=ip)
    refusal = _why_not(client, client_secret, client_assertion)
    if refusal is None and client is not None:
        if client_assertion is not None:
            client_assertions.prove(client=client, assertion=client_assertion, audiences=audiences, now=timezone.now())
        return client
    if client_secret:  # without one nothing is guessed
        # Whoever knows the secret is let in, however often a neighbour guessed wrong: 256 bits are not guessed.
        counted = ((limits.CLIENT_SECRET_BY_CLIENT_AND_ADDRESS, f"{client_id} {household(ip)}"),)
        limits.check(counted)
        limits.count(counted)
    raise InvalidClient(reason=refusal or "unknown client")


def is_described_elsewhere(client_id: str | None) -> bool:
    """Whether finding the client may take a fetch: its id is the URL of a document."""
    return client_id is not None and client_documents.is_document(client_id)


def found(*, client_id: str, ip: str = "") -> Client | None:
    """The client of that id, not authenticated; by its document, if the id is the URL of one. None when it is unknown.

    To be called outside of a transaction: it may fetch. Raises InvalidClient for a document that is not good, Unavailable.
    """
    if is_described_elsewhere(client_id):
        return client_documents.resolve(client_id=client_id, ip=ip)
    row = statements.CLIENT.row(client_id=client_id)
    return None if row is None else _known(row)


@lru_cache(1000)
def _listed(stored: str) -> tuple[str, ...]:
    """A list of texts as JSON has it, read once: most clients have the same few."""
    return tuple(json.loads(stored))


def _known(row: Row) -> Client:
    columns = dict(zip(statements.CLIENT_COLUMNS, row, strict=True))
    for name in ("redirect_uris", "grant_types"):
        columns[name] = list(_listed(columns[name]))
    columns["metadata"] = json.loads(columns["metadata"]) if columns["metadata"] != "{}" else {}
    if columns["blocked_at"] is not None:
        columns["blocked_at"] = moment(columns["blocked_at"])
    return known(Client, **columns)


def _why_not(client: Client | None, client_secret: str | None, client_assertion: str | None) -> str | None:
    if client is None:
        return "the client is unknown"
    if client.blocked_at is not None:
        return "the client is blocked"
    if (client.token_endpoint_auth_method == "private_key_jwt") != (client_assertion is not None):  # noqa: S105 a method
        return "the client authenticates in another way than it registered"
    if client.secret_digest is None:
        return "a public client sent a secret" if client_secret else None
    if not client_secret:
        return "the client's secret is missing"
    if not credentials.same(client_secret, bytes(client.secret_digest)):
        return "the client's secret is wrong"
    return None


def _read(document: object) -> ClientMetadata:
    config = settings.OVAUTH
    try:
        text = json.dumps(document)
    except (TypeError, ValueError, RecursionError):  # no JSON: the rules say so in words
        text = ""
    if not text or len(text) > LONGEST_REMEMBERED:
        return _judge(document, config.scope_names, config.default_scopes)
    return _judge_again(text, config.scope_names, config.default_scopes)


@lru_cache(200)
def _judge_again(text: str, known_scopes: tuple[str, ...], default_scopes: tuple[str, ...]) -> ClientMetadata:
    """The installations of an app send the same document, and many an app sends it at each connection."""
    return _judge(json.loads(text), known_scopes, default_scopes)


def _judge(document: object, known_scopes: tuple[str, ...], default_scopes: tuple[str, ...]) -> ClientMetadata:
    return client_metadata.read(
        document,
        known_scopes=known_scopes,
        default_scopes=default_scopes,
        grant_types=GRANT_TYPES,
        auth_methods=AUTH_METHODS,
    )


def _has_secret(metadata: ClientMetadata) -> bool:
    return metadata.token_endpoint_auth_method not in ("none", "private_key_jwt")


def _write(client: Client, metadata: ClientMetadata) -> str | None:
    """Puts the metadata into the client, to be saved; returns a new secret where one is needed and missing."""
    for name, value in client_documents.columns(metadata).items():
        setattr(client, name, value)
    client.likeness = _likeness(metadata) if client.origin == ClientOrigin.REGISTERED else ""
    if not _has_secret(metadata):
        client.secret_digest = None
        return None
    if client.secret_digest is not None:
        return None
    secret = credentials.mint(Kind.CLIENT_SECRET)
    client.secret_digest = credentials.digest(secret)
    return secret


def _likeness(metadata: ClientMetadata) -> str:
    """What installations of one app share, which all register a client of their own; the others have none."""
    return credentials.digest(client_metadata.likeness(metadata)).hex()[:16]


def _managed(client_id: str, registration_access_token: str, *, lock: bool = False) -> Client:
    rows = Client.objects.select_for_update(no_key=True) if lock else Client.objects.all()
    client = rows.filter(client_id=client_id).first()
    if (
        client is None
        or client.registration_digest is None
        or not credentials.same(registration_access_token, bytes(client.registration_digest))
    ):
        raise InvalidToken("The registration access token is not valid for this client.")
    return client


def _document(client: Client) -> dict[str, object]:
    """The client as it would describe itself. What a later rule no longer knows is left out, and stays as it is."""
    return {
        "grant_types": [kind for kind in client.grant_types if kind in GRANT_TYPES] or ["authorization_code"],
        "token_endpoint_auth_method": client.token_endpoint_auth_method,
    }


def _told(client: Client, *, client_secret: str | None = None) -> Registration:
    metadata = ClientMetadata(
        client_name=client.name,
        redirect_uris=tuple(client.redirect_uris),
        grant_types=tuple(client.grant_types),
        response_types=tuple(client.response_types),
        token_endpoint_auth_method=client.token_endpoint_auth_method,
        scope=client.scope,
        application_type=client.application_type,
        extra=client.metadata,
    )
    return Registration(client.client_id, int(client.created_at.timestamp()), metadata, client_secret, None)
