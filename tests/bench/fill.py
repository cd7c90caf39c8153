"""A database as large as one wants it: plausible rows by the million, whose secrets are known.

    OVAUTH_DATA_DIR=/tmp/large uv run python -m tests.bench.fill --access-tokens 1000000 --grants 200000 --clients 20000

fills the database that the environment names (`OVAUTH_DATA_DIR`, `DATABASE_URL`), on SQLite and on PostgreSQL. It is
migrated if it is empty; what is in it already stays. Nothing may be served from it meanwhile, and it is filled once.

Row i of a kind has the secret `secret(kind, i)`, so that a bench can use it:

    secret(Kind.ACCESS_TOKEN, 7)    access token 7, of grant `7 % grants`; it works when `works(7, tokens, grants)`
    secret(Kind.REFRESH_TOKEN, 7)   likewise; unused when it is the last one of its grant, see `unused`
    secret(Kind.API_KEY, 7)         the key of user 7
    client_id(7), secret(Kind.CLIENT_SECRET, 7)   client 7 has one where `kind_of_client(7).secret`

What it is like: a tenth of the access tokens has expired, an eleventh of the grants was revoked, the rest works for up to
thirty days. One percent of the grants is of user 0, the others are spread evenly. Most clients registered themselves, and
are alike by the hundred, as those of real apps are.
"""

import argparse
import io
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import django
from django.apps import apps
from django.core.management.color import no_style
from django.db import connection, models, transaction

from ovauth import credentials
from ovauth.credentials import Kind

BATCH = 100_000
STORY = timedelta(days=90)
"""How far back the rows go."""
AHEAD = timedelta(days=30)
"""How long the last token works."""
EVENTS = (
    ("token.refreshed", 60),
    ("token.issued", 12),
    ("authorization.requested", 8),
    ("authorization.approved", 8),
    ("client.registered", 6),
    ("login.succeeded", 3),
    ("login.failed", 1),
    ("token.revoked", 1),
    ("grant.disconnected", 1),
)
EVENT = tuple(event for event, share in EVENTS for _ in range(share))


# ------------------------------------------------------------------ what a bench may know


@dataclass(frozen=True)
class ClientKind:
    """What an app sends when it registers."""

    name: str
    redirect_uri: str
    method: str = "none"
    origin: str = "registered"

    @property
    def secret(self) -> bool:
        return self.method != "none"


CLIENT_KINDS = (
    ClientKind("Claude Code (notes)", "http://localhost:8123/callback"),
    ClientKind("Claude", "https://claude.ai/api/mcp/auth_callback", "client_secret_post"),
    ClientKind("Cursor", "cursor://anysphere.cursor-retrieval/oauth/user-notes/callback"),
    ClientKind("Claude Code (notes)", "http://localhost:8123/callback"),
    ClientKind("Visual Studio Code", "http://127.0.0.1:33418/"),
    ClientKind("Claude Code (notes)", "http://localhost:8123/callback"),
    ClientKind("ChatGPT", "https://chatgpt.com/connector_platform_oauth_redirect", "client_secret_post"),
    ClientKind("MCP Inspector", "http://localhost:6274/oauth/callback"),
    ClientKind("Notes for the desk", "https://notes.example/client.json", origin="document"),
    ClientKind("Reports", "https://reports.example/callback", "client_secret_basic", "manual"),
)


def secret(kind: Kind, number: int) -> str:
    """The secret of row `number` in clear, as long as a minted one: `ovat_fill0000…0007`."""
    return f"{kind}fill{number:039d}"


def kind_of_client(number: int) -> ClientKind:
    return CLIENT_KINDS[number % len(CLIENT_KINDS)]


def client_id(number: int) -> str:
    if kind_of_client(number).origin == "document":
        return f"https://notes.example/{number}/client.json"
    return f"fill-client-{number:08d}"


def account_name(number: int) -> str:
    return f"fill-{number:04d}"


def user_name(number: int) -> str:
    return f"user-{number:06d}"


def works(token: int, tokens: int, grants: int) -> bool:
    """Whether access token `token` of `tokens` works: it has not expired, and its grant stands."""
    return token >= tokens // 10 and not is_revoked(token % grants)


def is_revoked(grant: int) -> bool:
    return grant % 11 == 10


def unused(refresh_token: int, refresh_tokens: int, grants: int) -> bool:
    """Whether refresh token `refresh_token` of `refresh_tokens` is the last one of its grant."""
    return refresh_token + grants >= refresh_tokens


# ------------------------------------------------------------------ rows


