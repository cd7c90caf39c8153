"""Every endpoint against everything that a stranger may send: a standard error in its shape, and nothing changed."""

import json
import logging
import sqlite3
import string
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.db import connection
from django.db.backends.signals import connection_created
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from ovauth.flows import authorization, clients, device_code
from ovauth.models import Client
from tests.conftest import CALLBACK, CHALLENGE, VERIFIER, Person, approved, begun, connected, registered
from tests.web.asking import FORM, JSON, Answer, Site
from tests.web.conftest import Rows, assert_refused


@dataclass(frozen=True)
class Endpoint:
    """How to ask it well. `fields` are as a form or JSON; what is in `optional` may be left out."""

    path: str
    fields: dict[str, Any]
    shape: str
    media: str
    method: str = "POST"
    key: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()

    def ask(self, site: Site, *, body: bytes | list[bytes] | None = None, **more: Any) -> Answer:
        sent = {"content_type": self.media, "key": self.key, "headers": self.headers} | more
        return site.ask(self.method, self.path, body=self.encoded() if body is None else body, **sent)

    def encoded(self, **changes: Any) -> bytes:
        fields = {name: value for name, value in (self.fields | changes).items() if value is not ...}
        return json.dumps(fields).encode() if self.media == JSON else urlencode(fields, doseq=True).encode()


FORMS = ("token by code", "token by refresh", "revoke", "introspect", "device", "par")
DOCUMENTS = ("register", "manage", "verify by id", "verify by code", "revoke user")


