"""Pages speak the person's language; what programs read is English, whoever asks."""

import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client as Web

from ovauth.models import Client
from tests.conftest import CALLBACK, CHALLENGE, Person

pytestmark = pytest.mark.django_db

CHINESE = {"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.5"}
HAN = re.compile(r"[\u4e00-\u9fff]")


def language_of(answer: Any) -> str:
    found = re.search(r'<html lang="([^"]+)">', answer.content.decode())
    assert found, answer
    return found[1]


def asked(client_app: Client, **more: str) -> dict[str, str]:
    return {
        "response_type": "code",
        "client_id": client_app.client_id,
        "redirect_uri": CALLBACK,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    } | more


@pytest.mark.parametrize(
    ("preferred", "language"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh-Hans"),
        ("zh", "zh-Hans"),
        ("zh-TW", "zh-Hans"),  # closer than English
        ("en-GB,zh;q=0.5", "en"),
        ("de-DE", "en"),
        ("", "en"),
        ("*", "en"),
        ("../../etc/passwd", "en"),
    ],
)
def test_a_page_speaks_the_language_that_the_browser_prefers(client: Web, preferred: str, language: str) -> None:
    answer = client.get("/console/login", headers={"Accept-Language": preferred})
    assert language_of(answer) == language
    assert answer["Content-Language"] == language
    assert ("用户名" in answer.content.decode()) is (language == "zh-Hans")


def test_one_persons_language_does_not_stay_for_the_next(client: Web) -> None:
    assert language_of(client.get("/console/login", headers=CHINESE)) == "zh-Hans"
    assert language_of(client.get("/console/login")) == "en"


def test_the_switch_stays_on_the_page_and_is_remembered(client: Web) -> None:
    answer = client.get("/console/language", {"language": "zh-hans", "next": "/console/login?next=/console/verify"})
    assert (answer.status_code, answer["Location"]) == (303, "/console/login?next=/console/verify")
    assert answer.cookies["ovauth_language"]["samesite"] == "Lax"
    assert language_of(client.get("/console/login", headers={"Accept-Language": "en"})) == "zh-Hans"
    client.get("/console/language", {"language": "en", "next": "/"})
    assert language_of(client.get("/console/login", headers=CHINESE)) == "en"


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", "\\\\evil.example", ""]
)
def test_the_switch_leads_nowhere_else(client: Web, elsewhere: str) -> None:
    assert client.get("/console/language", {"language": "en", "next": elsewhere})["Location"] == "/console/"


@pytest.mark.parametrize("unknown", ["xx", "zh_Hans", "", "en\r\nSet-Cookie: a=b"])
def test_the_switch_knows_no_other_language(client: Web, unknown: str) -> None:
    assert "ovauth_language" not in client.get("/console/language", {"language": unknown, "next": "/"}).cookies
    client.cookies["ovauth_language"] = "xx"
    assert language_of(client.get("/console/login")) == "en"


def test_the_switch_on_the_code_page_keeps_the_request(client: Web, client_app: Client) -> None:
    page = client.get("/authorize", asked(client_app))["Location"]
    before = client.get(page).content.decode()
    form = re.search(r'<form method="get" action="([^"]+)"><input type="hidden" name="next" value="([^"]+)">', before)
    assert form
    following = form[2].replace("&amp;", "&")
    assert following == page
    back = client.get(form[1], {"language": "zh-hans", "next": following})["Location"]
    assert back == page
    after = client.get(back)
    assert language_of(after) == "zh-Hans"
    code = re.compile(r'data-code="([^"]+)"')
    assert code.findall(after.content.decode()) == code.findall(before)


def switch_on(page: Any) -> str | None:
    """Where the switch of the page comes back to; empty where the browser alone knows, None where there is no switch."""
    form = re.search(r'<form method="get" action="/console/language">(.*?)</form>', page.content.decode())
    if form is None:
        return None
    following = re.search(r'name="next" value="([^"]+)"', form[1])
    return following[1].replace("&amp;", "&") if following else ""


def test_a_page_that_shows_something_once_has_no_switch(client: Web, alice: Person) -> None:
    client.force_login(alice.member)
    assert switch_on(client.get("/console/otp")) == "/console/otp"
    assert switch_on(client.post("/console/otp", {"newest": "0"})) is None
    assert switch_on(client.post("/console/keys", {"action": "rotate", "newest": alice.by_key.api_key_pk})) is None


