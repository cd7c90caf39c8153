"""Whatever bytes come in, `wire` gives plain values or a refusal, and nothing else."""

import base64
import json
import string
from typing import Any
from urllib.parse import parse_qsl, quote_from_bytes, quote_plus, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ovauth import wire
from ovauth.errors import (
    InvalidClient,
    InvalidRequest,
    InvalidToken,
    Refusal,
    TooLarge,
    Unauthenticated,
    UnsupportedMediaType,
)
from tests.web.conftest import CHARSET

FORM = wire.FORM
JSON = "application/json"

header_values = st.none() | st.text(st.characters(max_codepoint=255), max_size=60)
some_form = st.binary(max_size=200) | st.text(string.printable + "é%&=+;\0", max_size=200).map(str.encode)
good_names = st.text(string.ascii_lowercase + "_", min_size=1, max_size=10).filter(lambda name: name != "resource")
good_values = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)


def refused_or(call: Any, *arguments: Any) -> Any:
    """The value, or None for a refusal whose words may leave the house; any other exception is a failure."""
    refusal = None
    try:
        return call(*arguments)
    except Refusal as raised:
        refusal = raised
    assert CHARSET.fullmatch(refusal.spoken)
    assert refusal.status in (400, 401, 413, 415)
    return None


# ------------------------------------------------------------------ forms


@given(content_type=header_values | st.just(FORM), body=some_form)
def test_any_form_is_parameters_or_a_refusal(content_type: str | None, body: bytes) -> None:
    found = refused_or(wire.form, content_type, body)
    if found is not None:
        assert all(isinstance(value, str) and value and "\0" not in value for value in found.values.values())


@given(raw=some_form)
@example(raw=b"%ED%A0%80=1")
@example(raw=b"a=%F0%9F%92%A9")
@example(raw=b"a;b=1&&&=&==")
def test_any_authorization_request_is_parameters_or_a_refusal(raw: bytes) -> None:
    found = refused_or(wire.authorization_request, raw)
    if found is not None:
        assert not set(found.values) & found.repeated
        assert bool(found.fault) == bool(found.repeated)
        assert found.fault == "" or CHARSET.fullmatch(found.fault)
        assert len(found.fault) < 100


@given(fields=st.dictionaries(good_names, good_values, max_size=10), resource=st.lists(good_values, max_size=3))
def test_what_was_sent_is_what_is_found(fields: dict[str, str], resource: list[str]) -> None:
    body = urlencode([*fields.items(), *[("resource", value) for value in resource]]).encode()
    assert wire.form(FORM, body) == wire.Parameters(fields, tuple(resource))


@given(name=good_names, first=st.text("ab", max_size=3), second=st.text("ab", max_size=3))
def test_nothing_may_come_twice_not_even_the_same_and_not_even_empty(name: str, first: str, second: str) -> None:
    body = urlencode([(name, first), ("other_one", "x"), (name, second)]).encode()
    with pytest.raises(InvalidRequest, match="more than once"):
        wire.form(FORM, body)
    lenient = wire.authorization_request(body)
    assert lenient.one(name) is None
    assert name in lenient.repeated
    assert lenient.one("other_one") == "x"


def test_a_name_in_another_spelling_is_another_name() -> None:
    found = wire.form(FORM, b"code=1&Code=2&co%64e_=3")
    assert (found.one("code"), found.one("Code"), found.one("code_")) == ("1", "2", "3")
    with pytest.raises(InvalidRequest):
        wire.form(FORM, b"code=1&co%64e=2")


def test_a_parameter_without_a_value_counts_as_not_sent() -> None:
    found = wire.form(FORM, b"code=&state&resource=")
    assert (found.one("code"), found.one("state"), found.resource) == (None, None, ())
    with pytest.raises(InvalidRequest, match="code is missing"):
        found.need("code")


