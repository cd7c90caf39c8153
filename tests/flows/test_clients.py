"""Clients: registration (RFC 7591), its management (RFC 7592), and who they prove to be."""

from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from ovauth.errors import InvalidClient, InvalidClientMetadata, InvalidRedirectUri, InvalidToken, TooManyRequests
from ovauth.flows import clients
from ovauth.flows.clients import Registration
from ovauth.models import Client, Grant
from tests.conftest import CALLBACK, Person, connected, registered, works

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock")]
Clock = Callable[[float], None]
WEB = "https://app.example/callback"


def register(**members: Any) -> Registration:
    return clients.register(document={"client_name": "App", "redirect_uris": [CALLBACK], **members}, ip="192.0.2.1")


def update(made: Registration, **members: Any) -> Registration:
    return clients.update(
        client_id=made.client_id,
        registration_access_token=str(made.registration_access_token),
        document={"client_name": "App", "redirect_uris": [CALLBACK], **members},
    )


def is_proven(client_id: str | None, secret: str | None) -> bool:
    try:
        return clients.authenticate(client_id=client_id, client_secret=secret, ip="192.0.2.9").client_id == client_id
    except InvalidClient:
        return False


# ------------------------------------------------------------------ RFC 7591


def test_a_native_client_is_public_and_has_no_secret(db: None) -> None:
    made = register()
    assert made.client_secret is None
    assert made.metadata.token_endpoint_auth_method == "none"
    assert is_proven(made.client_id, None)
    assert not is_proven(made.client_id, "ovcs_something")


def test_a_web_client_gets_a_secret_and_is_nobody_without_it(db: None) -> None:
    made = register(redirect_uris=[WEB])
    assert str(made.client_secret).startswith("ovcs_")
    assert made.metadata.token_endpoint_auth_method == "client_secret_basic"
    assert is_proven(made.client_id, made.client_secret)
    for wrong in (None, "", "ovcs_wrong", str(made.client_secret).lower()):
        assert not is_proven(made.client_id, wrong)


def test_registration_data_never_chooses_identifiers_secrets_or_trust(db: None) -> None:
    made = register(
        client_id="chosen",
        client_secret="chosen",
        registration_access_token="chosen",
        origin="manual",
        blocked_at=None,
        acts_as=1,
        access_token_ttl=10**9,
    )
    client = Client.objects.get()
    assert "chosen" not in (made.client_id, made.client_secret, made.registration_access_token)
    assert (client.origin, client.acts_as_id, client.access_token_ttl) == ("registered", None, None)
    assert not set(client.metadata) & {"client_secret", "registration_access_token", "acts_as", "access_token_ttl"}


def test_every_registration_is_a_client_of_its_own(db: None) -> None:
    made = [register() for _ in range(3)]
    assert len({one.client_id for one in made}) == len({one.registration_access_token for one in made}) == 3


def test_a_refused_registration_leaves_nothing(db: None) -> None:
    with pytest.raises(InvalidRedirectUri):
        register(redirect_uris=["javascript:alert(1)"])
    with pytest.raises(InvalidClientMetadata):
        register(logo_uri="javascript:alert(1)")
    assert not Client.objects.exists()


def test_a_flood_from_one_address_is_stopped_and_other_addresses_are_not(db: None, clock: Clock) -> None:
    for _ in range(300):
        register()
    with pytest.raises(TooManyRequests):
        register()
    clients.register(document={"redirect_uris": [CALLBACK]}, ip="192.0.2.2")
    clock(600)
    register()


# ------------------------------------------------------------------ RFC 7592


def test_the_management_token_reads_changes_and_deletes_its_own_client_and_no_other(db: None) -> None:
    one, two = register(), register()
    token = {"registration_access_token": str(one.registration_access_token)}
    assert clients.read(client_id=one.client_id, **token).metadata == one.metadata
    for client_id in (two.client_id, "unknown"):
        with pytest.raises(InvalidToken):
            clients.read(client_id=client_id, **token)
        with pytest.raises(InvalidToken):
            clients.update(client_id=client_id, document={"redirect_uris": [CALLBACK]}, **token)
        with pytest.raises(InvalidToken):
            clients.delete(client_id=client_id, **token)
    assert Client.objects.count() == 2


