"""`check --deploy`: what is unsafe about this configuration, and how to mend it. Every hint is the repair."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Info, Tags, Warning, register
from django.db import DatabaseError, connection

from ovauth.conf import Config

WIDEST = 8
"""Prefix length: a trusted network wider than this is no network of proxies."""


@register(Tags.security, deploy=True)
def deployment(app_configs: Sequence[AppConfig] | None, **options: Any) -> list[CheckMessage]:
    """All that can be told from the configuration, the data folder and the database."""
    config: Config = settings.OVAUTH
    return [*_public_origin(config), *_proxies(config), *_files(config), *_first_password(), *_database(config)]


def _public_origin(config: Config) -> Iterator[CheckMessage]:
    base = config.public_base_url or config.issuer
    if base is None:
        yield Warning(
            "No public origin is set: everybody is told the address that their own request named in its Host header.",
            hint="Set OVAUTH_PUBLIC_BASE_URL to the https address that people use, such as https://ov.example.com",
            id="ovauth.W001",
        )
    elif not base.startswith("https://"):
        variable = "OVAUTH_PUBLIC_BASE_URL" if config.public_base_url else "OVAUTH_ISSUER"
        yield Warning(
            f"{variable} is {base}: nobody but this machine itself can use it, and without encryption nobody else should.",
            hint=f"Put a proxy with a certificate in front (Caddy gets one by itself), and set {variable} to https://…",
            id="ovauth.W002",
        )


def _proxies(config: Config) -> Iterator[CheckMessage]:
    wide = [str(network) for network in config.trusted_proxies if network.prefixlen < WIDEST]
    if wide:
        yield Warning(
            f"OVAUTH_TRUSTED_PROXIES has {', '.join(wide)}: anybody there may say who they are and who we are.",
            hint="List the addresses of your own proxies alone, such as 10.0.0.5 or 172.18.0.0/16",
            id="ovauth.W003",
        )


def _files(config: Config) -> Iterator[CheckMessage]:
    if os.name != "posix":
        return
    for path, wanted, number in ((config.data_dir, 0o700, 4), (config.secret_key_path, 0o600, 5)):
        if not path.exists():
            continue  # the key comes from the environment
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            yield Warning(
                f"{path} has mode {mode:o}: other users of this machine reach it.",
                hint=f"chmod {wanted:o} {path}",
                id=f"ovauth.W00{number}",
            )


def _first_password() -> Iterator[CheckMessage]:
    for name in _with_first_password():
        yield Warning(
            f"{name} still has the password that the first start printed, and that output may be kept somewhere.",
            hint="Sign in at /console/ and change it (or in the admin, under Members)",
            id="ovauth.W006",
        )
    if _printed_key_works():
        yield Warning(
            "The first operator still has the API key that the first start printed, and that output may be kept somewhere.",
            hint="Replace it at /console/keys, or by  uv run manage.py rotate_api_key operator --account default",
            id="ovauth.W007",
        )


def _printed_key_works() -> bool:
    if connection.vendor == "sqlite" and not Path(connection.settings_dict["NAME"]).exists():
        return False
    from ovauth.flows import accounts  # the registry of models is not ready when checks are registered

    try:
        return accounts.printed_key_works()
    except DatabaseError:
        return False


def _with_first_password() -> list[str]:
    """Nobody in a database that is not there yet; looking must not create it."""
    if connection.vendor == "sqlite" and not Path(connection.settings_dict["NAME"]).exists():
        return []
    from ovauth.models import Member  # the registry of models is not ready when checks are registered

    try:
        return [str(member) for member in Member.objects.filter(first_password=True, is_active=True)]
    except DatabaseError:
        return []


def _database(config: Config) -> Iterator[CheckMessage]:
    if connection.vendor == "sqlite":
        yield Info(
            "The database is SQLite: right for one machine, a local disk and up to four workers.",
            hint="For more, set DATABASE_URL=postgres://user:password@host/name",
            id="ovauth.I001",
        )
    else:
        yield Info(
            "Every node needs the same secret key: one with another key does not start.",
            hint=f"Set OVAUTH_SECRET_KEY on each, or copy {config.secret_key_path} to each, mode 600",
            id="ovauth.I002",
        )