def test_an_answer_to_a_form_has_a_switch_that_shows_the_form_again(client: Web, alice: Person, client_app: Client) -> None:
    assert switch_on(client.post("/console/login?next=/console/verify", {})) == "/console/login?next=/console/verify"
    page = client.get("/authorize", asked(client_app))["Location"]
    wrong = client.post(page, {"action": "one-time-password", "one_time_password": "WRONG23456"})
    assert (wrong.status_code, switch_on(wrong)) == (400, page)
    client.force_login(alice.member)
    assert switch_on(client.post("/console/verify", {"code": "ABCDEF"})) == "/console/verify"
    assert switch_on(client.post("/console/keys", {"action": "ask"})) == "/console/keys"
    assert switch_on(client.post("/console/disconnect", {"connection": "x"})) == "/console/"


def test_on_a_page_whose_address_a_stranger_wrote_the_switch_comes_back_to_where_the_browser_was(client: Web) -> None:
    link = "/authorize?client_id=unknown&redirect_uri=x"
    assert switch_on(client.get(link)) == ""
    back = client.get("/console/language", {"language": "zh-hans"}, headers={"Referer": f"http://testserver{link}"})
    assert back["Location"] == f"http://testserver{link}"
    away = client.get("/console/language", {"language": "zh-hans"}, headers={"Referer": "https://evil.example/"})
    assert away["Location"] == "/console/"


@pytest.mark.parametrize(
    ("locales", "language"),
    [
        ("zh-Hans", "zh-Hans"),
        ("zh-CN en", "zh-Hans"),
        ("fr zh en", "zh-Hans"),
        ("en zh", "en"),
        ("fr", "en"),
        ("x" * 600, "en"),
        ("../x", "en"),
        ("fr-CA;path=/ zh", "zh-Hans"),
    ],
)
def test_the_language_that_the_app_asks_for_is_spoken(client: Web, client_app: Client, locales: str, language: str) -> None:
    page = client.get("/authorize", asked(client_app, ui_locales=locales))["Location"]
    assert language_of(client.get(page)) == language
    assert language_of(client.get("/console/login", {"next": page})) == language
    assert language_of(client.get("/console/login")) == "en"  # elsewhere the app has no say


def test_what_the_person_chose_counts_more_than_what_the_app_asks_for(client: Web, client_app: Client) -> None:
    client.cookies["ovauth_language"] = "en"
    page = client.get("/authorize", asked(client_app, ui_locales="zh-Hans"))["Location"]
    assert language_of(client.get(page)) == "en"


def test_the_app_asks_for_its_own_request_alone(client: Web, client_app: Client) -> None:
    client.get("/authorize", asked(client_app, ui_locales="zh-Hans"))
    other = client.get("/authorize", asked(client_app))["Location"]
    assert language_of(client.get(other)) == "en"


def test_the_languages_are_advertised(client: Web) -> None:
    document = client.get("/.well-known/oauth-authorization-server").json()
    assert document["ui_locales_supported"] == ["en", "zh-Hans"]


def test_faults_are_explained_in_the_persons_language(client: Web, client_app: Client) -> None:
    for url in ("/nothing", "/authorize", "/oauth/authorize/page?pending=unknown", "/oauth/authorize/page", "/console/%00"):
        answer = client.get(url, headers=CHINESE)
        assert answer.status_code >= 400
        assert language_of(answer) == "zh-Hans", url
        (explained,) = re.findall(r"<h1>.*?<h2>", answer.content.decode(), re.DOTALL)
        sentences = re.sub(r"<[^>]+>", "", explained)
        assert HAN.search(sentences), url
        assert not re.search(r"[a-z]{3,} [a-z]{2,}", sentences), sentences


def test_programs_are_answered_in_english(client: Web, client_app: Client) -> None:
    faulty = {
        "/token": client.post("/token", {"grant_type": "nothing"}, headers=CHINESE),
        "/register": client.post("/register", "{}", content_type="application/json", headers=CHINESE),
        "/api/v1/whoami": client.get("/api/v1/whoami", headers=CHINESE),
        "/oauth/authorize/page/status": client.get("/oauth/authorize/page/status?pending=x", headers=CHINESE),
        "/.well-known/nothing": client.get("/.well-known/nothing", headers=CHINESE),
    }
    for path, answer in faulty.items():
        assert answer.status_code >= 400
        assert not HAN.search(json.dumps(answer.json(), ensure_ascii=False)), path
        assert "Content-Language" not in answer
    travelling = client.get("/authorize", asked(client_app, code_challenge_method="plain"), headers=CHINESE)
    description = parse_qs(urlsplit(travelling["Location"]).query)["error_description"][0]
    assert "?" not in description
    assert "S256" in description
