"""Client authentication by a signed assertion (private_key_jwt, RFC 7523): the client's keys, and that none comes twice."""

import time
from datetime import datetime
from typing import Any, Final

from django.db import IntegrityError, transaction

from ovauth import credentials, fetching
from ovauth.errors import InvalidClient, Unavailable
from ovauth.fetching import Invalid, Unreachable
from ovauth.flows import limits
from ovauth.models import Client, UsedAssertion
from ovauth.rules import client_assertions, client_keys
from ovauth.rules.client_assertions import NotProven

KEYS_KEPT: Final = 300.0
"""Seconds for which a process remembers the keys behind a `jwks_uri`; an assertion that they did not sign asks anew."""
MOST_KEPT: Final = 500

_kept: dict[str, tuple[float, list[dict[str, Any]]]] = {}


def prove(*, client: Client, assertion: str, audiences: frozenset[str], now: datetime) -> None:
    """Whoever sent the assertion holds a key of the client, and has not sent it before.

    To be called outside of a transaction: it may fetch. Raises InvalidClient; Unavailable when the keys cannot be had now.
    """
    try:
        proof = _proof(client, assertion, audiences, now)
    except NotProven as fault:
        raise InvalidClient(reason=f"client assertion: {fault}") from None
    try:
        with transaction.atomic():
            UsedAssertion.objects.create(digest=credentials.digest(f"{client.pk} {proof.jti}"), expires_at=proof.expires_at)
    except IntegrityError:
        raise InvalidClient(reason="client assertion: its jti was used before") from None


def _proof(client: Client, assertion: str, audiences: frozenset[str], now: datetime) -> client_assertions.Proof:
    asked: dict[str, Any] = {"client_id": client.client_id, "audiences": audiences, "now": now}
    address = client.metadata.get("jwks_uri")
    if not isinstance(address, str):
        return client_assertions.verify(assertion, keys=_inline(client), **asked)
    kept = _kept.get(address)
    if kept is not None and kept[0] > time.monotonic():
        try:
            return client_assertions.verify(assertion, keys=kept[1], **asked)
        except NotProven:
            pass  # perhaps by a key that is newer than what we remember
    return client_assertions.verify(assertion, keys=_fetched(address), **asked)


def _inline(client: Client) -> list[dict[str, Any]]:
    keys = client.metadata.get("jwks", {}).get("keys", [])
    return [key for key in keys if isinstance(key, dict)]


def _fetched(address: str) -> list[dict[str, Any]]:
    counted = ((limits.KEYS_BY_URL, address),)
    limits.check(counted)
    limits.count(counted)
    try:
        document = fetching.fetch_json(address).document
    except Unreachable as fault:
        raise Unavailable("The keys of the client cannot be reached.", reason=str(fault)) from None
    except Invalid as fault:
        raise NotProven(f"its jwks_uri: {fault}") from None
    if why := client_keys.why_not_key_set(document):
        raise NotProven(f"its jwks_uri: {why}")
    if len(_kept) >= MOST_KEPT:
        _kept.clear()
    keys: list[dict[str, Any]] = document["keys"]
    _kept[address] = (time.monotonic() + KEYS_KEPT, keys)
    return keys
