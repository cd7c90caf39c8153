"""The program on whose database races are run: `python -m tests.races.racer N`, with DATABASE_URL or SQLite.

It migrates, forks N racers, and then answers one JSON line on standard input by one on standard output:
`{"how": "here" | "threads" | "processes", "calls": [[name, {argument: value}], …]}` → a list of outcomes. The racers of one
line wait, connected to the database, at one gate (a pipe), which opens for all at once. What can be called is the section
of plain functions below: plain values in, plain values out.
"""

import json
import os
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
django.setup()

from dataclasses import asdict
from datetime import timedelta

from django.conf import settings
from django.core.management import call_command
from django.db import connection, connections
from django.utils import timezone

from ovauth import credentials
from ovauth.errors import Refusal
from ovauth.flows import (
    accounts,
    approval,
    authorization,
    clients,
    garbage,
    limits,
    one_time_password,
    refresh_token,
    revocation,
    sign_in,
)
from ovauth.flows import connections as apps
from ovauth.flows.authority import Authority
from ovauth.models import (
    AccessToken,
    ApiKey,
    AuditEvent,
    AuthorizationCode,
    Client,
    Grant,
    Member,
    PendingAuthorization,
    RefreshToken,
    Tally,
)
from ovauth.roles import Role
from tests.conftest import CALLBACK, ISSUER, approved, begun, connected, person, redeemed, works

Outcome = dict[str, Any]

# ------------------------------------------------------------------ what can be called

ACCOUNT = "acme"


def runs_on() -> str:
    return connection.vendor


def new_user(*, role: str = "user") -> str:
    return person(ACCOUNT, f"u{credentials.identifier()}", Role.named(role)).member.name


def new_client() -> dict[str, str]:
    made = clients.register(document={"client_name": "Racer", "redirect_uris": [CALLBACK]})
    return {"client": made.client_id, "management": str(made.registration_access_token)}


def new_pending(*, client: str, browser: str = "browser", scope: str | None = None) -> str:
    return begun(_client(client), browser=browser, scope=scope)


def new_code(*, client: str, user: str, by: str, scope: str | None = None) -> str:
    return approved(_client(client), _authority(user, by), scope=scope)


def new_connection(*, client: str, user: str, by: str, scope: str | None = None) -> dict[str, Any]:
    return asdict(connected(_client(client), _authority(user, by), scope=scope))


def key(*, user: str) -> int:
    """The number of the user's one living API key."""
    return int(ApiKey.objects.get(member__name=user, revoked_at=None).pk)


def new_one_time_password(*, user: str) -> str:
    return one_time_password.issue(authority=_authority(user, "key"))[0]


def approve(*, user: str, by: str | int, pending: str, scopes: list[str] | None = None) -> str:
    return approval.approve(authority=_authority(user, by), pending_id=pending, scopes=scopes).status


def deny(*, user: str, by: str | int, pending: str) -> str:
    return approval.deny(authority=_authority(user, by), pending_id=pending).status


def guess(*, user: str, ip: str = "", code: str = "AAA-AAA") -> None:
    approval.review(authority=_authority(user, "session"), code=code, ip=ip)


def guess_a_password(*, ip: str) -> None:
    sign_in.failed(sign_in.begin(name="somebody", ip=ip))


def display_code(*, pending: str) -> str:
    return authorization.look(pending_id=pending, browser="browser").display_code


def audited(*, event: str, since: int = 0) -> int:
    return AuditEvent.objects.filter(event=event).count() - since


def guessers(*, users: list[str]) -> list[str]:
    """The keys under which wrong codes of these users are counted."""
    numbers = Member.objects.filter(name__in=users).values_list("pk", flat=True)
    return [limits.CODE_BY_MEMBER.key(f"member {number}") for number in numbers]


def failures(*, key: str) -> int:
    return sum(Tally.objects.filter(key=key, expires_at__gt=timezone.now()).values_list("count", flat=True))


def fail(*, who: str) -> None:
    limits.count([(limits.CODE_BY_MEMBER, who), (limits.CODE_BY_ADDRESS, who)])


def expire_limits() -> None:
    Tally.objects.update(expires_at=timezone.now() - timedelta(seconds=1))


def present(*, pending: str, browser: str, typed: str) -> None:
    approval.present_one_time_password(pending_id=pending, browser=browser, typed=typed)


def collect(*, pending: str) -> dict[str, Any]:
    return asdict(authorization.collect(pending_id=pending, browser="browser", issuer=ISSUER))


def redeem(*, client: str, code: str) -> dict[str, Any]:
    return asdict(redeemed(_client(client), code))


def refresh(*, client: str, token: str) -> dict[str, Any]:
    return asdict(refresh_token.rotate(client=_client(client), refresh_token=token, issuer=ISSUER))


def revoke(*, client: str, token: str) -> None:
    revocation.revoke(client=_client(client), token=token)


def revoke_user(*, user: str) -> None:
    revocation.revoke_user_tokens(account=ACCOUNT, name=user)


def disconnect(*, user: str) -> None:
    member = Member.objects.get(name=user)
    for connection_ in apps.living(member_pk=member.pk):
        apps.disconnect(member_pk=member.pk, grant_pk=connection_.pk)


def rotate_key(*, user: str) -> str:
    return accounts.rotate_api_key(account=ACCOUNT, name=user)[0]


