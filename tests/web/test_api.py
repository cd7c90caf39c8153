"""The API below /api/v1: who calls, what they may decide, and what they must not learn."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client as Browser

from ovauth.conf import Config
from ovauth.flows import accounts, authorization
from ovauth.models import Client, OneTimePassword, PendingAuthorization
from tests.conftest import Person, begun, connected, registered, works
from tests.web.asking import Answer, Site
from tests.web.conftest import Rows, assert_refused

VERIFY = "/api/v1/auth/oauth-verify"
OTP = "/api/v1/auth/otp"
WHOAMI = "/api/v1/whoami"
REVOKE = "/api/v1/admin/revoke-user-tokens"


def code_of(pending_id: str) -> str:
    return authorization.look(pending_id=pending_id, browser="browser").display_code


def decide(site: Site, key: str | None, **document: Any) -> Answer:
    return site.post_json(VERIFY, document, key=key)


@pytest.fixture
def waiting(client_app: Client) -> str:
    return begun(client_app)


# ------------------------------------------------------------------ who calls


@pytest.mark.parametrize("header", ["Authorization", "X-Api-Key"])
def test_a_key_says_who_calls_in_either_header(site: Site, alice: Person, header: str) -> None:
    value = f"Bearer {alice.api_key}" if header == "Authorization" else alice.api_key
    answer = site.get(WHOAMI, headers={header: value})
    assert answer.json() == {
        "account_id": "acme",
        "user_id": "alice",
        "role": "admin",
        "scopes": ["mcp", "fs", "admin"],
        "from_oauth": False,
    }
    assert answer.headers["cache-control"] == "no-store"


def test_a_token_says_who_calls_with_the_scopes_that_it_has(site: Site, client_app: Client, bob: Person) -> None:
    token = connected(client_app, bob.by_key).access_token
    assert site.get(WHOAMI, key=token).json() == {
        "account_id": "acme",
        "user_id": "bob",
        "role": "user",
        "scopes": ["mcp"],
        "from_oauth": True,
    }


def test_a_session_says_who_calls(alice: Person) -> None:
    browser = Browser(enforce_csrf_checks=True)
    browser.force_login(alice.member)
    assert browser.get(WHOAMI).json()["user_id"] == "alice"
    assert browser.get(WHOAMI).json()["from_oauth"] is False


def test_the_scheme_is_bearer_in_any_case(site: Site, alice: Person) -> None:
    assert site.get(WHOAMI, headers={"Authorization": f"bEaReR  {alice.api_key} "}).status == 200


@pytest.mark.parametrize("method", ["HEAD"])
def test_head_is_get_without_a_body(site: Site, alice: Person, method: str) -> None:
    answer = site.ask(method, WHOAMI, key=alice.api_key)
    assert (answer.status, answer.body) == (200, b"")


def test_nobody_is_told_so_with_a_bare_challenge(site: Site, db: None) -> None:
    answer = site.get(WHOAMI)
    assert_refused(answer, "api", status=401, error="unauthenticated")
    assert answer.headers["www-authenticate"] == 'Bearer realm="ovauth"'


@pytest.mark.parametrize(
    "headers",
    [
        [("Authorization", "Bearer ovk_wrong")],
        [("Authorization", "Bearer ovat_wrong")],
        [("Authorization", "Bearer ovrt_wrong")],
        [("Authorization", "Bearer {key}"), ("Authorization", "Bearer {key}")],
        [("Authorization", "Bearer {key}"), ("X-Api-Key", "{key}")],
        [("X-Api-Key", "{key}"), ("X-Api-Key", "{key}")],
        [("Authorization", "Bearer {key},")],
        [("Authorization", "Bearer {key} {key}")],
        [("Authorization", "Basic {key}")],
        [("Authorization", "{key}")],
        [("Authorization", "")],
        [("Authorization", "Bearer")],
        [("X-Api-Key", "")],
        [("X-Api-Key", "\xe4")],
        [("Authorization", "Bearer " + "x" * 5000)],
    ],
)
def test_anything_but_one_good_credential_is_refused(site: Site, alice: Person, headers: list[tuple[str, str]]) -> None:
    sent = [(name, value.replace("{key}", alice.api_key)) for name, value in headers]
    answer = site.get(WHOAMI, headers=sent)
    assert_refused(answer, "api", status=401, error="invalid_token")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def test_a_bad_key_is_not_helped_by_a_session(alice: Person) -> None:
    browser = Browser()
    browser.force_login(alice.member)
    assert browser.get(WHOAMI, headers={"Authorization": "Bearer ovk_wrong"}).status_code == 401


def test_no_credential_is_read_from_the_query(site: Site, alice: Person) -> None:
    query = {"api_key": alice.api_key, "access_token": alice.api_key}
    assert_refused(site.get(WHOAMI, query=query), "api", status=401)


def test_a_rotated_key_is_nobody(site: Site, alice: Person) -> None:
    accounts.rotate_api_key(account="acme", name="alice")
    assert_refused(site.get(WHOAMI, key=alice.api_key), "api", status=401, error="invalid_token")


# ------------------------------------------------------------------ deciding


@pytest.mark.parametrize(("word", "status"), [("approve", "approved"), ("deny", "denied")])
@pytest.mark.parametrize("by", ["code", "pending_id"])
def test_a_person_decides_by_code_or_by_id(
    site: Site, bob: Person, client_app: Client, waiting: str, word: str, status: str, by: str
) -> None:
    which = {"code": code_of(waiting)} if by == "code" else {"pending_id": waiting}
    answer = decide(site, bob.api_key, decision=word, **which)
    assert answer.status == 200
    assert answer.json() == {"status": status, "client_id": client_app.client_id, "client_name": "Test client"}
    assert answer.headers["cache-control"] == "no-store"
    assert PendingAuthorization.objects.get().decision == status


@pytest.mark.parametrize("spelling", [str.lower, lambda code: f" {code} ", lambda code: code.replace("-", " - ")])
def test_a_code_is_read_as_people_write_it(site: Site, bob: Person, waiting: str, spelling: Callable[[str], str]) -> None:
    assert decide(site, bob.api_key, decision="approve", code=spelling(code_of(waiting))).status == 200


@pytest.mark.parametrize(
    "word", ["Approve", "approved", "APPROVE", "yes", "true", " approve", "approve ", "", "allow", "de\u200bny"]
)
def test_only_the_exact_words_count(site: Site, bob: Person, waiting: str, rows: Callable[[], Rows], word: str) -> None:
    before = rows()
    answer = decide(site, bob.api_key, decision=word, pending_id=waiting)
    assert_refused(answer, "api", status=400, error="invalid_request")
    assert rows() | {"ApiKey": 0} == before | {"ApiKey": 0}


@pytest.mark.parametrize("value", [True, 1, None, ["approve"], {"approve": True}])
def test_a_decision_is_a_word(site: Site, bob: Person, waiting: str, value: Any) -> None:
    answer = decide(site, bob.api_key, decision=value, pending_id=waiting)
    assert_refused(answer, "api", status=400, error="invalid_request")
    assert PendingAuthorization.objects.get().decision == ""


def test_nothing_defaults_to_approve(site: Site, bob: Person, waiting: str) -> None:
    assert_refused(decide(site, bob.api_key, pending_id=waiting), "api", status=400)
    assert PendingAuthorization.objects.get().decision == ""


@pytest.mark.parametrize("which", [{}, {"code": "{code}", "pending_id": "{id}"}, {"code": None, "pending_id": None}])
def test_exactly_one_request_is_meant(site: Site, bob: Person, waiting: str, which: dict[str, str | None]) -> None:
    filled = {k: v and v.replace("{id}", waiting).replace("{code}", code_of(waiting)) for k, v in which.items()}
    assert_refused(decide(site, bob.api_key, decision="approve", **filled), "api", status=400, error="invalid_request")
    assert PendingAuthorization.objects.get().decision == ""


def test_the_first_decision_stands(site: Site, alice: Person, bob: Person, waiting: str) -> None:
    assert decide(site, bob.api_key, decision="deny", pending_id=waiting).status == 200
    again = decide(site, alice.api_key, decision="approve", pending_id=waiting)
    assert_refused(again, "api", status=409, error="conflict")
    assert PendingAuthorization.objects.get().decision == "denied"


def test_unknown_and_expired_are_answered_alike(
    site: Site, bob: Person, waiting: str, clock: Callable[[float], None]
) -> None:
    pending_id = begun(registered())
    code = code_of(pending_id)
    clock(601)
    for known, unknown in (({"pending_id": pending_id}, {"pending_id": "unknown"}), ({"code": code}, {"code": "222222"})):
        expired = decide(site, bob.api_key, decision="approve", **known)
        assert_refused(expired, "api", status=404, error="not_found")
        assert expired.body == decide(site, bob.api_key, decision="approve", **unknown).body


def test_a_guesser_is_stopped_and_the_others_are_not(site: Site, alice: Person, bob: Person, waiting: str) -> None:
    answers = [decide(site, bob.api_key, decision="approve", code="222222") for _ in range(6)]
    assert [answer.status for answer in answers] == [404] * 5 + [429]
    assert_refused(answers[-1], "api", status=429, error="too_many_requests")
    assert 0 < int(answers[-1].headers["retry-after"]) <= 601
    assert decide(site, bob.api_key, decision="approve", code=code_of(waiting)).status == 429
    site.peer = "198.51.100.1"
    assert decide(site, alice.api_key, decision="approve", code=code_of(waiting)).status == 200


@pytest.mark.parametrize("path", [VERIFY, OTP, REVOKE, "/api/v1/auth/oauth/pending/x"])
def test_an_oauth_token_creates_no_authority(
    site: Site, client_app: Client, root: Person, waiting: str, rows: Callable[[], Rows], path: str
) -> None:
    token = connected(client_app, root.by_key, scope="admin mcp").access_token
    assert site.get(WHOAMI, key=token).status == 200
    before = rows()
    documents = {
        VERIFY: {"pending_id": waiting, "decision": "approve"},
        REVOKE: {"account_id": "default", "user_id": "operator"},
    }
    method = "GET" if "pending" in path else "POST"
    answer = site.get(path, key=token) if method == "GET" else site.post_json(path, documents.get(path, {}), key=token)
    assert_refused(answer, "api", status=403, error="forbidden")
    assert rows() == before


def test_a_role_that_may_have_none_of_the_scopes_cannot_approve(site: Site, bob: Person) -> None:
    pending_id = begun(registered(), scope="admin")
    assert_refused(decide(site, bob.api_key, decision="approve", pending_id=pending_id), "api", status=403)
    assert PendingAuthorization.objects.get().decision == ""


# ------------------------------------------------------------------ by session


def signed_in(person: Person) -> tuple[Browser, str]:
    """A browser with a session, and its CSRF token."""
    from django.middleware.csrf import _get_new_csrf_string

    browser = Browser(enforce_csrf_checks=True)
    browser.force_login(person.member)
    token = _get_new_csrf_string()
    browser.cookies["csrftoken"] = token
    return browser, token


def test_a_session_decides_with_its_csrf_token(bob: Person, waiting: str) -> None:
    browser, token = signed_in(bob)
    body = {"pending_id": waiting, "decision": "approve"}
    answer = browser.post(VERIFY, body, content_type="application/json", headers={"X-CSRFToken": token})
    assert answer.status_code == 200
    assert answer.json()["status"] == "approved"
    assert PendingAuthorization.objects.get().grant.password_epoch == bob.member.password_epoch


@pytest.mark.parametrize("path", [VERIFY, OTP, REVOKE])
@pytest.mark.parametrize("headers", [{}, {"X-CSRFToken": "wrong"}, {"Origin": "https://evil.example"}])
def test_a_sessions_write_without_its_token_is_refused(
    alice: Person, waiting: str, path: str, headers: dict[str, str], rows: Callable[[], Rows]
) -> None:
    browser, token = signed_in(alice)
    headers = headers | ({"X-CSRFToken": token} if "Origin" in headers else {})
    before = rows()
    body = {"pending_id": waiting, "decision": "approve", "account_id": "acme", "user_id": "alice"}
    answer = browser.post(path, body, content_type="application/json", headers=headers)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "forbidden"
    assert rows() == before


@pytest.mark.parametrize("content_type", ["multipart/form-data; boundary=x", "application/x-www-form-urlencoded"])
def test_a_form_is_no_json_whoever_sends_it(bob: Person, waiting: str, content_type: str) -> None:
    browser, token = signed_in(bob)
    body = f'--x\r\nContent-Disposition: form-data; name="csrfmiddlewaretoken"\r\n\r\n{token}\r\n--x--\r\n'
    if "urlencoded" in content_type:
        body = f"csrfmiddlewaretoken={token}&decision=approve&pending_id={waiting}"
    answer = browser.generic("POST", VERIFY, body, content_type=content_type)
    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "invalid_request"
    assert PendingAuthorization.objects.get().decision == ""


@pytest.mark.parametrize(
    "body", ["--x\r\nnonsense", "", '--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\0\r\n--x--']
)
def test_a_broken_form_from_a_session_is_no_fault_of_ours(bob: Person, body: str) -> None:
    browser, _ = signed_in(bob)
    answer = browser.generic("POST", VERIFY, body, content_type="multipart/form-data; boundary=x")
    assert 400 <= answer.status_code < 500
    assert "error" in answer.json()


def test_a_deactivated_person_is_nobody(bob: Person, site: Site) -> None:
    browser, _ = signed_in(bob)
    bob.member.is_active = False
    bob.member.save()
    assert browser.get(WHOAMI).status_code == 401
    assert_refused(site.get(WHOAMI, key=bob.api_key), "api", status=401, error="invalid_token")


# ------------------------------------------------------------------ reviewing


def test_a_review_shows_neither_the_code_nor_the_whole_address(site: Site, bob: Person) -> None:
    client = registered(redirect_uris=["https://app.example:8443/deep/callback?tenant=7"], client_name="App")
    pending_id = begun(client)
    answer = site.get(f"/api/v1/auth/oauth/pending/{pending_id}", key=bob.api_key)
    assert answer.json() == {
        "client_id": client.client_id,
        "client_name": "App",
        "redirect_host": "app.example:8443",
        "scopes": ["mcp"],
    }
    assert code_of(pending_id).replace("-", "") not in answer.text.replace("-", "")
    for hidden in ("deep", "callback", "tenant"):
        assert hidden not in answer.text


def test_a_review_says_404_and_409(site: Site, bob: Person, waiting: str) -> None:
    path = "/api/v1/auth/oauth/pending"
    assert_refused(site.get(f"{path}/unknown", key=bob.api_key), "api", status=404, error="not_found")
    assert_refused(site.get(f"{path}/{waiting}\0", key=bob.api_key), "api", status=404, error="not_found")
    assert_refused(site.get(f"{path}/", key=bob.api_key), "api", status=404, error="not_found")
    assert_refused(site.get(f"{path}/{waiting}"), "api", status=401)
    decide(site, bob.api_key, decision="deny", pending_id=waiting)
    assert_refused(site.get(f"{path}/{waiting}", key=bob.api_key), "api", status=409, error="conflict")


# ------------------------------------------------------------------ one-time passwords


def test_a_one_time_password_is_given_once_in_clear(site: Site, bob: Person, configure: Callable[..., Config]) -> None:
    configure(otp_ttl=120)
    answer = site.ask("POST", OTP, key=bob.api_key)
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    assert set(answer.json()) == {"otp", "expires_in"}
    assert answer.json()["expires_in"] == 120
    assert re.fullmatch(r"[A-HJ-NP-Z2-9]{5}-[A-HJ-NP-Z2-9]{5}", answer.json()["otp"])
    assert OneTimePassword.objects.get().member == bob.member


def test_a_session_gets_a_one_time_password_too(bob: Person) -> None:
    browser, token = signed_in(bob)
    assert browser.post(OTP, headers={"X-CSRFToken": token}).status_code == 200


# ------------------------------------------------------------------ administration


def test_an_admin_ends_the_tokens_of_the_own_account(site: Site, alice: Person, bob: Person, client_app: Client) -> None:
    token = connected(client_app, bob.by_key).access_token
    answer = site.post_json(REVOKE, {"account_id": "acme", "user_id": "bob"}, key=alice.api_key)
    assert answer.json() == {"authorization_codes": 0, "access_tokens": 1, "refresh_tokens": 1}
    assert not works(token)
    assert works(bob.api_key)


def test_an_admin_cannot_touch_another_account_nor_learn_of_it(
    site: Site, alice: Person, charlie: Person, client_app: Client, rows: Callable[[], Rows]
) -> None:
    token = connected(client_app, charlie.by_key).access_token
    site.get(WHOAMI, key=alice.api_key)  # "last used" is written here
    before = rows()
    asked = [("other", "charlie"), ("other", "nobody"), ("nowhere", "charlie"), ("acme", "charlie"), ("acme", "nobody")]
    answers = [site.post_json(REVOKE, {"account_id": a, "user_id": u}, key=alice.api_key) for a, u in asked]
    for answer in answers:
        assert_refused(answer, "api", status=404, error="not_found")
    assert len({answer.body for answer in answers}) == 1
    assert rows() == before
    assert works(token)


def test_root_ends_the_tokens_of_any_account(site: Site, root: Person, charlie: Person, client_app: Client) -> None:
    token = connected(client_app, charlie.by_key).access_token
    answer = site.post_json(REVOKE, {"account_id": "other", "user_id": "charlie"}, key=root.api_key)
    assert answer.json()["access_tokens"] == 1
    assert not works(token)


def test_a_user_ends_nobodys_tokens(site: Site, bob: Person, alice: Person) -> None:
    for user in ("alice", "bob"):
        answer = site.post_json(REVOKE, {"account_id": "acme", "user_id": user}, key=bob.api_key)
        assert_refused(answer, "api", status=403, error="forbidden")


# ------------------------------------------------------------------ shapes


@pytest.mark.parametrize("path", ["/api/", "/api/v1", "/api/v1/nothing", "/api/v2/whoami", f"{WHOAMI}/", "/api/v1/\0"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_what_is_not_there_is_a_json_404(site: Site, db: None, path: str, method: str) -> None:
    assert_refused(site.ask(method, path), "api", status=404, error="not_found")


@pytest.mark.parametrize(
    ("method", "path"), [("POST", WHOAMI), ("GET", VERIFY), ("GET", OTP), ("GET", REVOKE), ("DELETE", VERIFY)]
)
def test_a_wrong_method_is_a_json_405(site: Site, alice: Person, method: str, path: str) -> None:
    answer = site.ask(method, path, key=alice.api_key)
    assert_refused(answer, "api", status=405, error="method_not_allowed")
    assert answer.headers["allow"]


def test_switched_off_keys_alone_remain(
    site: Site, configure: Callable[..., Config], alice: Person, client_app: Client, waiting: str
) -> None:
    token = connected(client_app, alice.by_key).access_token
    configure(enabled=False)
    assert site.get(WHOAMI, key=alice.api_key).json()["user_id"] == "alice"
    assert_refused(site.get(WHOAMI, key=token), "api", status=401, error="invalid_token")
    for path in (VERIFY, OTP):
        assert_refused(site.post_json(path, {}, key=alice.api_key), "api", status=404, error="not_found")
    pending = f"/api/v1/auth/oauth/pending/{waiting}"
    assert_refused(site.get(pending, key=alice.api_key), "api", status=404, error="not_found")
    assert PendingAuthorization.objects.get(public_id=waiting).decision == ""


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_health_is_told_to_whoever_watches(site: Site, transactional_db: None, path: str) -> None:
    assert site.get(path).json() == {"status": "ok"}
    assert site.ask("HEAD", path).status == 200
    assert_refused(site.ask("POST", path), "api", status=405, error="method_not_allowed")
