"""What is said at a start because only the start knows it: the address, and how many processes there are."""

from collections.abc import Iterator
from typing import Final

from ovauth.conf import Config
from ovauth.rules import origin

MOST_ON_SQLITE: Final = 4


def cautions(config: Config, *, host: str, workers: int, on_sqlite: bool, stateless: bool) -> Iterator[str]:
    """Sentences with their remedy; none when all is well."""
    if not origin.is_loopback_host(f"[{host}]" if ":" in host else host) and not (config.public_base_url or config.issuer):
        yield (
            f"Listens on {host} without a public address, so everybody is told the one that their own request named. "
            "Set OVAUTH_PUBLIC_BASE_URL"
        )
    if on_sqlite and workers > MOST_ON_SQLITE:
        yield (
            f"SQLite lets one process write at a time, so {workers} workers wait for each other. "
            f"Take --workers {MOST_ON_SQLITE}, or set DATABASE_URL"
        )
    if workers > 1 and not stateless:
        yield (
            f"If this MCP server keeps sessions, each lives in one process, and a call may meet another of the {workers}. "
            "Serve it stateless, or take --workers 1"
        )
