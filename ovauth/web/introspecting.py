"""The short way of introspection, which resource servers ask for each of their requests: from the event loop, at a glance.

A client that proves itself by Basic, asks about one token and is told of it: that is the plain question, and it takes two
SELECTs. Whatever is not plain, could be refused or has to be noted goes the long way, to the Ninja operation, which judges
it from the beginning. A test holds the two answers against each other.
"""

import json
from typing import Any, Final

from django.conf import settings
from starlette.types import Scope

from ovauth import wire
from ovauth.errors import Refusal
from ovauth.flows import clients, introspection
from ovauth.flows.introspection import Asker
from ovauth.glances import Glances

PATH: Final = "/introspect"
PRIVATE: Final = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"), (b"pragma", b"no-cache"))
"""The headers of the answer, beside those of everything (RFC 6749 §5.1)."""
_ASKED: Final = frozenset({b"authorization", b"content-type", b"x-api-key"})


class AtAGlance:
    """Answers plain questions. Of one event loop."""

    def __init__(self) -> None:
        self._glances = Glances()

    def told(self, scope: Scope, body: bytes) -> bytes | None:
        """The document of RFC 7662 §2.2 as JSON; None when the question goes the long way."""
        if scope["method"] != "POST" or scope["query_string"] or "ovauth.fault" in scope or not settings.OVAUTH.enabled:
            return None
        sent = [(name, value.decode("latin-1")) for name, value in scope["headers"] if name in _ASKED]
        headers = dict(sent)
        if len(sent) != 2 or not headers.get(b"authorization", "").startswith("Basic "):
            return None
        try:
            parameters = wire.form(headers.get(b"content-type"), body)
            proof = wire.client_credentials(headers[b"authorization"], parameters)
            if not proof.client_secret or clients.is_described_elsewhere(proof.client_id):
                return None
            return self._glances.look(lambda: _told(scope, proof, parameters.need("token")))
        except Refusal:
            return None


def _told(scope: Scope, proof: wire.ClientCredentials, token: str) -> bytes:
    source, issuer = scope["ovauth.provenance"], scope["ovauth.issuer"]
    client = clients.authenticate(client_id=proof.client_id, client_secret=proof.client_secret, ip=source.ip)
    told: dict[str, Any] = introspection.introspect(asker=Asker(client=client), token=token, issuer=issuer)
    source.client_id, source.route = client.client_id, PATH
    return json.dumps(told).encode()