@pytest.fixture
def endpoints(alice: Person, client_app: Client, site: Site) -> dict[str, Endpoint]:
    made = clients.register(document={"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "client_secret_post"})
    assert made.client_secret is not None
    television = registered(grant_types=[device_code.GRANT_TYPE])
    pair = connected(client_app, alice.by_key)
    who = {"client_id": client_app.client_id}
    secret = {"client_id": made.client_id, "client_secret": made.client_secret}
    code = {
        "grant_type": "authorization_code",
        "code": approved(client_app, alice.by_key),
        "code_verifier": VERIFIER,
        "redirect_uri": CALLBACK,
    }
    refresh = {"grant_type": "refresh_token", "refresh_token": pair.refresh_token}
    pushed = {
        "response_type": "code",
        "redirect_uri": CALLBACK,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    waiting = begun(client_app)
    shown = authorization.look(pending_id=begun(client_app), browser="browser").display_code
    document = {"client_name": "x", "redirect_uris": [CALLBACK], "scope": "mcp", "contacts": ["a@b.example"]}
    texts = frozenset({"client_name", "scope", "contacts"})
    key = alice.api_key
    site.get("/api/v1/whoami", key=key)  # “last used” is written now, and not while a refusal is watched
    return {
        "token by code": Endpoint("/token", who | code, "oauth", FORM, optional=frozenset({"redirect_uri"})),
        "token by refresh": Endpoint("/token", who | refresh, "oauth", FORM),
        "revoke": Endpoint("/revoke", who | {"token": pair.access_token}, "oauth", FORM),
        "introspect": Endpoint("/introspect", secret | {"token": pair.access_token}, "oauth", FORM),
        "device": Endpoint("/device_authorization", {"client_id": television.client_id}, "oauth", FORM),
        "par": Endpoint("/par", who | pushed, "oauth", FORM, optional=frozenset({"redirect_uri"})),
        "register": Endpoint("/register", document, "oauth", JSON, optional=texts),
        "manage": Endpoint(
            f"/register/{made.client_id}",
            document,
            "oauth",
            JSON,
            method="PUT",
            key=made.registration_access_token,
            optional=texts,
        ),
        "verify by id": Endpoint(
            "/api/v1/auth/oauth-verify", {"pending_id": waiting, "decision": "approve"}, "api", JSON, key=key
        ),
        "verify by code": Endpoint(
            "/api/v1/auth/oauth-verify", {"code": shown, "decision": "approve"}, "api", JSON, key=key
        ),
        "revoke user": Endpoint(
            "/api/v1/admin/revoke-user-tokens", {"account_id": "acme", "user_id": "alice"}, "api", JSON, key=key
        ),
    }


@pytest.fixture
def refuses(
    endpoints: dict[str, Endpoint], site: Site, rows: Callable[[], Rows], caplog: pytest.LogCaptureFixture
) -> Iterator[Callable[..., Answer]]:
    """Asks, and sees to it that the answer is a refusal in shape, that nothing broke inside, and that at the end of the
    test every row is as it was."""
    before = rows()

    def ask(endpoint: Endpoint, **more: Any) -> Answer:
        answer = endpoint.ask(site, **more)
        assert_refused(answer, endpoint.shape)
        assert answer.status < 500
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
        return answer

    yield ask
    assert rows() == before


# ------------------------------------------------------------------ the table: endpoints × faults


@pytest.mark.parametrize("name", FORMS + DOCUMENTS)
def test_asked_well_every_endpoint_does_its_work(endpoints: dict[str, Endpoint], site: Site, name: str) -> None:
    """Without this, what follows would prove nothing."""
    assert endpoints[name].ask(site).status in (200, 201)


@pytest.mark.parametrize("name", FORMS + DOCUMENTS)
def test_something_missing(endpoints: dict[str, Endpoint], refuses: Callable[..., Answer], name: str) -> None:
    endpoint = endpoints[name]
    refuses(endpoint, body=b"")
    for missing in endpoint.fields.keys() - endpoint.optional:
        refuses(endpoint, body=endpoint.encoded(**{missing: ...}))
        refuses(endpoint, body=endpoint.encoded(**{missing: ""}))


@pytest.mark.parametrize("name", FORMS + DOCUMENTS)
def test_something_repeated(endpoints: dict[str, Endpoint], refuses: Callable[..., Answer], name: str) -> None:
    endpoint = endpoints[name]
    for repeated, value in endpoint.fields.items():
        if endpoint.media == FORM:
            twice = endpoint.encoded() + b"&" + urlencode({repeated: value}).encode()
        else:
            twice = endpoint.encoded()[:-1] + f', "{repeated}": {json.dumps(value)}}}'.encode()
        assert refuses(endpoint, body=twice).status == 400


@pytest.mark.parametrize("name", FORMS + DOCUMENTS)
def test_something_unknown_or_enormous(endpoints: dict[str, Endpoint], refuses: Callable[..., Answer], name: str) -> None:
    endpoint = endpoints[name]
    if name in ("revoke", "introspect"):
        endpoint = Endpoint(endpoint.path, endpoint.fields, endpoint.shape, FORM, optional=frozenset({"token"}))
    for changed in endpoint.fields.keys() - endpoint.optional:
        for value in ("unknown", "x" * 30_000, "‮😀", "' OR 1=1 --", "../../etc/passwd", "%00", "${jndi:x}"):
            refuses(endpoint, body=endpoint.encoded(**{changed: value}))


@pytest.mark.parametrize("name", FORMS + DOCUMENTS)
@pytest.mark.parametrize("value", ["a\0b", "\0"])
def test_nul(endpoints: dict[str, Endpoint], refuses: Callable[..., Answer], name: str, value: str) -> None:
    endpoint = endpoints[name]
    for changed in (*endpoint.fields, "unheard_of"):
        assert refuses(endpoint, body=endpoint.encoded(**{changed: value})).status == 400


@pytest.mark.parametrize("name", FORMS + DOCUMENTS)
def test_what_is_no_utf_8(endpoints: dict[str, Endpoint], refuses: Callable[..., Answer], name: str) -> None:
    endpoint = endpoints[name]
    good = endpoint.encoded()
    if endpoint.media == FORM:
        bodies = [good + tail for tail in (b"&a=%FF", b"&%FF=a", b"&a=\xff", b"&a=%ED%A0%80", "&a=é".encode())]
    else:
        start = good[:-1]
        bodies = [start + tail for tail in (b', "a": "\xff"}', b', "\xff": 1}', b', "a": "\\ud800"}', b', "\\udfff": 1}')]
        bodies += [good.decode().encode("utf-16"), b"\xef\xbb\xbf" + good]
    for body in bodies:
        assert refuses(endpoint, body=body).status == 400


@pytest.mark.parametrize("name", FORMS + DOCUMENTS)
def test_the_wrong_content_type(endpoints: dict[str, Endpoint], refuses: Callable[..., Answer], name: str) -> None:
    endpoint = endpoints[name]
    other = JSON if endpoint.media == FORM else FORM
    for content_type in (
        None,
        "",
        other,
        "text/plain",
        "multipart/form-data; boundary=x",
        "multipart/form-data",
        f"{endpoint.media}; charset=utf-16",
        f"{endpoint.media}; charset=\xff",
        f"{endpoint.media}, {endpoint.media}",
        "\xff/\xff",
    ):
        assert refuses(endpoint, content_type=content_type).status in (400, 415)


@pytest.mark.parametrize("name", FORMS + DOCUMENTS)
def test_too_much(endpoints: dict[str, Endpoint], refuses: Callable[..., Answer], name: str) -> None:
    endpoint = endpoints[name]
    good = endpoint.encoded()
    padding = b"&a=" + b"x" * 70_000 if endpoint.media == FORM else b" " * 70_000
    for body in (good + padding, [good, padding], [good, padding, padding, padding]):
        assert refuses(endpoint, body=body).status == 413
    assert refuses(endpoint, headers=endpoint.headers | {"Content-Length": "9" * 5000}, body=[good]).status == 413
    many = {f"n{n}": "1" for n in range(2000)}
    if endpoint.media == FORM:
        refuses(endpoint, body=endpoint.encoded(**many))


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize(
    "value", [1, -1, 0.5, 10**100, True, False, [], {}, [[]], [None], {"a": None}, ["x", 1], ["a"] * 5000], ids=repr
)
def test_the_wrong_type(endpoints: dict[str, Endpoint], refuses: Callable[..., Answer], name: str, value: Any) -> None:
    endpoint = endpoints[name]
    for changed in endpoint.fields:
        if name in ("register", "manage") and changed == "contacts" and value == []:
            continue  # a list without entries is the right type
        refuses(endpoint, body=endpoint.encoded(**{changed: value}))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_is_no_json_object(endpoints: dict[str, Endpoint], refuses: Callable[..., Answer], name: str) -> None:
    endpoint = endpoints[name]
    good = endpoint.encoded()
    for body in (
        b"null",
        b"[]",
        b"1",
        b'"x"',
        b"[" + good + b"]",
        good + good,
        good[:-1],
        b"[" * 60_000,
        b'{"a":' * 10_000,
        good[:-1] + b', "a": NaN}',
        good[:-1] + b', "a": ' + b"9" * 5000 + b"}",
        good[:-1] + b', "a": ' + b"[" * 20 + b"]" * 20 + b"}",
    ):
        assert refuses(endpoint, body=body).status == 400


@pytest.mark.parametrize("name", FORMS + DOCUMENTS)
def test_an_address_that_cannot_be_read(endpoints: dict[str, Endpoint], refuses: Callable[..., Answer], name: str) -> None:
    endpoint = endpoints[name]
    for query in (b"\xff", b"a=%00", b"\0"):
        assert refuses(endpoint, query=query).status == 400


GETS = {
    "oauth": ["/register/{}"],
    "api": ["/api/v1/auth/oauth/pending/{}", "/api/v1/{}"],
    "well-known": ["/.well-known/oauth-protected-resource/{}", "/.well-known/{}"],
    "page": ["/{}", "/oauth/{}", "/console/{}x", "/static/{}"],
}


@pytest.mark.parametrize(
    "segment",
    ["\0", "a\0b", "unknown", "x" * 5000, "é😀", "%00", "..", "\ufffd", "a b", "<script>"],
    ids=lambda segment: ascii(segment)[:20],
)
@pytest.mark.parametrize(("shape", "path"), [(shape, path) for shape, paths in GETS.items() for path in paths])
def test_a_segment_of_the_path_that_means_nothing(
    site: Site, alice: Person, rows: Callable[[], Rows], shape: str, path: str, segment: str
) -> None:
    site.get("/api/v1/whoami", key=alice.api_key)
    before = rows()
    answer = site.get(path.format(segment), key=alice.api_key)
    assert_refused(answer, shape)
    assert answer.status in (401, 404) if shape == "oauth" else answer.status == 404
    assert "<script>" not in answer.text
    assert rows() == before


@pytest.mark.parametrize("path", ["/oauth/authorize/page", "/oauth/authorize/page/status"])
@pytest.mark.parametrize(
    "query", [b"", b"pending=", b"pending=unknown", b"pending=a&pending=b", b"pending=%00", b"pending=%FF", b"pending=\xff"]
)
def test_a_code_page_of_nothing(site: Site, db: None, path: str, query: bytes) -> None:
    answer = site.ask("GET", path, query=query)
    assert_refused(answer, "api" if path.endswith("status") else "page")
    assert answer.status in (400, 404)


def test_a_method_that_nobody_knows(site: Site, alice: Person) -> None:
    for path, shape in (("/token", "oauth"), ("/register", "oauth"), ("/api/v1/whoami", "api"), ("/authorize", "page")):
        for method in ("BREW", "get", "TRACE", "CONNECT"):
            answer = site.ask(method, path)
            if method != "get":
                assert_refused(answer, shape, status=405)
            assert answer.status < 500


# ------------------------------------------------------------------ fuzz

fuzz = effort(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
values = st.text(st.characters(), max_size=20) | st.sampled_from(
    ["", "mcp", "code", "S256", "authorization_code", "ovat_x"]
)
json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(values, inner, max_size=3),
    max_leaves=8,
)
raw_header = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=30)


def assert_decent(answer: Answer, shape: str) -> None:
    assert answer.status < 500, answer
    if answer.status >= 400:
        assert_refused(answer, shape)


@pytest.mark.parametrize("name", FORMS)
def test_fuzzed_forms(endpoints: dict[str, Endpoint], site: Site, name: str) -> None:
    endpoint = endpoints[name]

    @fuzz
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        names = st.sampled_from([*endpoint.fields, "scope", "resource", "client_secret", "token_type_hint", "x"])
        changed = data.draw(st.lists(st.tuples(names, values), max_size=4))
        kept = [(name, value) for name, value in endpoint.fields.items() if data.draw(st.booleans())]
        body = "&".join(
            f"{quote(name)}={quote(value, errors='surrogatepass')}" for name, value in [*kept, *changed]
        ).encode()
        body = data.draw(st.just(body) | st.binary(max_size=60))
        headers = {"Authorization": data.draw(raw_header)} if data.draw(st.booleans()) else {}
        media = data.draw(st.just(FORM) | raw_header)
        assert_decent(endpoint.ask(site, body=body, headers=headers, content_type=media), "oauth")

    check()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_fuzzed_documents(endpoints: dict[str, Endpoint], site: Site, name: str) -> None:
    endpoint = endpoints[name]

    @fuzz
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        names = st.sampled_from([*endpoint.fields, "jwks", "grant_types", "logo_uri", "x", ""])
        changed = data.draw(st.dictionaries(names, json_value, max_size=4))
        document = {name: value for name, value in endpoint.fields.items() if data.draw(st.booleans())} | changed
        body = data.draw(st.just(json.dumps(document).encode()) | st.binary(max_size=60))
        assert_decent(endpoint.ask(site, body=body), endpoint.shape)

    check()


@fuzz
@given(
    query=st.binary(max_size=60)
    | st.lists(st.tuples(st.sampled_from(["client_id", "redirect_uri", "scope", "state", "x"]), values)).map(
        lambda pairs: "&".join(f"{k}={quote(v, errors='surrogatepass')}" for k, v in pairs).encode()
    )
)
def test_fuzzed_authorization_requests(site: Site, query: bytes) -> None:
    assert_decent(site.ask("GET", "/authorize", query=query), "page")
    assert_decent(site.ask("POST", "/authorize", body=query, content_type=FORM), "page")


@fuzz
@given(
    path=st.text(st.sampled_from(string.ascii_letters + "/.-_%\0é?#;:"), max_size=30),
    method=st.sampled_from(["GET", "POST"]),
)
def test_fuzzed_paths(site: Site, path: str, method: str) -> None:
    answer = site.ask(method, f"/{path}")
    assert answer.status < 500
    assert "Traceback" not in answer.text


# ------------------------------------------------------------------ the database cannot be written


@contextmanager
def locked() -> Iterator[None]:
    """Another process holds the write lock, and waiting for it is short."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 20")
    other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@contextmanager
def read_only() -> Iterator[None]:
    """Every connection, also one that is opened meanwhile."""
    sqlite = connection.vendor == "sqlite"
    switch = "PRAGMA query_only = {}" if sqlite else "SET default_transaction_read_only = {}"

    def turn(state: str, **_: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(switch.format(state))

    turn_on = partial(turn, "on")
    turn_on()
    connection_created.connect(turn_on)
    try:
        yield
    finally:
        connection_created.disconnect(turn_on)
        turn("off")


def assert_unavailable(answer: Answer, shape: str) -> None:
    assert_refused(answer, shape, status=503, error=None if shape == "page" else "temporarily_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert "lock" not in answer.text
    assert "readonly" not in answer.text


WRITERS = ("token by code", "token by refresh", "revoke", "device", "par", "register", "verify by id", "revoke user")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("fault", [locked, read_only])
def test_while_nobody_can_write_everybody_is_asked_to_come_back(
    endpoints: dict[str, Endpoint], client_app: Client, alice: Person, site: Site, rows: Callable[[], Rows], fault: Any
) -> None:
    if fault is locked and connection.vendor != "sqlite":
        pytest.skip("only SQLite has one lock for all writers")
    before = rows()
    authorize = {
        "client_id": client_app.client_id,
        "response_type": "code",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    with fault():
        for name in WRITERS:
            assert_unavailable(endpoints[name].ask(site), endpoints[name].shape)
        assert_unavailable(site.ask("POST", "/api/v1/auth/otp", key=alice.api_key), "api")
        assert_unavailable(site.get("/authorize", query=authorize), "page")
        # What only reads goes on.
        assert site.get("/api/v1/whoami", key=alice.api_key).status == 200
        assert site.get("/.well-known/oauth-authorization-server").status == 200
        assert endpoints["introspect"].ask(site).status == 200
    assert rows() == before
    for name in ("token by code", "token by refresh", "verify by id"):
        assert endpoints[name].ask(site).status == 200  # nothing was spent, nobody was logged out


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("secret", ["right", "wrong"])
def test_a_client_is_not_told_that_it_is_wrong_while_that_cannot_be_known(
    endpoints: dict[str, Endpoint], site: Site, secret: str
) -> None:
    endpoint = endpoints["introspect"]
    changes = {} if secret == "right" else {"client_secret": "ovcs_wrong"}
    with read_only():
        answer = endpoint.ask(site, body=endpoint.encoded(**changes))
    assert answer.status == (200 if secret == "right" else 503)
