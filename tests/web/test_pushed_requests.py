"""Pushed authorization requests over HTTP (RFC 9126): a browser carries a reference and nothing else."""

from ovauth.models import Client, PendingAuthorization
from tests.conftest import CALLBACK, CHALLENGE
from tests.web.asking import Site
from tests.web.conftest import assert_refused

REQUEST = {
    "response_type": "code",
    "redirect_uri": CALLBACK,
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
    "state": "pushed",
    "scope": "mcp fs",
}


def test_a_browser_begins_with_a_reference(site: Site, client_app: Client) -> None:
    pushed = site.post_form("/par", REQUEST | {"client_id": client_app.client_id})
    assert pushed.status == 201
    assert pushed.headers["cache-control"] == "no-store"
    reference = pushed.json()["request_uri"]
    assert pushed.json()["expires_in"] > 0
    query = {"client_id": client_app.client_id, "request_uri": reference, "scope": "admin", "state": "ignored"}
    answer = site.get("/authorize", query=query)
    assert answer.status == 302
    pending = PendingAuthorization.objects.get()
    assert (pending.scope, pending.state) == ("mcp fs", "pushed")
    assert_refused(site.get("/authorize", query=query), "page", status=400)


def test_a_faulty_request_is_refused_at_once(site: Site, client_app: Client) -> None:
    asked = REQUEST | {"client_id": client_app.client_id}
    for fault in ({"code_challenge_method": "plain"}, {"redirect_uri": "https://evil.example/"}, {"response_type": "x"}):
        assert_refused(site.post_form("/par", asked | fault), "oauth", status=400)


def test_somebody_elses_reference_opens_nothing(site: Site, client_app: Client) -> None:
    query = {"client_id": client_app.client_id, "request_uri": "urn:ietf:params:oauth:request_uri:guessed"}
    assert_refused(site.get("/authorize", query=query), "page", status=400)


def test_it_is_advertised(site: Site) -> None:
    metadata = site.get("/.well-known/oauth-authorization-server").json()
    assert metadata["pushed_authorization_request_endpoint"] == "http://testserver/par"
