"""The generator of large databases keeps its word, so that what is measured on them is measured on what works."""

import pytest
from django.db import connection

from ovauth import bearer, credentials
from ovauth.credentials import Kind
from ovauth.flows import clients, refresh_token
from ovauth.models import AccessToken, Client, Grant
from tests.bench import fill
from tests.conftest import ISSUER, RESOURCE, works

SIZE = fill.Size(access_tokens=400, refresh_tokens=300, grants=200, clients=40, audit_events=50, pending=4, issuer=ISSUER)


@pytest.mark.django_db(transaction=True)
def test_a_filled_database_holds_what_is_said_of_it() -> None:
    fill.fill(SIZE)
    connection.check_constraints()
    assert AccessToken.objects.count() == SIZE.access_tokens
    for number in (0, 39, 40, 41, 50, 210, 399):
        expected = fill.works(number, SIZE.access_tokens, SIZE.grants)
        assert works(fill.secret(Kind.ACCESS_TOKEN, number)) == expected, number
    key = bearer.identify(fill.secret(Kind.API_KEY, 3), resource=RESOURCE)
    assert (key.account_id, key.user_id) == (fill.account_name(0), fill.user_name(3))
    with_secret = clients.authenticate(client_id=fill.client_id(1), client_secret=fill.secret(Kind.CLIENT_SECRET, 1))
    assert with_secret.name == fill.kind_of_client(1).name
    # what was filled goes on as if it had been issued
    number = next(n for n in range(100, 300) if fill.unused(n, 300, 200) and not fill.is_revoked(n % 200))
    grant = Grant.objects.get(refresh_tokens__digest=_digest(number))
    client = Client.objects.get(pk=grant.client_id)
    tokens = refresh_token.rotate(client=client, refresh_token=fill.secret(Kind.REFRESH_TOKEN, number), issuer=ISSUER)
    assert works(tokens.access_token)
    with pytest.raises(RuntimeError, match="filled before"):
        fill.fill(SIZE)


def _digest(number: int) -> bytes:
    return credentials.digest(fill.secret(Kind.REFRESH_TOKEN, number))
