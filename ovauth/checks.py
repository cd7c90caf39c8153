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
from django.utils.translation import gettext as _

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
            _("No public origin is set: everybody is told the address that their own request named in its Host header."),
            hint=_("Set OVAUTH_PUBLIC_BASE_URL to the https address that people use, such as https://ov.example.com"),
            id="ovauth.W001",
        )
    elif not base.startswith("https://"):
        variable = "OVAUTH_PUBLIC_BASE_URL" if config.public_base_url else "OVAUTH_ISSUER"
        yield Warning(
            _(
                "%(variable)s is %(base)s: nobody but this machine itself can use it, and without encryption nobody else "
                "should."
            )
            % {"variable": variable, "base": base},
            hint=_("Put a proxy with a certificate in front (Caddy gets one by itself), and set %(variable)s to https://…")
            % {"variable": variable},
            id="ovauth.W002",
        )


def _proxies(config: Config) -> Iterator[CheckMessage]:
    wide = [str(network) for network in config.trusted_proxies if network.prefixlen < WIDEST]
    if wide:
        yield Warning(
            _("OVAUTH_TRUSTED_PROXIES has %(networks)s: anybody there may say who they are and who we are.")
            % {"networks": ", ".join(wide)},
            hint=_("List the addresses of your own proxies alone, such as 10.0.0.5 or 172.18.0.0/16"),
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
                _("%(path)s has mode %(mode)s: other users of this machine reach it.")
                % {"path": path, "mode": f"{mode:o}"},
                hint=f"chmod {wanted:o} {path}",
                id=f"ovauth.{number}",
            )


def _mcp_server(config: Config) -> Iterator[CheckMessage]:
    from ovauth.resource import loading

    try:
        needs_one_process = loading.configured(config).needs_one_process
    except conf.Misconfigured as fault:
        yield Warning(
            _("The MCP server cannot be served: %(fault)s") % {"fault": fault},
            hint=_("Name another one in OVAUTH_MCP_SERVER, or mend it: `serve` does not start like this"),
            id="ovauth.W013",
        )
        return
    if needs_one_process:
        yield Info(
            _("The MCP server is an ASGI application: if it keeps sessions, they live in one process of one machine."),
            hint=_(
                "Serve it stateless; or with --workers 1, and a proxy that sends each Mcp-Session-Id to the same machine"
            ),
            id="ovauth.I003",
        )


def _database(config: Config) -> Iterator[CheckMessage]:
    if connection.vendor == "sqlite":
        if network := _network_disk(config.data_dir):
            yield Warning(
                _(
                    "The SQLite database lies on a network disk (%(network)s), where its locks do not hold: it may be "
                    "destroyed."
                )
                % {"network": network},
                hint=_("Point OVAUTH_DATA_DIR to a local disk, or set DATABASE_URL=postgres://user:password@host/name"),
                id="ovauth.W008",
            )
        yield Info(
            _("The database is SQLite: right for one machine, a local disk and up to four workers."),
            hint=_("For more, set DATABASE_URL=postgres://user:password@host/name"),
            id="ovauth.I001",
        )
    else:
        yield Info(
            _("Every node needs the same secret key: one with another key does not start."),
            hint=_("Set OVAUTH_SECRET_KEY on each, or copy %(path)s to each, mode 600") % {"path": config.secret_key_path},
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
                    _("The database is newer than this program: it has %(migration)s, and this is ovauth %(version)s.")
                    % {"migration": newer[-1], "version": VERSION},
                    hint=_(
                        "Start the version that migrated it, or restore the copy from before; `serve` does not start "
                        "like this"
                    ),
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
            _("%(member)s still has the password that the first start printed, and that output may be kept somewhere.")
            % {"member": member},
            hint=_("Sign in at /console/ and change it (or in the admin, under Users)"),
            id="ovauth.W006",
        )
    if accounts.printed_key_works():
        yield Warning(
            _(
                "The first operator still has the API key that the first start printed, and that output may be kept "
                "somewhere."
            ),
            hint=_("Replace it at /console/keys, or by  %(command)s")
            % {"command": "uv run manage.py rotate_api_key operator --account default"},
            id="ovauth.W007",
        )


def _clock() -> Iterator[CheckMessage]:
    from ovauth.flows import readiness

    there = readiness.database_time()
    apart = abs((timezone.now() - there).total_seconds()) if there else 0.0
    if apart > CLOCK:
        yield Warning(
            _("The clocks of this machine and of the database are %(seconds)s seconds apart: codes end early or late.")
            % {"seconds": f"{apart:.0f}"},
            hint=_("Switch time synchronisation on, on the one that is wrong: timedatectl set-ntp true"),
            id="ovauth.W010",
        )


def _key_of_the_nodes(config: Config) -> Iterator[CheckMessage]:
    from ovauth.flows import shared_key

    if not shared_key.fits(keys=(settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)):
        yield Warning(
            _("This machine has another secret key than the nodes that use the database already."),
            hint=_("Set the OVAUTH_SECRET_KEY of the others, or copy their secret_key to %(path)s, mode 600")
            % {"path": config.secret_key_path},
            id="ovauth.W009",
        )
