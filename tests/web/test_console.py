"""The console in a browser without a screen: sign in and out, enter a code, review, decide, disconnect."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client as Web
from django.urls import reverse

from ovauth.flows import accounts, authorization, sign_in
from ovauth.models import AuditEvent, Client, Grant, Member, PendingAuthorization
from tests.conftest import CALLBACK, Person, begun, connected, registered, works

pytestmark = pytest.mark.django_db

LOGIN, VERIFY, HOME = "/console/login", "/console/verify", "/console/"


@pytest.fixture
def web(client: Web) -> Web:
    return client


def signed_in(web: Web, person: Person) -> Web:
    answer = web.post(LOGIN, {"username": person.member.sign_in_name, "password": person.password})
    assert answer.status_code == 303, answer.content
    return web


def shown_code(pending_id: str) -> str:
    return authorization.look(pending_id=pending_id, browser="browser").display_code


def text(answer: Any) -> str:
    return answer.content.decode()


def decide(web: Web, code: str, action: str, **more: str) -> Any:
    return web.post(VERIFY, {"code": code, "action": action, **more})


# ------------------------------------------------------------------ signing in


@pytest.mark.parametrize("name", ["alice", "acme/alice", " alice "])
def test_a_name_alone_or_with_its_account_signs_in(web: Web, alice: Person, name: str) -> None:
    answer = web.post(LOGIN, {"username": name, "password": alice.password})
    assert (answer.status_code, answer["Location"]) == (303, HOME)
    assert "Hello, alice" in text(web.get(HOME))
    assert AuditEvent.objects.get(event="login.succeeded").actor == "acme/alice"


def test_whoever_is_not_signed_in_is_sent_to_sign_in_and_comes_back(web: Web) -> None:
    answer = web.get(HOME)
    assert (answer.status_code, answer["Location"]) == (303, f"{LOGIN}?next={quote(HOME, safe='')}")


def test_a_wrong_name_and_a_wrong_password_and_a_deactivated_user_look_the_same(
    web: Web, alice: Person, bob: Person
) -> None:
    Member.objects.filter(pk=bob.member.pk).update(is_active=False)
    tries = [("nobody", "x"), ("alice", "x"), ("bob", bob.password)]
    answers = [web.post(LOGIN, {"username": name, "password": password}) for name, password in tries]
    for answer in answers:
        assert answer.status_code == 400
        assert "User name or password is wrong." in text(answer)
        assert "<title>Error: Sign in" in text(answer)
    assert AuditEvent.objects.filter(event="login.failed").count() == 3


def test_whoever_sits_at_the_machine_after_the_first_start_is_told_where_the_password_is(web: Web, db: None) -> None:
    accounts.create_first_operator(lambda made: None)
    page = text(web.get(LOGIN, headers={"Host": "127.0.0.1:1933"}))
    assert 'value="operator"' in page
    assert "The terminal printed it" in page
    again = web.post(LOGIN, {"username": "operator", "password": "wrong"}, headers={"Host": "127.0.0.1:1933"})
    assert again.status_code == 400
    assert "The terminal printed it" in text(again)
    other = web.post(LOGIN, {"username": "alice", "password": "wrong"}, headers={"Host": "127.0.0.1:1933"})
    assert "The terminal printed it" not in text(other)
    for host, ip in (("ov.example.com", "127.0.0.1"), ("127.0.0.1:1933", "192.0.2.1")):
        elsewhere = text(web.get(LOGIN, headers={"Host": host}, REMOTE_ADDR=ip))
        assert 'value=""' in elsewhere
        assert "The terminal printed it" not in elsewhere
    accounts.set_password(account="default", name="operator", password="another-long-password")
    assert "The terminal printed it" not in text(web.get(LOGIN, headers={"Host": "127.0.0.1:1933"}))


def test_the_password_is_never_sent_back_and_the_name_is(web: Web, alice: Person) -> None:
    answer = web.post(LOGIN, {"username": "alice", "password": "my-secret-guess"})
    assert "my-secret-guess" not in text(answer)
    assert 'value="alice"' in text(answer)


def test_a_guesser_is_stopped_even_with_the_right_password_and_told_for_how_long(
    web: Web, alice: Person, clock: Callable[[float], None]
) -> None:
    for _ in range(8):
        assert web.post(LOGIN, {"username": "alice", "password": "wrong"}).status_code == 400
    answer = web.post(LOGIN, {"username": "alice", "password": alice.password})
    assert answer.status_code == 429
    assert answer["Retry-After"] == "601"
    assert "Try again in about 11 min." in text(answer)
    clock(601)
    assert web.post(LOGIN, {"username": "alice", "password": alice.password}).status_code == 303


def test_a_guesser_locks_out_neither_the_victim_elsewhere_nor_others_here(web: Web, alice: Person, bob: Person) -> None:
    for _ in range(8):
        sign_in.failed(sign_in.begin(name="alice", ip="127.0.0.1"))
    elsewhere = web.post(LOGIN, {"username": "alice", "password": alice.password}, REMOTE_ADDR="192.0.2.9")
    assert elsewhere.status_code == 303
    assert web.post("/console/logout").status_code == 303
    assert web.post(LOGIN, {"username": "bob", "password": bob.password}).status_code == 303


def test_a_very_long_name_is_limited_too(web: Web) -> None:
    for _ in range(8):
        sign_in.failed(sign_in.begin(name="x" * 300, ip="127.0.0.1"))
    with pytest.raises(Exception, match="reached"):
        sign_in.begin(name="x" * 300, ip="127.0.0.1")


@pytest.mark.parametrize("evil", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", "/\\evil.example"])
def test_sign_in_goes_on_to_this_origin_only(web: Web, alice: Person, evil: str) -> None:
    answer = web.post(f"{LOGIN}?next={quote(evil)}", {"username": "alice", "password": alice.password, "next": evil})
    assert answer["Location"] == HOME
    assert 'name="next" value=""' in text(web.get(f"/console/logout?next={quote(evil)}"))
    assert web.post("/console/logout", {"next": evil})["Location"] == LOGIN


def test_sign_in_for_a_connection_says_for_which_before_any_secret_is_typed(web: Web, client_app: Client) -> None:
    pending_id = begun(client_app)
    page = reverse("code_page") + f"?pending={pending_id}"
    stranger = text(web.get(LOGIN, {"next": page}))
    assert "Test client" not in stranger
    web.cookies["ovauth_browser"] = "browser"
    own = text(web.get(LOGIN, {"next": page}))
    assert "Test client" in own
    assert "an app on this computer" in own
    assert own.index("Test client") < own.index("<form")


def test_empty_fields_are_named_and_not_counted(web: Web) -> None:
    answer = web.post(LOGIN, {"username": "", "password": ""})
    assert answer.status_code == 400
    assert "Fill in both fields." in text(answer)
    assert not AuditEvent.objects.exists()


def test_a_link_signs_nobody_out(web: Web, alice: Person) -> None:
    signed_in(web, alice)
    assert "Sign out?" in text(web.get("/console/logout"))
    assert web.get(HOME).status_code == 200
    assert web.post("/console/logout")["Location"] == LOGIN
    assert "You are signed out." in text(web.get(LOGIN))
    assert web.get(HOME).status_code == 303


# ------------------------------------------------------------------ the admin's door


def test_the_admin_sends_people_to_this_sign_in(web: Web, root: Person) -> None:
    answer = web.get("/admin/", follow=True)
    assert answer.redirect_chain[-1] == (f"{LOGIN}?next=%2Fadmin%2F", 303)
    answer = web.post(LOGIN, {"username": "operator", "password": root.password, "next": "/admin/"}, follow=True)
    assert answer.request["PATH_INFO"] == "/admin/"
    assert answer.status_code == 200


def test_whoever_lacks_the_role_is_told_so_and_not_sent_in_circles(web: Web, alice: Person) -> None:
    signed_in(web, alice)
    answer = web.get("/admin/", follow=True)
    assert answer.status_code == 403
    assert "role root" in text(answer)


# ------------------------------------------------------------------ confirming a code


def test_from_the_code_to_an_approval(web: Web, alice: Person, client_app: Client) -> None:
    pending_id = begun(client_app)
    signed_in(web, alice)
    code = shown_code(pending_id)
    review = web.post(VERIFY, {"code": code.lower().replace("-", " ")})
    assert review.status_code == 200
    assert code in text(review)
    assert "<q>Test client</q>" in text(review)
    assert "an app on the computer that shows the code" in text(review)
    assert PendingAuthorization.objects.get(public_id=pending_id).decision == ""
    answer = decide(web, code, "approve")
    assert (answer.status_code, answer["Location"]) == (303, "/console/verify/decided")
    assert "“Test client” is connected" in text(web.get(answer["Location"]))
    grant = Grant.objects.get()
    assert (grant.member, grant.api_key) == (alice.member, None)


def test_a_denial_shares_nothing(web: Web, alice: Person, client_app: Client) -> None:
    pending_id = begun(client_app)
    signed_in(web, alice)
    answer = decide(web, shown_code(pending_id), "deny")
    assert "Nothing was shared" in text(web.get(answer["Location"]))
    assert not Grant.objects.exists()
    assert PendingAuthorization.objects.get(public_id=pending_id).decision == "denied"


@pytest.mark.parametrize("action", ["", "Approve", "yes", "approve "])
def test_only_the_exact_word_approves(web: Web, alice: Person, client_app: Client, action: str) -> None:
    pending_id = begun(client_app)
    signed_in(web, alice)
    assert decide(web, shown_code(pending_id), action).status_code == 400
    assert not Grant.objects.exists()


@pytest.mark.parametrize("code", ["ABCDEF", "", "O0I1", "x" * 5000, "%00", "字字字字字字"])
def test_a_wrong_code_is_a_fault_in_the_form(web: Web, alice: Person, code: str) -> None:
    signed_in(web, alice)
    for answer in (web.post(VERIFY, {"code": code}), decide(web, code, "approve"), decide(web, code, "deny")):
        assert answer.status_code == 400
        assert "No request is waiting for this code. Codes last ten minutes." in text(answer)
        assert "<title>Error: Enter a code" in text(answer)
        assert 'aria-invalid="true"' in text(answer)


def test_a_guesser_of_codes_is_stopped(web: Web, alice: Person, client_app: Client) -> None:
    pending_id = begun(client_app)
    signed_in(web, alice)
    for _ in range(5):
        assert web.post(VERIFY, {"code": "ABCDEF"}).status_code == 400
    answer = web.post(VERIFY, {"code": shown_code(pending_id)})
    assert answer.status_code == 429
    assert "Too many attempts" in text(answer)


def test_the_second_decision_is_told_of_the_first(web: Web, alice: Person, client_app: Client) -> None:
    pending_id = begun(client_app)
    signed_in(web, alice)
    decide(web, shown_code(pending_id), "deny")
    answer = decide(web, shown_code(pending_id), "approve")
    assert answer.status_code == 409
    assert "This was denied just now. Nothing was shared." in text(answer)
    assert not Grant.objects.exists()


def test_whoever_enters_a_code_again_is_told_who_approved_it_and_when(
    web: Web, alice: Person, bob: Person, client_app: Client, clock: Callable[[float], None]
) -> None:
    code = shown_code(begun(client_app))
    signed_in(web, alice)
    decide(web, code, "approve")
    clock(60)
    answer = web.post(VERIFY, {"code": code})
    assert answer.status_code == 409
    assert "You approved this 1\xa0minute ago." in text(answer)
    web.post("/console/logout")
    signed_in(web, bob)
    assert "This was approved 1\xa0minute ago, by somebody else." in text(web.post(VERIFY, {"code": code}))


def test_an_expired_code_waits_for_nobody(
    web: Web, alice: Person, client_app: Client, clock: Callable[[float], None]
) -> None:
    code = shown_code(begun(client_app))
    signed_in(web, alice)
    clock(601)
    assert "No request is waiting" in text(web.post(VERIFY, {"code": code}))


def test_a_code_in_the_address_leaves_it_survives_sign_in_and_still_needs_continue(
    web: Web, alice: Person, client_app: Client
) -> None:
    pending_id = begun(client_app)
    code = shown_code(pending_id)
    answer = web.get(VERIFY, {"code": code})
    assert (answer.status_code, answer["Location"]) == (303, VERIFY)
    answer = web.get(VERIFY)
    assert answer["Location"] == f"{LOGIN}?next=%2Fconsole%2Fverify"
    answer = web.post(answer["Location"], {"username": "alice", "password": alice.password, "next": VERIFY})
    entry = web.get(answer["Location"])
    assert f'value="{code}"' in text(entry)
    assert web.session.get_expiry_age() > 600
    assert PendingAuthorization.objects.get(public_id=pending_id).decision == ""
    decide(web, code, "approve")
    assert code not in text(web.get(VERIFY))


def test_nonsense_in_the_address_is_not_kept(web: Web) -> None:
    web.get(VERIFY, {"code": "x" * 100})
    assert not web.session.keys()


def test_a_code_typed_after_the_session_ended_is_not_lost(web: Web, alice: Person) -> None:
    answer = web.post(VERIFY, {"code": "ABC-DEF"})
    assert answer["Location"] == f"{LOGIN}?next=%2Fconsole%2Fverify"
    signed_in(web, alice)
    assert 'value="ABC-DEF"' in text(web.get(VERIFY))


def test_forms_of_other_sites_change_nothing(alice: Person, client_app: Client) -> None:
    pending_id = begun(client_app)
    web = Web(enforce_csrf_checks=True)
    web.force_login(alice.member)
    code = shown_code(pending_id)
    answers = [
        decide(web, code, "approve"),
        web.post(VERIFY, {"code": code}),
        web.post(LOGIN, {"username": "alice", "password": alice.password}),
        web.post("/console/logout"),
        web.post("/console/password", {}),
        web.post("/console/disconnect", {"connection": "1"}),
    ]
    assert [answer.status_code for answer in answers] == [403] * 6
    assert not Grant.objects.exists()
    assert web.get(HOME).status_code == 200


# ------------------------------------------------------------------ what the review warns of


def test_a_request_from_another_network_is_noticed(web: Web, alice: Person, client_app: Client) -> None:
    pending_id = begun(client_app)
    PendingAuthorization.objects.update(ip="203.0.113.9")
    signed_in(web, alice)
    near = web.post(VERIFY, {"code": shown_code(pending_id)}, REMOTE_ADDR="203.0.113.77")
    far = web.post(VERIFY, {"code": shown_code(pending_id)}, REMOTE_ADDR="198.51.100.7")
    assert "different network" not in text(near)
    assert "different network" in text(far)
    assert "198.51.100.7" in text(far)


def test_a_borrowed_name_needs_a_tick(web: Web, alice: Person) -> None:
    impostor = registered(client_name="Сlaude", redirect_uris=["https://evil.example/callback"])
    code = shown_code(begun(impostor))
    signed_in(web, alice)
    review = text(web.post(VERIFY, {"code": code}))
    assert "would send you to evil.example" in review
    refused = decide(web, code, "approve")
    assert refused.status_code == 400
    assert "Tick the box" in text(refused)
    assert not Grant.objects.exists()
    assert decide(web, code, "approve", certain="yes").status_code == 303
    assert Grant.objects.exists()


def test_a_borrowed_name_is_denied_without_a_tick(web: Web, alice: Person) -> None:
    impostor = registered(client_name="Claude", redirect_uris=["https://evil.example/callback"])
    signed_in(web, alice)
    assert decide(web, shown_code(begun(impostor)), "deny").status_code == 303


def test_approve_is_filled_only_while_nothing_is_odd(web: Web, alice: Person, client_app: Client) -> None:
    known = registered(client_name="Claude", redirect_uris=["https://claude.ai/api/mcp/auth_callback"])
    signed_in(web, alice)
    calm = text(web.post(VERIFY, {"code": shown_code(begun(known))}))
    odd = text(web.post(VERIFY, {"code": shown_code(begun(client_app))}))
    assert 'class="primary" name="action" value="approve"' in calm
    assert 'class="warn' not in calm
    assert 'class="outlined" name="action" value="approve"' in odd
    assert odd.index('value="deny"') < odd.index('value="approve"')


def test_a_hostile_name_stays_text(web: Web, alice: Person) -> None:
    hostile = registered(client_name='</q><script>alert(1)</script>"\u202e', redirect_uris=[CALLBACK])
    signed_in(web, alice)
    for answer in (
        web.post(VERIFY, {"code": (code := shown_code(begun(hostile)))}),
        web.get(decide(web, code, "approve")["Location"]),
    ):
        assert "<script>alert" not in text(answer)
        assert "\u202e" not in text(answer)


# ------------------------------------------------------------------ home


def test_home_lists_ones_own_living_connections_only(web: Web, alice: Person, bob: Person, client_app: Client) -> None:
    connected(client_app, alice.by_session)
    connected(registered(client_name="Bobs own"), bob.by_key)
    begun(registered(client_name="Never finished"))
    page = text(signed_in(web, alice).get(HOME))
    assert "Test client" in page
    assert "Bobs own" not in page
    assert "Never finished" not in page
    assert "http://testserver/mcp" in page


def test_disconnect_holds_at_the_next_request(web: Web, alice: Person, client_app: Client) -> None:
    tokens = connected(client_app, alice.by_session)
    assert works(tokens.access_token)
    signed_in(web, alice)
    answer = web.post("/console/disconnect", {"connection": Grant.objects.get().pk}, follow=True)
    assert "Stopped: “Test client”. Its next request is refused. 1 access and 1 refresh token ended." in text(answer)
    assert "Connected apps" not in text(answer)
    assert not works(tokens.access_token)


def test_nobody_disconnects_anothers_app(web: Web, alice: Person, charlie: Person, client_app: Client) -> None:
    tokens = connected(client_app, alice.by_session)
    signed_in(web, charlie)
    answer = web.post("/console/disconnect", {"connection": Grant.objects.get().pk}, follow=True)
    assert "had ended already" in text(answer)
    assert works(tokens.access_token)


@pytest.mark.parametrize("nonsense", ["", "x", "-1", "9" * 40, "²"])
def test_a_connection_is_a_number(web: Web, alice: Person, nonsense: str) -> None:
    assert signed_in(web, alice).post("/console/disconnect", {"connection": nonsense}).status_code == 400


def test_a_new_password_ends_what_the_old_one_approved_but_not_this_session(
    web: Web, alice: Person, client_app: Client
) -> None:
    tokens = connected(client_app, alice.by_session)
    Member.objects.filter(pk=alice.member.pk).update(first_password=True)
    signed_in(web, alice)
    assert "may be kept in a log" in text(web.get(HOME))
    new = {"new_password1": "seven purple horses", "new_password2": "seven purple horses"}
    wrong = web.post("/console/password", {"old_password": "wrong", **new})
    assert wrong.status_code == 400
    assert works(tokens.access_token)
    assert web.post("/console/password", {"old_password": alice.password, **new})["Location"] == HOME
    home = text(web.get(HOME))
    assert "The password is changed." in home
    assert "rotate_api_key" not in home
    assert not works(tokens.access_token)


def test_with_oauth_switched_off_the_console_confirms_nothing(
    web: Web, alice: Person, configure: Callable[..., Any]
) -> None:
    signed_in(web, alice)
    configure(enabled=False)
    assert "Enter a code" not in text(web.get(HOME))
    assert web.get(VERIFY).status_code == 404