def change_password(*, user: str, password: str) -> None:
    accounts.set_password(account=ACCOUNT, name=user, password=password)


def create_user(*, user: str) -> str:
    return accounts.create_user(account=ACCOUNT, name=user, role=Role.USER).api_key


def password_epoch(*, user: str) -> int:
    return Member.objects.get(name=user).password_epoch


def living_keys(*, user: str) -> int:
    return ApiKey.objects.filter(member__name=user, revoked_at=None).count()


def delete_client(*, client: str, management: str) -> None:
    clients.delete(client_id=client, registration_access_token=management)


def update_client(*, client: str, management: str) -> None:
    document = {"client_name": "Renamed", "redirect_uris": [CALLBACK]}
    clients.update(client_id=client, registration_access_token=management, document=document)


def block_client(*, client: str) -> None:
    clients.block(_client(client), timezone.now(), blocked=True)


def is_known(*, client: str) -> bool:
    return Client.objects.filter(client_id=client).exists()


def is_blocked(*, client: str) -> bool:
    return Client.objects.get(client_id=client).blocked_at is not None


def age(*, client: str) -> None:
    """Everything of the client expires, but what can still be refreshed."""
    past = timezone.now() - timedelta(seconds=1)
    AccessToken.objects.filter(grant__client__client_id=client).update(expires_at=past)
    PendingAuthorization.objects.filter(client__client_id=client).update(expires_at=past)
    AuthorizationCode.objects.filter(grant__client__client_id=client).update(expires_at=past)
    Grant.objects.filter(client__client_id=client).update(created_at=past - timedelta(days=2))


def collect_garbage() -> None:
    garbage.collect()


def opens(*, secret: str) -> bool:
    return works(secret)


def unused_refresh_tokens(*, client: str) -> int:
    return RefreshToken.objects.filter(grant__client__client_id=client, consumed_at=None).count()


def rows(*, client: str) -> dict[str, int]:
    return {
        "grants": Grant.objects.filter(client__client_id=client).count(),
        "access tokens": AccessToken.objects.filter(grant__client__client_id=client).count(),
    }


def _client(client_id: str) -> Client:
    """As the token endpoint finds it, before the flow begins."""
    return clients.authenticate(client_id=client_id, client_secret=None)


def _authority(user: str, by: str | int) -> Authority:
    """By a session, by the living key, or by the key with that number, living or not."""
    member = Member.objects.get(name=user)
    if by == "session":
        return Authority(member.pk, password_epoch=member.password_epoch)
    return Authority(member.pk, api_key_pk=by if isinstance(by, int) else key(user=user))


# ------------------------------------------------------------------ the race


def outcome(name: str, arguments: dict[str, Any], ready: Callable[[], None]) -> Outcome:
    """One call: its value, or the class of its refusal, or the traceback of whatever should never happen."""
    try:
        connection.ensure_connection()
        ready()
        return {"value": globals()[name](**arguments)}
    except Refusal as refusal:
        return {"refused": type(refusal).__name__}
    except BaseException:
        return {"crashed": traceback.format_exc()}


class Gate:
    """Racers report to it and wait; it opens for all of them at once."""

    def __init__(self) -> None:
        self.arrivals, self.arriving = os.pipe()
        self.passing, self.opening = os.pipe()

    def wait(self) -> None:
        os.write(self.arriving, b".")
        os.read(self.passing, 1)

    def open(self, racers: int) -> None:
        waiting = 0
        while waiting < racers:
            waiting += len(os.read(self.arrivals, racers - waiting))
        os.write(self.opening, b"." * racers)


class Racer:
    """A forked process with a connection of its own."""

    def __init__(self, gate: Gate) -> None:
        ours, theirs = socket.socketpair()
        if os.fork() == 0:
            ours.close()
            sys.stdin.close()
            with theirs.makefile("rw") as line:
                for asked in line:
                    line.write(json.dumps(outcome(*json.loads(asked), gate.wait)) + "\n")
                    line.flush()
            os._exit(0)
        theirs.close()
        self.line = ours.makefile("rw")

    def ask(self, call: Any) -> None:
        self.line.write(json.dumps(call) + "\n")
        self.line.flush()


def run(how: str, calls: list[Any], gate: Gate, racers: list[Racer]) -> list[Outcome]:
    if how == "here":
        return [outcome(name, arguments, lambda: None) for name, arguments in calls]
    if how == "processes":
        running = racers[: len(calls)]
        for racer, call in zip(running, calls, strict=True):
            racer.ask(call)
        gate.open(len(calls))
        return [json.loads(racer.line.readline()) for racer in running]
    outcomes: list[Outcome] = [{}] * len(calls)

    def compete(place: int) -> None:
        outcomes[place] = outcome(*calls[place], gate.wait)
        connections.close_all()

    threads = [threading.Thread(target=compete, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    gate.open(len(calls))
    for thread in threads:
        thread.join()
    return outcomes


def main() -> None:
    settings.OVAUTH = settings.OVAUTH.model_copy(update=json.loads(os.environ.get("RACERS_CONFIG", "{}")))
    call_command("migrate", verbosity=0)
    connections.close_all()  # nothing that is open may be inherited
    gate = Gate()
    racers = [Racer(gate) for _ in range(int(sys.argv[1]))]
    for line in sys.stdin:
        asked = json.loads(line)
        sys.stdout.write(json.dumps(run(asked["how"], asked["calls"], gate, racers)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
