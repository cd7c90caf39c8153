"""client_credentials over HTTP: a client acts by itself once an operator has bound it to a member, and no longer."""

import base64

import pytest

from ovauth.flows import clients
from ovauth.flows.clients import Registration
from ovauth.models import Member
from tests.conftest import CALLBACK, Person, works
from tests.web.asking import Answer, Site
from tests.web.conftest import assert_refused


@pytest.fixture
def made(db: None) -> Registration:
    return clients.make(name="Nightly job", redirect_uris=[CALLBACK], token_endpoint_auth_method="client_secret_basic")


def bind(made: Registration, member: Member | None) -> None:
    clients.change(
        client_id=made.client_id,
        name="Nightly job",
        redirect_uris=[CALLBACK],
        access_token_ttl=None,
        acts_as_pk=member.pk if member else None,
    )


def ask(site: Site, made: Registration) -> Answer:
    secret = base64.b64encode(f"{made.client_id}:{made.client_secret}".encode()).decode()
    return site.post_form("/token", {"grant_type": "client_credentials"}, headers={"Authorization": f"Basic {secret}"})


def test_a_bound_client_acts_as_its_member_until_it_is_unbound(site: Site, made: Registration, bob: Person) -> None:
    assert_refused(ask(site, made), "oauth", status=400, error="unauthorized_client")
    bind(made, bob.member)
    answer = ask(site, made)
    assert answer.status == 200
    assert set(answer.json()) == {"access_token", "token_type", "expires_in", "scope"}
    token = answer.json()["access_token"]
    assert site.get("/api/v1/whoami", key=token).json()["user_id"] == "bob"
    bind(made, None)
    assert not works(token)
    assert_refused(ask(site, made), "oauth", status=400, error="unauthorized_client")