@dataclass(frozen=True)
class Size:
    access_tokens: int
    refresh_tokens: int
    grants: int
    clients: int
    audit_events: int
    pending: int
    issuer: str

    @property
    def users(self) -> int:
        return max(1, self.grants // 20)

    @property
    def accounts(self) -> int:
        return max(1, self.users // 200)


def kinds(size: Size, now: datetime) -> Iterator[tuple[str, int, Callable[[int, int], dict[str, Any]]]]:
    """Each kind of row: its model, how many, and what stands in the fields of row i behind the primary key `first`."""
    key = {name: _first_key(name) for name in ("Account", "Member", "ApiKey", "Client", "Grant", "RefreshToken")}
    began = now - STORY

    def since(number: int, of: int) -> str:
        """Moments of the story in the order of the rows."""
        return _moment(began + STORY * (number / of))

    def account(number: int, pk: int) -> dict[str, Any]:
        return {"id": pk, "name": account_name(number), "created_at": since(number, size.accounts)}

    def member(number: int, pk: int) -> dict[str, Any]:
        tenant = number % size.accounts
        return {
            "id": pk,
            "account_id": key["Account"] + tenant,
            "name": user_name(number),
            "sign_in_name": f"{account_name(tenant)}/{user_name(number)}",
            "password": "!",
            "role": 1,
            "created_at": since(number, size.users),
        }

    def api_key(number: int, pk: int) -> dict[str, Any]:
        plain = secret(Kind.API_KEY, number)
        return {
            "id": pk,
            "member_id": key["Member"] + number,
            "digest": credentials.digest(plain),
            "last_four": plain[-4:],
            "created_at": since(number, size.users),
        }

    def client(number: int, pk: int) -> dict[str, Any]:
        kind = kind_of_client(number)
        return {
            "id": pk,
            "client_id": client_id(number),
            "origin": kind.origin,
            "name": kind.name,
            "redirect_uris": json.dumps([kind.redirect_uri]),
            "grant_types": '["authorization_code", "refresh_token"]',
            "response_types": '["code"]',
            "token_endpoint_auth_method": kind.method,
            "application_type": "native" if kind.method == "none" else "web",
            "scope": "mcp fs",
            "secret_digest": credentials.digest(secret(Kind.CLIENT_SECRET, number)) if kind.secret else None,
            "registration_digest": credentials.digest(secret(Kind.REGISTRATION_TOKEN, number))
            if kind.origin == "registered"
            else None,
            "likeness": f"{CLIENT_KINDS.index(kind):016x}" if kind.origin == "registered" else "",
            "created_at": since(number, size.clients),
            "last_used_at": None if number % 7 == 6 else since(number, size.clients),
        }

    def grant(number: int, pk: int) -> dict[str, Any]:
        owner = 0 if number < size.grants // 100 else number % size.users
        by_key = number % 3 > 0
        moment = since(number, size.grants)
        return {
            "id": pk,
            "client_id": key["Client"] + number % size.clients,
            "member_id": key["Member"] + owner,
            "role": 1,
            "scope": "mcp",
            "resource": f"{size.issuer}/mcp",
            "redirect_uri": kind_of_client(number % size.clients).redirect_uri,
            "api_key_id": key["ApiKey"] + owner if by_key else None,
            "password_epoch": None if by_key else 0,
            "created_at": moment,
            "connected_at": moment,
            "last_used_at": moment,
            "last_used_ip": f"192.0.2.{number % 250}",
            "revoked_at": moment if is_revoked(number) else None,
            "revoked_because": "disconnected by its owner" if is_revoked(number) else "",
        }

    def expires(number: int, of: int) -> str:
        """A tenth is over, the rest has between a day and thirty."""
        if number < of // 10:
            return _moment(now - timedelta(seconds=60 + number % 3600))
        return _moment(now + timedelta(days=1) + (AHEAD - timedelta(days=1)) * (number / of))

    def access_token(number: int, pk: int) -> dict[str, Any]:
        return {
            "id": pk,
            "digest": credentials.digest(secret(Kind.ACCESS_TOKEN, number)),
            "grant_id": key["Grant"] + number % size.grants,
            "scope": "mcp",
            "created_at": since(number, size.access_tokens),
            "expires_at": expires(number, size.access_tokens),
        }

    def a_refresh_token(number: int, pk: int) -> dict[str, Any]:
        last = unused(number, size.refresh_tokens, size.grants)
        moment = since(number, size.refresh_tokens)
        return {
            "id": pk,
            "digest": credentials.digest(secret(Kind.REFRESH_TOKEN, number)),
            "grant_id": key["Grant"] + number % size.grants,
            "created_at": moment,
            "expires_at": _moment(now + AHEAD),
            "consumed_at": None if last else moment,
            "successor_id": None if last else key["RefreshToken"] + number + size.grants,
            "sealed_successor": None if last else b"\0" * 76,  # as long as a real one, and opened by nothing
        }

    def pending(number: int, pk: int) -> dict[str, Any]:
        kind = kind_of_client(number % size.clients)
        return {
            "id": pk,
            "public_id": f"fill-pending-{number:08d}",
            "client_id": key["Client"] + number % size.clients,
            "redirect_uri": kind.redirect_uri,
            "scope": "mcp",
            "resource": f"{size.issuer}/mcp",
            "code_challenge": "a" * 43,
            "code_digest": credentials.digest(f"fill pending {number}"),
            "code_attempt": 0,
            "ip": f"192.0.2.{number % 250}",
            "user_agent": "Mozilla/5.0",
            "created_at": _moment(now),
            "expires_at": _moment(now + timedelta(minutes=10 if number % 2 else -10)),
        }

    def audit_event(number: int, pk: int) -> dict[str, Any]:
        event = EVENT[number * 37 % len(EVENT)]
        of = number % size.grants
        owner = 0 if of < size.grants // 100 else of % size.users
        tenant = owner % size.accounts
        return {
            "id": pk,
            "at": since(number, size.audit_events),
            "event": event,
            "actor": f"{account_name(tenant)}/{user_name(owner)}",
            "account": account_name(tenant),
            "client_id": client_id(of % size.clients),
            "grant_id": key["Grant"] + of,
            "actor_kind": "client",
            "outcome": "failure" if event == "login.failed" else "success",
            "ip": f"192.0.2.{number % 250}",
            "request_id": f"{number:032x}",
            "detail": "{}",
        }

    yield "Account", size.accounts, account
    yield "Member", size.users, member
    yield "ApiKey", size.users, api_key
    yield "Client", size.clients, client
    yield "Grant", size.grants, grant
    yield "AccessToken", size.access_tokens, access_token
    yield "RefreshToken", size.refresh_tokens, a_refresh_token
    yield "PendingAuthorization", size.pending, pending
    yield "AuditEvent", size.audit_events, audit_event


def _model(name: str) -> type[models.Model]:
    return apps.get_model("ovauth", name)


def _first_key(name: str) -> int:
    newest = _model(name)._base_manager.order_by("-pk").values_list("pk", flat=True).first()
    return (newest or 0) + 1


def _moment(moment: datetime) -> str:
    """As both databases read it from text."""
    text = moment.strftime("%Y-%m-%d %H:%M:%S.%f")
    return f"{text}+00" if connection.vendor == "postgresql" else text


# ------------------------------------------------------------------ into the database, fast


def fill(size: Size, *, tell: Callable[[str], None] = lambda _line: None) -> None:
    """Puts the rows into the database of this process. Raises RuntimeError when it was filled before."""
    if _model("Account")._base_manager.filter(name=account_name(0)).exists():
        raise RuntimeError("This database was filled before. Take an empty one.")
    now = datetime.now(UTC).replace(microsecond=0)
    with _unhurried_writes():
        for name, count, row in list(kinds(size, now)):
            if count:
                _put(_model(name), count, row, tell)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")


class _unhurried_writes:  # noqa: N801 a context manager
    """Nothing is safe on the disk until the end: who fills a database can fill it again."""

    def __enter__(self) -> None:
        with connection.cursor() as cursor:
            if connection.vendor == "sqlite":
                cursor.execute("PRAGMA synchronous=OFF")
                cursor.execute("PRAGMA cache_size=-1500000")
                cursor.execute("PRAGMA foreign_keys=OFF")
            else:
                cursor.execute("SET synchronous_commit = off")
                cursor.execute("SET maintenance_work_mem = '512MB'")
                cursor.execute("SET session_replication_role = replica")  # foreign keys are right by construction

    def __exit__(self, *_fault: object) -> None:
        connection.close()  # and with it all that was said above


def _put(
    model: type[models.Model], count: int, row: Callable[[int, int], dict[str, Any]], tell: Callable[[str], None]
) -> None:
    first = _first_key(model.__name__)
    given = list(row(0, first))
    fields = {field.attname: field for field in model._meta.local_concrete_fields}
    rest = {
        name: _default(field)
        for name, field in fields.items()
        if name not in given and (field.has_default() or not field.has_db_default())
    }
    columns = [fields[name].column for name in (*given, *rest)]
    constants = tuple(rest.values())
    rows = ((*row(number, first + number).values(), *constants) for number in range(count))
    started = time.perf_counter()
    with _without_indexes(model):
        done = 0
        while batch := list(islice(rows, BATCH)):
            with transaction.atomic():
                _insert(model._meta.db_table, columns, batch)
            done += len(batch)
            pace = done / (time.perf_counter() - started)
            tell(f"{model._meta.verbose_name_plural}: {done:,} of {count:,} ({pace:,.0f}/s)")
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), [model]):
            cursor.execute(statement)
    tell(f"{model._meta.verbose_name_plural}: {count:,} in {time.perf_counter() - started:.1f} s\n")