@pytest.mark.parametrize(
    "content_type",
    [FORM, FORM.upper(), f"{FORM}; charset=utf-8", f'{FORM};charset="UTF-8"', f"{FORM};", f"{FORM}; charset=UTF-8; x=y"],
)
def test_a_form_is_known_by_its_type(content_type: str) -> None:
    assert wire.form(content_type, b"a=b").one("a") == "b"


@pytest.mark.parametrize(
    "content_type",
    [None, "", JSON, "text/plain", "multipart/form-data", f"{FORM}2", f"{FORM},{FORM}", f"{FORM}; charset=utf-16", "x;y=z"],
)
def test_anything_else_is_no_form(content_type: str | None) -> None:
    with pytest.raises(UnsupportedMediaType):
        wire.form(content_type, b"a=b")


@pytest.mark.parametrize(
    "body", [b"a=%00", b"%00=a", b"a=\0", b"a=%FF", b"a=%C3", b"a=\xc3\xa9", b"\xff\xfe=1", b"a=%ED%A0%80"]
)
def test_nul_and_what_is_no_utf_8_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        wire.form(FORM, body)


def test_there_is_a_most_of_everything() -> None:
    assert wire.form(FORM, b"&".join(b"a%d=1" % n for n in range(wire.MAX_PARAMETERS)))
    with pytest.raises(InvalidRequest):
        wire.form(FORM, b"&".join(b"a%d=1" % n for n in range(wire.MAX_PARAMETERS + 1)))
    assert wire.form(FORM, b"a=" + b"x" * (wire.MAX_FORM - 2))
    with pytest.raises(TooLarge):
        wire.form(FORM, b"a=" + b"x" * wire.MAX_FORM)
    with pytest.raises(TooLarge):
        wire.json_object(JSON, b'{"a": "' + b"x" * wire.MAX_JSON + b'"}')


# ------------------------------------------------------------------ JSON

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=20,
)


@given(
    content_type=header_values | st.just(JSON), body=st.binary(max_size=100) | json_values.map(json.dumps).map(str.encode)
)
@example(content_type=JSON, body=b"[" * 60_000)
@example(content_type=JSON, body=b'{"a":' * 10_000)
@example(content_type=JSON, body=b'{"a":' + b"9" * 5000 + b"}")
@example(content_type=JSON, body=b'{"a":1e999}')
@example(content_type=JSON, body=b'{"a":NaN}')
@example(content_type=JSON, body=b'\xef\xbb\xbf{"a":1}')
@example(content_type=JSON, body=b'{"a":"\\ud800"}')
@example(content_type=JSON, body=b'{"\\u0000":1}')
def test_any_json_is_an_object_or_a_refusal(content_type: str | None, body: bytes) -> None:
    found = refused_or(wire.json_object, content_type, body)
    if found is not None:
        assert isinstance(found, dict)
        json.dumps(found).encode("utf-8")
        assert not wire.unspeakable(json.dumps(found, ensure_ascii=False))


@given(document=st.dictionaries(good_names, json_values, max_size=4))
def test_a_json_object_is_what_it_was_or_is_refused(document: dict[str, Any]) -> None:
    found = refused_or(wire.json_object, JSON, json.dumps(document).encode())
    assert found is None or found == document


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"1",
        b"{",
        b"{}{}",
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":1,"\\u0061":2}',
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":Infinity}',
        b'{"a":"\\u0000"}',
        b'{"a":["\\udfff"]}',
        '{"a":1}'.encode("utf-16"),
        b'{"a":"\xff"}',
    ],
)
def test_what_is_not_one_plain_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        wire.json_object(JSON, body)


def test_depth_is_bounded() -> None:
    def nested(depth: int) -> bytes:
        return b'{"a":' * depth + b"1" + b"}" * depth

    assert wire.json_object(JSON, nested(wire.MAX_DEPTH - 1))
    assert wire.json_object(JSON, b'{"a":[' + b"[]," * wire.MAX_DEPTH + b'{"b":[1]}]}'), "many brackets are not deep"
    for too_deep in (wire.MAX_DEPTH, wire.MAX_DEPTH + 1):
        with pytest.raises(InvalidRequest):
            wire.json_object(JSON, nested(too_deep))


