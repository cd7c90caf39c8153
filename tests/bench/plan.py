"""What `--final` measures, in sections: each a run of its own, small enough that all of them take less than 20 minutes."""

from dataclasses import dataclass

from tests.bench.contenders import (
    ENDPOINTS,
    Constant,
    Contender,
    Insert,
    OidcProvider,
    OpenViking,
    Ovauth,
    Select,
    Toolkit,
)
from tests.bench.measure import Run

A_MILLION = 1_000_000
MANY = 10_000_000
ISSUING = ("registration", "code", "refresh")
ASKING = ("bearer", "introspection")
HOT = ("code", "refresh", "bearer")


@dataclass(frozen=True)
class Section:
    name: str
    run: Run
    about: str = ""


def sections() -> list[Section]:
    """Contenders hold a running server, so they are made anew for each use."""
    peers: list[Contender] = [Constant(), Select(), Insert(), Ovauth(), OpenViking(), Toolkit(), OidcProvider()]
    on_postgresql: list[Contender] = [
        Select(engine="postgresql"),
        Insert(engine="postgresql"),
        Ovauth(engine="postgresql"),
    ]
    workers: list[Contender] = [Ovauth(workers=2), Ovauth(engine="postgresql", workers=2)]
    return [
        Section(
            "peers",
            Run("Floors, ovauth and its peers: SQLite, one process, 16 connections", peers, ENDPOINTS),
            "django-oauth-toolkit has no registration, OpenViking no introspection; the page flow is ovauth's own.",
        ),
        Section(
            "rows",
            Run(
                "A thousand, a million and ten million access tokens: SQLite",
                [Ovauth(), Ovauth(rows=A_MILLION), Ovauth(rows=MANY)],
                (*ISSUING, *ASKING),
            ),
            "For five access tokens there are a grant and a refresh token, for fifty a client. The tokens that are shown "
            "are spread over the whole table.",
        ),
        Section(
            "connections",
            Run("One and four connections: SQLite", [Ovauth(), OpenViking()], HOT, connections=(1, 4), rounds=2),
        ),
        Section(
            "postgresql",
            Run("PostgreSQL: one process, 16 connections", on_postgresql, ENDPOINTS, rounds=2),
            "The second figure is what PostgreSQL itself spent, on whichever core was free.",
        ),
        Section(
            "workers",
            Run("Two processes, 16 connections", workers, HOT, rounds=2),
            "Both cores, which the load has to share.",
        ),
        Section(
            "loop",
            Run(
                "The event loop under load: 16 connections",
                [Ovauth(), Ovauth(engine="postgresql")],
                ENDPOINTS,
                rounds=2,
                seconds=3,
                watch=True,
            ),
            "A timer wakes every 2 ms in the loop that serves. “With a core” leaves out what the kernel gave to other "
            "threads and processes.",
        ),
    ]
