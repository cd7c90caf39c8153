"""`check --deploy`: what is unsafe about this configuration, and how to mend it. Every hint is the repair."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Info, Tags, Warning, register
from django.db import DatabaseError, connection
from django.utils import timezone

from ovauth import conf
from ovauth.conf import VERSION, Config
from ovauth.rules import mounts

# The registry of models is not ready when checks are registered: what asks the database imports its flows itself.

WIDEST: Final = 8
"""Prefix length: a trusted network wider than this is no network of proxies."""
MOUNTS: Final = Path("/proc/self/mountinfo")
CLOCK: Final = 5.0
"""Seconds that the clocks of a node and of the database may differ."""


@register(Tags.security, deploy=True)
def deployment(app_configs: Sequence[AppConfig] | None, **options: Any) -> list[CheckMessage]:
    """All that can be told from the configuration, the data folder and the database."""
    config: Config = settings.OVAUTH
    found = [*_public_origin(config), *_proxies(config), *_files(config), *_mcp_server(config), *_database(config)]
    return [*found, *_inside_the_database(config)] if _is_there() else found


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
    private = [(config.data_dir, 0o700, "W004"), (config.secret_key_path, 0o600, "W005"), (Path(".env"), 0o600, "W012")]
    for path, wanted, number in private:
        if not path.exists():
            continue  # the key may come from the environment, and everything else too
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            yield Warning(
                f"{path} has mode {mode:o}: other users of this machine reach it.",
                hint=f"chmod {wanted:o} {path}",
                id=f"ovauth.{number}",
            )


def _mcp_server(config: Config) -> Iterator[CheckMessage]:
    from ovauth.resource import loading

    try:
        needs_one_process = loading.configured(config).needs_one_process
    except conf.Misconfigured as fault:
        yield Warning(
            f"The MCP server cannot be served: {fault}",
            hint="Name another one in OVAUTH_MCP_SERVER, or mend it: `serve` does not start like this",
            id="ovauth.W013",
        )
        return
    if needs_one_process:
        yield Info(
            "The MCP server is an ASGI application: if it keeps sessions, they live in one process of one machine.",
            hint="Serve it stateless; or with --workers 1, and a proxy that sends each Mcp-Session-Id to the same machine",
            id="ovauth.I003",
        )


def _database(config: Config) -> Iterator[CheckMessage]:
    if connection.vendor == "sqlite":
        if network := _network_disk(config.data_dir):
            yield Warning(
                f"The SQLite database lies on a network disk ({network}), where its locks do not hold: it may be "
                f"destroyed.",
                hint="Point OVAUTH_DATA_DIR to a local disk, or set DATABASE_URL=postgres://user:password@host/name",
                id="ovauth.W008",
            )
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


def _network_disk(folder: Path) -> str | None:
    try:
        return mounts.network_file_system(folder.resolve(), MOUNTS.read_text())
    except OSError:  # no Linux
        return None


# ------------------------------------------------------------------ what the database tells


def _is_there() -> bool:
    """Looking must not create it."""
    return connection.vendor != "sqlite" or Path(connection.settings_dict["NAME"]).exists()


def _inside_the_database(config: Config) -> list[CheckMessage]:
    from ovauth.flows import readiness

    try:
        if newer := readiness.newer_migrations():
            return [
                Warning(
                    f"The database is newer than this program: it has {newer[-1]}, and this is ovauth {VERSION}.",
                    hint="Start the version that migrated it, or restore the copy from before; `serve` does not start "
                    "like this",
                    id="ovauth.W011",
                )
            ]
        return [*_first_password(), *_clock(), *_key_of_the_nodes(config)]
    except DatabaseError:
        return []  # not migrated yet, or not to be had: `serve` tells


def _first_password() -> Iterator[CheckMessage]:
    from ovauth.flows import accounts
    from ovauth.models import Member

    for member in Member.objects.filter(first_password=True, is_active=True):
        yield Warning(
            f"{member} still has the password that the first start printed, and that output may be kept somewhere.",
            hint="Sign in at /console/ and change it (or in the admin, under Members)",
            id="ovauth.W006",
        )
    if accounts.printed_key_works():
        yield Warning(
            "The first operator still has the API key that the first start printed, and that output may be kept somewhere.",
            hint="Replace it at /console/keys, or by  uv run manage.py rotate_api_key operator --account default",
            id="ovauth.W007",
        )


def _clock() -> Iterator[CheckMessage]:
    from ovauth.flows import readiness

    there = readiness.database_time()
    apart = abs((timezone.now() - there).total_seconds()) if there else 0.0
    if apart > CLOCK:
        yield Warning(
            f"The clocks of this machine and of the database are {apart:.0f} seconds apart: codes end early or late.",
            hint="Switch time synchronisation on, on the one that is wrong: timedatectl set-ntp true",
            id="ovauth.W010",
        )


def _key_of_the_nodes(config: Config) -> Iterator[CheckMessage]:
    from ovauth.flows import shared_key

    if not shared_key.fits(keys=(settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)):
        yield Warning(
            "This machine has another secret key than the nodes that use the database already.",
            hint=f"Set the OVAUTH_SECRET_KEY of the others, or copy their secret_key to {config.secret_key_path}, mode 600",
            id="ovauth.W009",
        )