def _default(field: Any) -> Any:
    value = field.get_db_prep_save(field.get_default(), connection)
    return json.dumps(value.obj) if hasattr(value, "obj") else value  # psycopg wraps JSON


def _insert(table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    quote = connection.ops.quote_name
    into = f"{quote(table)} ({', '.join(map(quote, columns))})"
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            marks = ", ".join("?" * len(columns))
            cursor.connection.executemany(f"INSERT INTO {into} VALUES ({marks})", rows)
            return
        text = io.StringIO()
        text.writelines("\t".join(map(_copied, row)) + "\n" for row in rows)
        with cursor.copy(f"COPY {into} FROM STDIN") as copy:
            copy.write(text.getvalue())


def _copied(value: Any) -> str:
    """One value in PostgreSQL's text format of COPY. No text here holds a tab or a backslash."""
    if value is None:
        return r"\N"
    if isinstance(value, bytes | memoryview):
        return rf"\\x{value.hex()}"
    return str(value)


class _without_indexes:  # noqa: N801 a context manager
    """The indexes that are no constraint are built once at the end, which is many times faster.

    But for those of the grants in SQLite, which packs what it builds at once to the last byte. The first row to each of
    their pages would split it, as never happens again: on ten million rows an insertion would take 90 µs and not 29.
    """

    def __init__(self, model: type[models.Model]) -> None:
        self.table = model._meta.db_table

    def __enter__(self) -> None:
        with connection.cursor() as cursor:
            if connection.vendor == "sqlite":
                cursor.execute(
                    "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = %s AND sql IS NOT NULL "
                    "AND name NOT LIKE '%%_grant_id_%%'",
                    [self.table],
                )
            else:
                cursor.execute(
                    "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema() AND tablename = %s "
                    "AND indexname NOT IN (SELECT conname FROM pg_constraint)",
                    [self.table],
                )
            self.indexes = cursor.fetchall()
            for name, _sql in self.indexes:
                cursor.execute(f"DROP INDEX {connection.ops.quote_name(name)}")

    def __exit__(self, *_fault: object) -> None:
        with connection.cursor() as cursor:
            for _name, sql in self.indexes:
                cursor.execute(sql)


# ------------------------------------------------------------------ the command


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fill", description="Fills a database for measurements.")
    parser.add_argument("--access-tokens", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--grants", type=int, default=200_000, metavar="N")
    parser.add_argument("--clients", type=int, default=20_000, metavar="N")
    parser.add_argument("--refresh-tokens", type=int, metavar="N", help="one for each grant, unless told otherwise")
    parser.add_argument("--audit-events", type=int, default=0, metavar="N")
    parser.add_argument("--pending", type=int, default=200, metavar="N", help="half of them have expired")
    parser.add_argument(
        "--issuer", default="http://127.0.0.1:1933", help="of the server that the tokens are for (%(default)s)"
    )
    asked = parser.parse_args(arguments)
    size = Size(
        access_tokens=asked.access_tokens,
        refresh_tokens=asked.grants if asked.refresh_tokens is None else asked.refresh_tokens,
        grants=asked.grants,
        clients=asked.clients,
        audit_events=asked.audit_events,
        pending=asked.pending,
        issuer=asked.issuer,
    )
    if min(size.grants, size.clients) < 1:
        parser.error("there has to be a client and a grant")

    from ovauth.management import preparation

    preparation.migrate()
    started = time.perf_counter()
    try:
        fill(size, tell=_progress)
    except RuntimeError as refused:
        sys.exit(str(refused))
    print(f"Filled {connection.settings_dict['NAME']} in {time.perf_counter() - started:.0f} s.")


def _progress(line: str) -> None:
    end = "\r" if sys.stderr.isatty() and not line.endswith("\n") else ""
    if end or line.endswith("\n"):
        sys.stderr.write(f"\033[K{line.rstrip()}\r" if end else f"{line.rstrip()}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    import os

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    django.setup()
    main()
