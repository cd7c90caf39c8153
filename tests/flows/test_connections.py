"""One installation is one connection, however often it is approved; no approval ends what another installation holds."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ovauth.errors import Conflict, InvalidGrant, NotFound
from ovauth.flows import approval, authorization, connections, refresh_token
from ovauth.flows.connections import Connection
from ovauth.flows.issuance import TokenPair
from ovauth.models import Client, ClientOrigin, Grant
from tests.conftest import ISSUER, Person, approved, begun, connected, redeemed, registered, works

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock")]
Clock = Callable[[float], None]


def living(person: Person) -> list[Connection]:
    return connections.living(member_pk=person.member.pk)


def connected_in(client: Client, person: Person, browser: str, *, scope: str | None = None) -> TokenPair:
    """As `connected`, in the browser with that secret."""
    pending = begun(client, browser=browser, scope=scope)
    approval.approve(authority=person.by_key, pending_id=pending)
    url = authorization.collect(pending_id=pending, browser=browser, issuer=ISSUER).redirect_url
    return redeemed(client, parse_qs(urlsplit(url or "").query)["code"][0])


def shared() -> Client:
    """A client whose id many installations share."""
    client = registered()
    Client.objects.filter(pk=client.pk).update(origin=ClientOrigin.DOCUMENT)
    client.refresh_from_db()
    return client


def test_a_client_that_asks_for_more_stays_one_connection_and_keeps_what_it_had(
    bob: Person, client_app: Client, clock: Clock
) -> None:
    first = connected(client_app, bob.by_key, scope="mcp")
    clock(60)
    second = connected(client_app, bob.by_session, scope="fs mcp")
    assert [found.scopes for found in living(bob)] == [("mcp", "fs")]
    assert all(works(pair.access_token) for pair in (first, second))
    assert refresh_token.rotate(client=client_app, refresh_token=first.refresh_token or "", issuer=ISSUER)
    assert len(living(bob)) == 1


def test_one_that_gives_up_half_way_keeps_what_it_had(bob: Person, client_app: Client) -> None:
    pair = connected(client_app, bob.by_key, scope="mcp")
    approved(client_app, bob.by_key, scope="mcp fs")  # and never fetches its tokens
    assert [found.scopes for found in living(bob)] == [("mcp",)]
    assert works(pair.access_token)


def narrowed(client: Client, person: Person, *scopes: str, asked: str = "mcp fs", browser: str = "browser") -> None:
    """A person is asked for all of that, and leaves these scopes ticked."""
    pending = begun(client, browser=browser, scope=asked)
    approval.approve(authority=person.by_session, pending_id=pending, scopes=scopes)


def test_what_a_person_withholds_ends_at_once_in_what_the_installation_had(bob: Person, client_app: Client) -> None:
    kept = connected(client_app, bob.by_key, scope="mcp")
    wide = [connected(client_app, bob.by_key, scope=scope) for scope in ("mcp fs", "fs")]
    narrowed(client_app, bob, "mcp")
    assert not any(works(pair.access_token) for pair in wide)
    for pair in wide:
        with pytest.raises(InvalidGrant):
            refresh_token.rotate(client=client_app, refresh_token=pair.refresh_token or "", issuer=ISSUER)
    assert works(kept.access_token)  # it never held what was withheld
    assert [found.scopes for found in living(bob)] == [("mcp",)]
    told = connections.ended(member_pk=bob.member.pk)
    assert [found.because for found in told] == ["approved again with less"] * 2


@pytest.mark.parametrize(
    ("scopes", "asked"), [(("mcp", "fs"), "mcp fs"), (("mcp",), "mcp"), (("mcp", "fs"), "mcp fs admin")]
)
def test_as_much_or_more_and_what_was_not_asked_for_end_nothing(
    bob: Person, client_app: Client, scopes: tuple[str, ...], asked: str
) -> None:
    """bob is a user: that his role withholds `admin` is no decision of his."""
    before = connected(client_app, bob.by_key, scope="mcp fs")
    narrowed(client_app, bob, *scopes, asked=asked)
    assert works(before.access_token)
    assert refresh_token.rotate(client=client_app, refresh_token=before.refresh_token or "", issuer=ISSUER)


def test_a_code_that_is_not_fetched_yet_opens_nothing_that_was_withheld_since(bob: Person, client_app: Client) -> None:
    code = approved(client_app, bob.by_key, scope="mcp fs")
    narrowed(client_app, bob, "mcp")
    with pytest.raises(InvalidGrant):
        redeemed(client_app, code)


def test_what_one_installation_is_denied_another_one_keeps(bob: Person, alice: Person) -> None:
    client = shared()
    at_home, at_work = (connected_in(client, bob, browser, scope="mcp fs") for browser in ("home", "work"))
    hers = connected_in(client, alice, "home", scope="mcp fs")
    other_app = connected(registered(), bob.by_key, scope="mcp fs")
    narrowed(client, bob, "mcp", browser="home")
    assert not works(at_home.access_token)
    assert all(works(pair.access_token) for pair in (at_work, hers, other_app))


def test_an_approval_that_came_too_late_ends_nothing(bob: Person, client_app: Client) -> None:
    before = connected(client_app, bob.by_key, scope="mcp fs")
    pending = begun(client_app, scope="mcp fs")
    approval.deny(authority=bob.by_session, pending_id=pending)
    with pytest.raises(Conflict):
        approval.approve(authority=bob.by_session, pending_id=pending, scopes=["mcp"])
    assert works(before.access_token)


def test_when_the_later_one_ends_the_earlier_one_stands_in_front_again(bob: Person, client_app: Client) -> None:
    connected(client_app, bob.by_key, scope="mcp")
    connected(client_app, bob.by_key, scope="mcp fs")
    Grant.objects.filter(scope="mcp fs").update(role=3)  # beyond its holder: dead
    assert [found.scopes for found in living(bob)] == [("mcp",)]


def test_a_disconnected_connection_takes_along_what_stands_behind_it(bob: Person, client_app: Client) -> None:
    pairs = [connected(client_app, bob.by_key) for _ in range(3)]
    (newest,) = living(bob)
    other = connected(registered(), bob.by_key)
    connections.disconnect(member_pk=bob.member.pk, grant_pk=newest.pk)
    assert not any(works(pair.access_token) for pair in pairs)
    assert works(other.access_token)
    assert len(living(bob)) == 1
    with pytest.raises(NotFound):
        connections.disconnect(member_pk=bob.member.pk, grant_pk=newest.pk)


def test_the_connection_was_last_used_when_any_of_it_was(bob: Person, client_app: Client, clock: Clock) -> None:
    first = connected(client_app, bob.by_key)
    connected(client_app, bob.by_key)
    assert [found.last_used_at for found in living(bob)] == [None]
    clock(90)
    assert works(first.access_token)
    assert [found.last_used_at for found in living(bob)] == [Grant.objects.order_by("pk")[0].last_used_at]


def test_installations_that_share_a_client_id_are_told_apart_by_their_browser(bob: Person, alice: Person) -> None:
    client = shared()
    at_home, at_work = connected_in(client, bob, "home"), connected_in(client, bob, "work")
    again = connected_in(client, bob, "home", scope="mcp fs")
    connected_in(client, alice, "home")
    assert sorted(found.scopes for found in living(bob)) == [("mcp",), ("mcp", "fs")]
    home = next(found for found in living(bob) if "fs" in found.scopes)
    connections.disconnect(member_pk=bob.member.pk, grant_pk=home.pk)
    assert not works(at_home.access_token)
    assert not works(again.access_token)
    assert works(at_work.access_token)
    assert len(living(alice)) == 1


def test_without_a_browser_nothing_tells_them_apart(bob: Person) -> None:
    client = shared()
    connected(client, bob.by_key)
    connected(client, bob.by_key)
    Grant.objects.update(browser_digest=None)
    assert len(living(bob)) == 2


def test_whoever_reviews_is_told_of_the_connection_that_is_there_already(bob: Person, alice: Person) -> None:
    client = shared()
    connected_in(client, bob, "home")

    def earlier(person: Person, browser: str) -> Connection | None:
        return connections.earlier(member_pk=person.member.pk, pending_id=begun(client, browser=browser))

    found = earlier(bob, "home")
    assert found is not None
    assert found.pk == living(bob)[0].pk
    assert earlier(bob, "work") is None
    assert earlier(alice, "home") is None
    assert connections.earlier(member_pk=bob.member.pk, pending_id="nonsense") is None


def test_the_question_in_sql_is_the_one_in_python(bob: Person, alice: Person) -> None:
    """For the admin, which asks about thousands of grants at once."""
    client, own = shared(), registered()
    for browser in ("home", "work", "home"):
        connected_in(client, bob, browser)
    for person in (bob, alice, bob):
        connected(own, person.by_key)
    in_front: set[Any] = {found.pk for person in (bob, alice) for found in living(person)}
    rows = Grant.objects.annotate(taken_over=connections.taken_over())
    assert {grant.pk for grant in rows if not grant.taken_over} == in_front
    assert len(in_front) == 4
