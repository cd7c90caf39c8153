"""Puts things in place between the measurements, in the database of the server that is measured: one command a line on
standard input, as JSON, one answer a line.

    {"codes": 1000}     authorization codes, each for a grant of a public client
    {"refresh": 16}     refresh tokens, likewise
    {"rest": true}      “last used” needs no writing for a month, whoever calls: one write a minute is not what is measured
    {"idle": true}      housekeeping is not due for a month
    {"forget": true}    no limit has counted anything
"""

import itertools
import json
import os
import sys
from datetime import timedelta
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

import django

django.setup()

from django.db.models import Q
from django.utils import timezone

from ovauth import credentials
from ovauth.credentials import Kind
from ovauth.flows import housekeeping
from ovauth.models import ApiKey, AuthorizationCode, Grant, Lease, RefreshToken, Tally
from tests.bench.work import CHALLENGE

BATCH = 5000


def grants() -> list[tuple[int, str, str]]:
    """Living grants of public clients, spread over the whole table: key, client and redirect URI."""
    newest = Grant.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    step = max(1, newest // 20_000)
    wanted = Grant.objects.filter(
        pk__in=range(1, newest + 1, step) if step > 1 else range(1, newest + 1),
        revoked_at=None,
        client__token_endpoint_auth_method="none",
    ).exclude(client__client_id__contains="//")
    return list(wanted.values_list("pk", "client__client_id", "redirect_uri"))


def codes(count: int) -> list[tuple[str, str, str]]:
    now = timezone.now()
    made, rows = [], []
    for pk, client, redirect_uri in itertools.islice(itertools.cycle(GRANTS), count):
        plain = credentials.mint(Kind.AUTHORIZATION_CODE)
        rows.append(
            AuthorizationCode(
                digest=credentials.digest(plain),
                grant_id=pk,
                redirect_uri=redirect_uri,
                code_challenge=CHALLENGE,
                sealed=b"",
                expires_at=now + timedelta(minutes=10),
            )
        )
        made.append((plain, client, redirect_uri))
    AuthorizationCode.objects.bulk_create(rows, batch_size=BATCH)
    return made


def refresh(count: int) -> list[tuple[str, str]]:
    now = timezone.now()
    made, rows = [], []
    for pk, client, _ in itertools.islice(itertools.cycle(GRANTS), count):
        plain = credentials.mint(Kind.REFRESH_TOKEN)
        rows.append(
            RefreshToken(digest=credentials.digest(plain), grant_id=pk, created_at=now, expires_at=now + timedelta(days=30))
        )
        made.append((plain, client))
    RefreshToken.objects.bulk_create(rows, batch_size=BATCH)
    return made


def rest() -> None:
    later = timezone.now() + timedelta(days=30)
    for model in (Grant, ApiKey):
        model._base_manager.filter(Q(last_used_at=None) | Q(last_used_at__lt=later - timedelta(days=1))).update(
            last_used_at=later
        )


def idle() -> None:
    now = timezone.now()
    Lease.objects.update_or_create(name=housekeeping.NAME, defaults={"expires_at": now, "due_at": now + timedelta(days=30)})


def forget() -> None:
    Tally.objects.all().delete()


GRANTS = grants()


def main() -> None:
    for line in sys.stdin:
        answer: Any = None
        for wish, value in json.loads(line).items():
            match wish:
                case "codes":
                    answer = codes(value)
                case "refresh":
                    answer = refresh(value)
                case "rest":
                    rest()
                case "idle":
                    idle()
                case "forget":
                    forget()
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