@pytest.mark.parametrize(
    "content_type", [None, "", FORM, "text/json", "application/json-patch+json", f"{JSON}; charset=utf-16"]
)
def test_json_is_known_by_its_type(content_type: str | None) -> None:
    with pytest.raises(UnsupportedMediaType):
        wire.json_object(content_type, b"{}")
    assert wire.json_object("Application/JSON; charset=UTF-8", b"{}") == {}


@given(value=json_values)
def test_a_text_member_is_text_of_bounded_length_or_absent(value: Any) -> None:
    found = refused_or(wire.text_member, {"a": value}, "a")
    assert found is None or (found == value and 1 <= len(found) <= 200)


# ------------------------------------------------------------------ credentials


def basic(text: str | bytes) -> str:
    raw = text if isinstance(text, bytes) else text.encode()
    return "Basic " + base64.b64encode(raw).decode()


@given(
    authorization=header_values | st.binary(max_size=40).map(basic),
    fields=st.dictionaries(st.sampled_from(["client_id", "client_secret", "code"]), good_values),
)
def test_any_client_authentication_is_credentials_or_a_refusal(authorization: str | None, fields: dict[str, str]) -> None:
    found = refused_or(wire.client_credentials, authorization, wire.Parameters(fields))
    if found is not None and found.client_id is not None:
        assert not wire.unspeakable(found.client_id + (found.client_secret or ""))


@given(client_id=good_values, secret=good_values)
def test_basic_gives_back_what_was_form_encoded(client_id: str, secret: str) -> None:
    header = basic(f"{quote_plus(client_id)}:{quote_plus(secret)}")
    assert wire.client_credentials(header, wire.Parameters({})) == wire.ClientCredentials(client_id, secret)


def test_an_empty_password_is_no_secret() -> None:
    assert wire.client_credentials(basic("app:"), wire.Parameters({})) == wire.ClientCredentials("app", None)


@pytest.mark.parametrize(
    "header", ["", "Basic", basic("app"), basic(":x"), basic(b"\xff:x"), basic("a%00:x"), "Bearer x", "Basic %%"]
)
def test_an_unreadable_header_is_no_client(header: str) -> None:
    with pytest.raises(InvalidClient):
        wire.client_credentials(header, wire.Parameters({"client_id": "app"}))


@pytest.mark.parametrize(
    "in_body", [{"client_secret": "x"}, {"client_id": "app", "client_secret": "s"}, {"client_id": "b"}]
)
def test_header_and_body_together_are_refused(in_body: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        wire.client_credentials(basic("app:s"), wire.Parameters(in_body))


@given(authorization=st.lists(header_values.filter(bool), max_size=2), key=st.lists(header_values.filter(bool), max_size=2))
def test_any_headers_are_one_credential_or_none_or_a_refusal(authorization: list[str], key: list[str]) -> None:
    found = refused_or(wire.bearer, authorization, key)
    if len(authorization) + len(key) != 1:
        assert found is None
    if found is not None:
        assert found.isascii()
        assert found.isprintable()


def test_one_credential_is_taken_from_one_place() -> None:
    assert wire.bearer([], []) is None
    assert wire.bearer(["Bearer ovk_x"], []) == "ovk_x"
    assert wire.bearer([], ["ovk_x"]) == "ovk_x"
    for both in ((["Bearer a"], ["b"]), (["Bearer a", "Bearer a"], []), ([], ["a", "a"]), (["Basic a"], []), ([""], [])):
        with pytest.raises(InvalidToken):
            wire.bearer(*both)
    with pytest.raises(Unauthenticated):
        wire.need_bearer([])


def test_percent_signs_are_read_once() -> None:
    raw = "a=" + quote_from_bytes(quote_from_bytes(b"\0").encode())
    assert parse_qsl(raw) == [("a", "%00")]
    assert wire.query(raw.encode()).one("a") == "%00"
