"""The code page and its status: what the browser that began may see, decide and take home."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client as Web

from ovauth.flows import approval, authorization, one_time_password
from ovauth.models import AuthorizationCode, Client, Grant, PendingAuthorization
from tests.conftest import CALLBACK, CHALLENGE, ISSUER, Person, begun, redeemed, registered

pytestmark = pytest.mark.django_db

PAGE, STATUS = "/oauth/authorize/page", "/oauth/authorize/page/status"


@pytest.fixture
def web(client: Web) -> Web:
    client.cookies["ovauth_browser"] = "browser"
    return client


@pytest.fixture
def pending_id(client_app: Client) -> str:
    return begun(client_app)


def text(answer: Any) -> str:
    return answer.content.decode()


def show(web: Web, pending_id: str) -> Any:
    return web.get(PAGE, {"pending": pending_id})


def act(web: Web, pending_id: str, action: str, **more: str) -> Any:
    return web.post(f"{PAGE}?pending={pending_id}", {"action": action, **more})


def status(web: Web, pending_id: str) -> Any:
    return web.get(STATUS, {"pending": pending_id})


def handed_over(page: str) -> dict[str, str]:
    found = re.search(r'data-hand-over="([^"]+)"', page)
    assert found, page
    url = found[1].replace("&amp;", "&")
    assert url.startswith(CALLBACK)
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


# ------------------------------------------------------------------ waiting


def test_the_page_shows_who_asks_where_it_goes_the_code_and_the_time_left(web: Web, pending_id: str) -> None:
    answer = show(web, pending_id)
    page = text(answer)
    code = authorization.look(pending_id=pending_id, browser="browser").display_code
    assert answer.status_code == 200
    assert f'data-code="{code}"' in page
    assert "<q>Test client</q>" in page
    assert "an app on this computer" in page
    assert "/console/verify" in page
    assert re.search(r'data-countdown="(\d+)"', page)
    assert page.count("<h1") == 1
    assert 'role="status"' in page


def test_the_title_names_our_host_and_not_the_stranger(web: Web, pending_id: str) -> None:
    title = re.search(r"<title>(.*)</title>", text(show(web, pending_id)))
    assert title
    assert "Test client" not in title[1]
    assert "testserver" in title[1]


def test_without_javascript_the_waiting_page_asks_again_unless_somebody_types(web: Web, pending_id: str) -> None:
    refresh = '<noscript><meta http-equiv="refresh" content="4"></noscript>'
    assert refresh in text(show(web, pending_id))
    assert refresh not in text(web.get(PAGE, {"pending": pending_id, "hold": "1"}))
    assert refresh not in text(act(web, pending_id, "one-time-password", one_time_password="wrong"))


def test_every_page_is_strict_and_safe_for_popups(web: Web, pending_id: str) -> None:
    for answer in (show(web, pending_id), web.get("/console/login"), show(web, "unknown")):
        policy = answer["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "form-action 'self'" in policy
        assert "unsafe" not in policy
        assert answer["Cross-Origin-Opener-Policy"] == "unsafe-none"
        assert answer["Referrer-Policy"] == "same-origin"
        assert "no-store" in answer["Cache-Control"]
        assert not re.search(r"<style|<script(?! defer src=)|\sstyle=|\son[a-z]+=|javascript:", text(answer))


@pytest.mark.parametrize("browser", ["", "another"])
def test_another_browser_sees_no_code_and_gets_nothing(web: Web, alice: Person, pending_id: str, browser: str) -> None:
    web.cookies["ovauth_browser"] = browser
    if not browser:
        del web.cookies["ovauth_browser"]
    approval.approve(authority=alice.by_key, pending_id=pending_id)
    for answer in (show(web, pending_id), status(web, pending_id), act(web, pending_id, "cancel")):
        assert answer.status_code == 403
        assert "ovac_" not in text(answer)
        assert "data-code" not in text(answer)
        assert "in the browser where you started" in text(answer)


@pytest.mark.parametrize(
    "query", ["", "?pending=", "?pending=unknown", "?pending=a&pending=b", "?pending=%ff", "?pending=%00"]
)
def test_nonsense_in_the_address_is_a_page_and_nothing_more(web: Web, query: str) -> None:
    page, told = web.get(PAGE + query), web.get(STATUS + query)
    assert page.status_code == told.status_code
    assert page.status_code in (400, 404)
    assert "What to do now" in text(page)
    assert told.json().keys() == {"error"}


def test_an_expired_request_says_so(web: Web, client_app: Client, clock: Callable[[float], None]) -> None:
    pending_id = begun(client_app)
    clock(601)
    page = show(web, pending_id)
    assert page.status_code == 410
    assert "Nothing was shared." in text(page)
    assert status(web, pending_id).status_code == 410
    assert status(web, pending_id).json() == {"status": "expired"}
    assert act(web, pending_id, "cancel").status_code == 410


def test_with_oauth_switched_off_there_is_no_page(web: Web, pending_id: str, configure: Callable[..., Any]) -> None:
    configure(enabled=False)
    assert show(web, pending_id).status_code == 404


# ------------------------------------------------------------------ deciding in place


def test_whoever_is_signed_in_here_reviews_here_with_the_code_folded_away(web: Web, alice: Person, pending_id: str) -> None:
    web.force_login(alice.member)
    page = text(show(web, pending_id))
    assert page.index("Approve for alice") < page.index("<details") < page.index("data-code")
    assert page.index('value="deny"') < page.index('value="approve"')
    assert "autofocus" not in page
    assert PendingAuthorization.objects.get().decision == ""


def test_an_approval_is_answered_by_a_redirect_to_a_page_of_ours_that_goes_on(
    web: Web, alice: Person, pending_id: str
) -> None:
    web.force_login(alice.member)
    answer = act(web, pending_id, "approve")
    assert (answer.status_code, answer["Location"]) == (303, f"{PAGE}?pending={pending_id}")
    page = web.get(answer["Location"])
    assert page.status_code == 200
    result = handed_over(text(page))
    assert result["state"] == "st"
    assert result["iss"] == ISSUER
    assert re.search(r'<noscript><meta http-equiv="refresh" content="1;url=http://127', text(page))
    assert handed_over(text(show(web, pending_id))) == result
    assert redeemed(Client.objects.get(), result["code"])
    assert show(web, pending_id).status_code == 410
    assert "completed" in text(show(web, pending_id))


@pytest.mark.parametrize("by", ["deny", "cancel"])
def test_a_refusal_reaches_the_client(web: Web, alice: Person, pending_id: str, by: str) -> None:
    if by == "deny":
        web.force_login(alice.member)
    page = text(web.get(act(web, pending_id, by)["Location"]))
    assert handed_over(page)["error"] == "access_denied"
    assert "Nothing was shared" in page
    assert not Grant.objects.exists()


def test_nobody_approves_without_being_signed_in(web: Web, pending_id: str) -> None:
    for action in ("approve", "deny"):
        assert act(web, pending_id, action).status_code == 403
    assert PendingAuthorization.objects.get().decision == ""


@pytest.mark.parametrize("action", ["", "APPROVE", "approved", "ok"])
def test_only_the_exact_words_count(web: Web, alice: Person, pending_id: str, action: str) -> None:
    web.force_login(alice.member)
    assert act(web, pending_id, action).status_code == 400
    assert PendingAuthorization.objects.get().decision == ""


def test_a_second_click_changes_nothing_and_goes_on(web: Web, alice: Person, pending_id: str) -> None:
    web.force_login(alice.member)
    act(web, pending_id, "approve")
    assert act(web, pending_id, "deny").status_code == 303
    assert PendingAuthorization.objects.get().decision == "approved"
    assert Grant.objects.count() == 1


def test_a_borrowed_name_needs_a_tick(web: Web, alice: Person) -> None:
    impostor = registered(client_name="Claude", redirect_uris=["https://evil.example/callback"])
    pending_id = begun(impostor)
    web.force_login(alice.member)
    assert "would send you to evil.example" in text(show(web, pending_id))
    assert act(web, pending_id, "approve").status_code == 400
    assert not Grant.objects.exists()
    assert act(web, pending_id, "approve", certain="yes").status_code == 303
    assert Grant.objects.exists()


def test_a_form_of_another_site_decides_nothing(alice: Person, pending_id: str) -> None:
    web = Web(enforce_csrf_checks=True)
    web.force_login(alice.member)
    web.cookies["ovauth_browser"] = "browser"
    for action in ("approve", "deny", "cancel", "one-time-password"):
        answer = act(web, pending_id, action)
        assert answer.status_code == 403
        assert "This form is no longer valid" in text(answer)
    assert PendingAuthorization.objects.get().decision == ""


# ------------------------------------------------------------------ by one-time password


def test_a_one_time_password_opens_the_review_of_this_request_and_no_session(
    web: Web, alice: Person, client_app: Client, pending_id: str
) -> None:
    plain, _ = one_time_password.issue(authority=alice.by_key)
    answer = act(web, pending_id, "one-time-password", one_time_password=plain.lower())
    assert answer.status_code == 303
    page = text(web.get(answer["Location"]))
    assert "Approve for alice" in page
    assert "Not you?" not in page
    assert "_auth_user_id" not in web.session
    assert "Approve for alice" not in text(show(web, begun(client_app)))
    assert handed_over(text(web.get(act(web, pending_id, "approve")["Location"])))["code"]
    assert Grant.objects.get().member == alice.member


def test_the_page_that_asks_for_a_one_time_password_says_where_one_comes_from(web: Web, pending_id: str) -> None:
    for page in (text(show(web, pending_id)), text(web.get("/console/login"))):
        assert "<wbr>/console/otp</span>" in page
        assert "uv run manage.py otp" in page


def test_a_wrong_one_time_password_is_a_fault_in_the_form(web: Web, pending_id: str) -> None:
    answer = act(web, pending_id, "one-time-password", one_time_password="WRONG")
    page = text(answer)
    assert answer.status_code == 400
    assert "wrong, used or expired" in page
    assert "<title>Error:" in page
    assert "<details open>" in page
    for _ in range(4):
        act(web, pending_id, "one-time-password", one_time_password="WRONG")
    assert act(web, pending_id, "one-time-password", one_time_password="WRONG").status_code == 429


# ------------------------------------------------------------------ status


def test_the_status_tells_the_browser_that_began_and_the_same_again(web: Web, alice: Person, pending_id: str) -> None:
    assert status(web, pending_id).json() == {"status": "pending"}
    approval.approve(authority=alice.by_key, pending_id=pending_id)
    told = [status(web, pending_id).json() for _ in range(2)]
    assert told[0] == told[1]
    assert told[0]["status"] == "approved"
    assert AuthorizationCode.objects.count() == 1


def test_a_denial_travels_with_state_and_issuer(web: Web, alice: Person, pending_id: str) -> None:
    approval.deny(authority=alice.by_key, pending_id=pending_id)
    told = status(web, pending_id).json()
    sent = {name: values[0] for name, values in parse_qs(urlsplit(told["redirect_url"]).query).items()}
    assert told["status"] == "denied"
    assert (sent["error"], sent["state"], sent["iss"]) == ("access_denied", "st", ISSUER)


@pytest.mark.parametrize("uri", ["cursor://anysphere.cursor-mcp/oauth/callback", "com.example.app:/callback"])
def test_an_apps_own_scheme_is_handed_over_with_a_link(web: Web, alice: Person, uri: str) -> None:
    pending_id = begun(registered(client_name="Cursor" if "cursor" in uri else "X", redirect_uris=[uri]))
    approval.approve(authority=alice.by_key, pending_id=pending_id)
    page = text(show(web, pending_id))
    assert f'<a class="button primary" href="{uri}?code=ovac_' in page
    assert "Open the app again. You can close this tab." in page


# ------------------------------------------------------------------ where it begins


def asked(client: Client, **changes: str) -> dict[str, str]:
    return {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": CALLBACK,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "state": "st",
    } | changes


def test_a_browser_keeps_its_one_cookie_over_many_requests(client: Web, client_app: Client) -> None:
    first = client.get("/authorize", asked(client_app))
    cookie = first.cookies["ovauth_browser"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    second = client.get("/authorize", asked(client_app))
    assert second.cookies["ovauth_browser"].value == cookie.value
    for answer in (first, second):
        assert client.get(answer["Location"]).status_code == 200


def test_over_https_the_cookie_is_bound_to_the_host(client: Web, client_app: Client) -> None:
    answer = client.get("/authorize", asked(client_app), secure=True)
    cookie = answer.cookies["__Host-ovauth_browser"]
    assert cookie["secure"]
    assert cookie["path"] == "/"
    assert not cookie["domain"]


def test_an_unregistered_address_gets_a_page_that_helps_the_developer(client: Web, client_app: Client) -> None:
    answer = client.get("/authorize", asked(client_app, redirect_uri="https://evil.example/<b>"))
    page = text(answer)
    assert answer.status_code == 400
    assert "This link is not valid" in page
    assert "Nothing was shared." in page
    assert "<mark>s://evil.example/&lt;b&gt;</mark>" in page
    assert "http" + re.search('Registered</p><p class="mono">http<mark>([^<]+)</mark>', page)[1] == CALLBACK  # type: ignore[index]
    assert 'href="https://evil' not in page
    assert answer.wsgi_request.id in page


def test_a_page_weighs_little(web: Web, pending_id: str) -> None:
    assert len(show(web, pending_id).content) < 10_000


def test_the_code_can_be_read_aloud_letter_by_letter(web: Web, pending_id: str) -> None:
    page = text(show(web, pending_id))
    code = re.search('data-code="([^"]+)"', page)[1].replace("-", "")  # type: ignore[index]
    said = re.findall("<li>([^<]+)</li>", page[page.index('class="aloud"') :])
    assert [words[0] for words in said] == list(code)
    for letter, words in zip(code, said, strict=True):
        assert words == letter if letter.isdigit() else words.startswith(f"{letter} as in {letter}")


def test_a_host_with_other_letters_is_shown_in_both_forms(web: Web) -> None:
    app = registered(redirect_uris=["https://xn--bcher-kva.example/callback"], token_endpoint_auth_method="none")
    page = text(web.get(web.get("/authorize", asked(app, redirect_uri=app.redirect_uris[0]))["Location"]))
    assert '<p class="host">xn--bcher-kva.example</p>' in page
    assert "written bücher.example" in page


def test_a_phone_is_led_to_the_form_by_a_picture_that_passes_the_policy(web: Web, pending_id: str) -> None:
    page = text(show(web, pending_id))
    picture = page[page.index("<svg") : page.index("</svg>")]
    assert 'class="qr"' in picture
    assert "style" not in picture
    assert "<title>" in picture


def test_a_phone_is_not_led_to_a_server_that_it_cannot_reach(web: Web, pending_id: str, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    for host in ("127.0.0.1:1933", "localhost", "[::1]:1933"):
        page = text(web.get(PAGE, {"pending": pending_id}, headers={"Host": host}))
        assert "<svg" not in page
        assert "Use your phone" not in page