def test_an_update_replaces_what_was_registered(db: None) -> None:
    made = register(client_uri="https://app.example/")
    told = update(made, client_name="Renamed", redirect_uris=["http://127.0.0.1/other"])
    assert told.metadata.client_name == "Renamed"
    client = Client.objects.get()
    assert client.redirect_uris == ["http://127.0.0.1/other"]
    assert "client_uri" not in client.metadata


def test_a_secret_stays_goes_and_appears_with_the_method(db: None) -> None:
    made = register(redirect_uris=[WEB])
    assert update(made, redirect_uris=[WEB], client_name="Renamed").client_secret is None
    assert is_proven(made.client_id, made.client_secret)
    assert update(made, redirect_uris=[WEB], token_endpoint_auth_method="none").client_secret is None
    assert not is_proven(made.client_id, made.client_secret)
    assert is_proven(made.client_id, None)
    told = update(made, redirect_uris=[WEB], token_endpoint_auth_method="client_secret_post")
    assert is_proven(made.client_id, told.client_secret)
    assert not is_proven(made.client_id, made.client_secret)
    assert not is_proven(made.client_id, None)


def test_deleting_a_client_ends_everything_that_it_held(bob: Person) -> None:
    made = register()
    pair = connected(Client.objects.get(), bob.by_key)
    clients.delete(client_id=made.client_id, registration_access_token=str(made.registration_access_token))
    assert not works(pair.access_token)
    assert not is_proven(made.client_id, None)
    assert not Grant.objects.exists()


# ------------------------------------------------------------------ operators


def test_a_client_of_an_operator_has_no_management_token_and_a_secret_that_can_be_renewed(db: None) -> None:
    made = clients.make(name="Made", redirect_uris=[WEB], token_endpoint_auth_method="client_secret_post")
    assert made.registration_access_token is None
    with pytest.raises(InvalidToken):
        clients.read(client_id=made.client_id, registration_access_token="")
    renewed = clients.renew_secret(client_id=made.client_id)
    assert is_proven(made.client_id, renewed)
    assert not is_proven(made.client_id, made.client_secret)


def test_a_public_client_has_no_secret_to_renew(db: None) -> None:
    for client_id in (register().client_id, "unknown"):
        with pytest.raises(InvalidClient):
            clients.renew_secret(client_id=client_id)


def test_a_blocked_client_is_nobody_and_nothing_it_holds_works_until_it_is_let_in(bob: Person, client_app: Client) -> None:
    pair = connected(client_app, bob.by_key)
    clients.block(client_app, timezone.now(), blocked=True)
    assert not is_proven(client_app.client_id, None)
    assert clients.named(client_id=client_app.client_id) is None
    assert not works(pair.access_token)
    clients.block(client_app, timezone.now(), blocked=False)
    assert is_proven(client_app.client_id, None)
    assert works(pair.access_token)


# ------------------------------------------------------------------ guessing


def test_a_guesser_of_a_secret_is_stopped_at_that_address_and_the_client_is_not(db: None) -> None:
    made = register(redirect_uris=[WEB])
    for _ in range(30):
        assert not is_proven(made.client_id, "ovcs_guess")
    with pytest.raises(TooManyRequests):
        is_proven(made.client_id, "ovcs_guess")
    assert is_proven(made.client_id, made.client_secret)
    found = clients.authenticate(client_id=made.client_id, client_secret=made.client_secret, ip="192.0.2.10")
    assert found.client_id == made.client_id


def test_unknown_and_wrong_are_answered_alike(db: None) -> None:
    made = register(redirect_uris=[WEB])
    said = set()
    for client_id, secret in (("unknown", "ovcs_x"), ("unknown", None), (made.client_id, "ovcs_x"), (made.client_id, None)):
        with pytest.raises(InvalidClient) as caught:
            clients.authenticate(client_id=client_id, client_secret=secret)
        said.add(caught.value.description)
    assert len(said) == 1


def test_no_client_id_is_no_client(db: None) -> None:
    for missing in (None, ""):
        with pytest.raises(InvalidClient):
            clients.authenticate(client_id=missing, client_secret=None)
    assert registered().secret_digest is None
