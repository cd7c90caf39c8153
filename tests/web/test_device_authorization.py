"""The device grant over HTTP (RFC 8628): the device asks, a person confirms the code, the device is told."""

import pytest

from ovauth.flows import approval, device_code
from ovauth.models import Client
from tests.conftest import Person, registered, works
from tests.web.asking import Answer, Site
from tests.web.conftest import assert_refused


@pytest.fixture
def device(db: None) -> Client:
    return registered(grant_types=[device_code.GRANT_TYPE, "refresh_token", "authorization_code"])


def poll(site: Site, device: Client, code: str) -> Answer:
    fields = {"grant_type": device_code.GRANT_TYPE, "client_id": device.client_id, "device_code": code}
    return site.post_form("/token", fields)


def test_a_device_gets_tokens_when_a_person_has_confirmed_its_code(site: Site, device: Client, bob: Person) -> None:
    begun = site.post_form("/device_authorization", {"client_id": device.client_id, "scope": "mcp"})
    assert begun.status == 200
    assert begun.headers["cache-control"] == "no-store"
    told = begun.json()
    assert set(told) == {
        "device_code",
        "user_code",
        "verification_uri",
        "verification_uri_complete",
        "expires_in",
        "interval",
    }
    assert told["device_code"].startswith("ovdc_")
    assert told["verification_uri"] == "http://testserver/console/verify"
    assert told["verification_uri_complete"].endswith(f"?code={told['user_code']}")

    assert_refused(poll(site, device, told["device_code"]), "oauth", status=400, error="authorization_pending")
    assert_refused(poll(site, device, told["device_code"]), "oauth", status=400, error="slow_down")
    decision = {"code": told["user_code"].lower(), "decision": "approve"}
    assert site.post_json("/api/v1/auth/oauth-verify", decision, key=bob.api_key).status == 200
    answer = poll(site, device, told["device_code"])
    assert answer.status == 200
    assert works(answer.json()["access_token"])
    assert_refused(poll(site, device, told["device_code"]), "oauth", status=400, error="invalid_grant")


def test_a_denied_device_is_told_so(site: Site, device: Client, bob: Person) -> None:
    told = site.post_form("/device_authorization", {"client_id": device.client_id}).json()
    approval.deny(authority=bob.by_key, code=told["user_code"])
    assert_refused(poll(site, device, told["device_code"]), "oauth", status=400, error="access_denied")


def test_who_did_not_register_for_it_is_refused(site: Site, client_app: Client) -> None:
    answer = site.post_form("/device_authorization", {"client_id": client_app.client_id})
    assert_refused(answer, "oauth", status=400, error="unauthorized_client")
    unknown = site.post_form("/device_authorization", {"client_id": "nobody"})
    assert_refused(unknown, "oauth", status=401, error="invalid_client")


def test_it_is_advertised(site: Site) -> None:
    metadata = site.get("/.well-known/oauth-authorization-server").json()
    assert metadata["device_authorization_endpoint"] == "http://testserver/device_authorization"
    assert device_code.GRANT_TYPE in metadata["grant_types_supported"]
