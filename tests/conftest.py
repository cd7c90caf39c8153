"""The people of the tests, a clock, and a client in several stages of its life.

alice is an admin, bob a user of the same account, charlie a user of another account: the person who exists to be refused.
"""

import base64
import hashlib
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory

from ovauth import bearer
from ovauth.conf import Config
from ovauth.errors import InvalidToken
from ovauth.flows import accounts, approval, authorization, authorization_code, clients
from ovauth.flows.accounts import NewMember
from ovauth.flows.authority import Authority
from ovauth.flows.issuance import TokenPair
from ovauth.models import ApiKey, Client, Member
from ovauth.roles import Role

ISSUER = "http://testserver"  # the host of Django's test client
RESOURCE = f"{ISSUER}/mcp"
CALLBACK = "http://127.0.0.1:33418/callback"
VERIFIER = "a-verifier-that-is-long-enough-for-rfc-7636-section-4-1"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")


@dataclass(frozen=True)
class Person:
    """A member, and what they alone know."""

    member: Member
    api_key: str
    password: str

    @property
    def by_key(self) -> Authority:
        key = ApiKey.objects.get(member=self.member, revoked_at=None)
        return Authority(self.member.pk, api_key_pk=key.pk)

    @property
    def by_session(self) -> Authority:
        self.member.refresh_from_db()
        return Authority(self.member.pk, password_epoch=self.member.password_epoch)


def person(account: str, name: str, role: Role) -> Person:
    password = f"{name}-has-a-long-password"
    made: NewMember = accounts.create_user(account=account, name=name, role=role, password=password)
    member = Member.objects.select_related("account").get(sign_in_name=made.sign_in_name)
    return Person(member, made.api_key, password)


@pytest.fixture
def alice(db: None) -> Person:
    return person("acme", "alice", Role.ADMIN)


@pytest.fixture
def bob(db: None) -> Person:
    return person("acme", "bob", Role.USER)


@pytest.fixture
def charlie(db: None) -> Person:
    return person("other", "charlie", Role.USER)


@pytest.fixture
def root(db: None) -> Person:
    return person("default", "operator", Role.ROOT)


@pytest.fixture
def clock() -> Iterator[Callable[[float], None]]:
    """Stops the time; calling it lets that many seconds pass."""
    with freeze_time("2026-11-24 10:00:00", ignore=["asyncio", "uvicorn"]) as frozen:
        assert isinstance(frozen, FrozenDateTimeFactory)
        yield lambda seconds: frozen.tick(timedelta(seconds=seconds))


@pytest.fixture
def configure(settings: Any) -> Callable[..., Config]:
    """Changes fields of the configuration for one test."""

    def change(**fields: Any) -> Config:
        settings.OVAUTH = settings.OVAUTH.model_copy(update=fields)
        return settings.OVAUTH

    return change


# ------------------------------------------------------------------ the life of a client, by flows alone


def registered(**metadata: Any) -> Client:
    """A client that registered itself; a public one unless told otherwise."""
    document = {"client_name": "Test client", "redirect_uris": [CALLBACK], **metadata}
    made = clients.register(document=document)
    return Client.objects.get(client_id=made.client_id)


def begun(client: Client, *, browser: str = "browser", scope: str | None = None, state: str | None = "st") -> str:
    """The id of a request that waits for a decision."""
    return authorization.begin(
        to=authorization.destination(client_id=client.client_id, redirect_uri=client.redirect_uris[0]),
        response_type="code",
        state=state,
        scope=scope,
        code_challenge=CHALLENGE,
        code_challenge_method="S256",
        resource=(),
        issuer=ISSUER,
        browser=browser,
    )


def approved(client: Client, authority: Authority, *, scope: str | None = None) -> str:
    """An authorization code that is ready to be redeemed."""
    pending_id = begun(client, scope=scope)
    approval.approve(authority=authority, pending_id=pending_id)
    collected = authorization.collect(pending_id=pending_id, browser="browser", issuer=ISSUER)
    assert collected.redirect_url is not None
    return parse_qs(urlsplit(collected.redirect_url).query)["code"][0]


def redeemed(client: Client, code: str, **changes: Any) -> TokenPair:
    sent: dict[str, Any] = {"redirect_uri": client.redirect_uris[0], "code_verifier": VERIFIER} | changes
    return authorization_code.redeem(client=client, code=code, issuer=ISSUER, **sent)


def connected(client: Client, authority: Authority, *, scope: str | None = None) -> TokenPair:
    """The tokens of a client that has come the whole way."""
    return redeemed(client, approved(client, authority, scope=scope))


def works(secret: str, *, resource: str = RESOURCE) -> bool:
    """Whether a credential opens the resource at this moment."""
    try:
        bearer.identify(secret, resource=resource)
    except InvalidToken:
        return False
    return True


@pytest.fixture
def client_app(db: None) -> Client:
    return registered()


class Eavesdropper(logging.Handler):
    """Keeps the log lines that hold a credential in clear, as they are before any redaction."""

    CREDENTIAL = re.compile(r"ov(?:at|rt|ac|dc|k|cs|reg)_[A-Za-z0-9_-]{43}")

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = f"{record.name}: {self.format(record)} {record.__dict__.get('audit', '')}"
        if self.CREDENTIAL.search(line):
            self.heard.append(line)


@pytest.fixture(autouse=True)
def _no_secret_in_any_log_line(request: pytest.FixtureRequest) -> Iterator[None]:
    """Of the whole test run, in this process; the output of real servers is searched by `tests.serving`."""
    eavesdropper = Eavesdropper()
    loggers = [logging.getLogger(name) for name in ("", "ovauth.audit")]
    for logger in loggers:
        logger.addHandler(eavesdropper)
    yield
    for logger in loggers:
        logger.removeHandler(eavesdropper)
    if "logs_secrets" not in request.keywords:
        assert not eavesdropper.heard


@pytest.fixture(autouse=True)
def _no_leftover_settings() -> Iterator[None]:
    before = settings.OVAUTH
    yield
    assert settings.OVAUTH is before
