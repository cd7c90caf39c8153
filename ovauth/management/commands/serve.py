"""The main job: from an empty folder to a server that answers."""

import errno
import http.client
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import copy
from pathlib import Path
from types import FrameType
from typing import Any, Final

import django
import mcp
import uvicorn
from django.conf import settings
from django.core.management.base import CommandParser
from django.db import connection
from django.utils import timezone
from uvicorn.supervisors.multiprocess import Multiprocess

from ovauth import leaving, logs
from ovauth.conf import VERSION, fingerprint, share_metrics
from ovauth.flows import accounts, audit
from ovauth.flows.accounts import NewMember
from ovauth.management import preparation, systemd
from ovauth.management.cautions import cautions
from ovauth.management.command import OvauthCommand, counted
from ovauth.management.failure import Failed
from ovauth.provenance import Actor
from ovauth.resource import loading

APPLICATION: Final = "project.asgi:application"
PROTOCOL: Final = "project.turns:Protocol"
GRACE: Final = 10
"""Seconds in which requests that were received may finish after SIGTERM; the door may be open for the first of them."""
LAST_GRACE: Final = 5
"""Seconds after that in which the processes may end by themselves."""
COUNTED: Final = "ovauth-metrics-"
"""How the names of the folders begin in which the processes of a server count together."""
BACKLOG: Final = 2048
STOPPED_AT_ONCE: Final = 130


class Command(OvauthCommand):
    help = "Prepares the data folder, and serves. Prints `ovauth ready at …` when requests are answered."
    prepares = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
        parser.add_argument("--port", type=_port, default=1933, help="0: any free one (default: %(default)s)")
        parser.add_argument("--workers", type=_workers, default=1, help="processes that answer (default: %(default)s)")

    def perform(self, *, host: str, port: int, workers: int, **options: Any) -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(AttributeError):
                stream.reconfigure(errors="replace")  # type: ignore[union-attr]
        config = settings.OVAUTH
        listener = self._listen(host, port)  # before what takes time: an upstream that is asked for its tools
        logs.serve(config.log)
        here = _url(host, listener.getsockname()[1])

        self.stdout.write(f"ovauth {VERSION} · Django {django.get_version()} · mcp {_mcp_version()} · {_database()}")
        serves = loading.described(config)
        first = self._prepare()
        told: Any = {"version": VERSION, "configuration": fingerprint(config), "workers": workers}
        audit.record("settings.loaded", now=timezone.now(), by=Actor.SYSTEM, **told)
        self._tell_where(config.public_base_url or config.issuer or _reachable(here), serves, first=first)
        self._caution(host, workers)

        if connection.vendor == "postgresql":
            connection.close()  # this thread answers nobody, so it would be one too many
        # An open one to SQLite keeps the files beside the database, which on a full disk nobody could make anew to read.
        threading.Thread(target=self._announce, args=(here, listener), name="ready", daemon=True).start()
        with counting_together(workers):
            self._run(listener, workers)

    # -------------------------------------------------------------- before

    def _listen(self, host: str, port: int) -> socket.socket:
        """A socket that takes connections from now on: whoever comes early waits, and nobody else takes the port."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            return socket.create_server((host, port), family=family, backlog=BACKLOG)
        except socket.gaierror:
            raise Failed(f"--host {host} is no address that can be found. Try `--host 127.0.0.1`") from None
        except OSError as error:
            match error.errno:
                case errno.EADDRINUSE:
                    raise Failed(f"Port {port} is in use. Try `--port {_free_port(host, family, port)}`") from None
                case errno.EACCES | errno.EPERM:
                    raise Failed(
                        f"Port {port} may not be used by this user. Try `--port 1933`, with a proxy in front"
                    ) from None
                case errno.EADDRNOTAVAIL:
                    raise Failed(f"--host {host} is no address of this machine. Try `--host 127.0.0.1`") from None
                case _:
                    raise Failed(
                        f"{host}:{port} cannot be listened on ({error.strerror}). Try another --host or --port"
                    ) from None

    def _prepare(self) -> bool:
        """Creates what is missing; True when this was the first start."""
        created = ["secret key"] if settings.SECRET_KEY_IS_NEW else []
        if preparation.migrate():
            created.append("database" if connection.vendor == "sqlite" else "database tables")
        preparation.collect_static()
        if settings.SECRET_KEY_IS_NEW and created:
            self.stdout.write(f"created   {_folder()}, {', '.join(created)}")
        elif created:
            self.stdout.write(f"prepared  {', '.join(created)}")
        if restored := preparation.settle():
            self.stdout.write(
                f"restored  this database is {restored.mark or 'restored, you said'}: ended {counted(restored.ended)}, "
                "and every session. API keys, users and clients are as they were then: repeat what you changed since"
            )
        preparation.agree_on_the_key()
        with preparation.turn():
            return accounts.create_first_operator(self._show_operator)

    def _show_operator(self, made: NewMember) -> None:
        self.stdout.write(
            "\nFirst operator. Shown this once:\n"
            f"  user name  {self.style.SUCCESS(made.user_id)}\n"
            f"  password   {self.style.SUCCESS(made.password or '')}\n"
            f"  API key    {self.style.SUCCESS(made.api_key)}\n\n"
        )
        self.stdout.flush()

    def _tell_where(self, base: str, serves: str, *, first: bool) -> None:
        header = "" if settings.OVAUTH.enabled else ' --header "Authorization: Bearer ovk_…"'
        self.stdout.write(f"Console      {base}/console/")
        self.stdout.write(f"MCP server   {base}/mcp   ({serves})")
        self.stdout.write(f"Connect      claude mcp add --transport http ovauth {base}/mcp{header}")
        if first:
            todo = "" if settings.OVAUTH.public_base_url else "set OVAUTH_PUBLIC_BASE_URL, then  "
            self.stdout.write(f"Elsewhere    {todo}uv run manage.py check --deploy")
            if not self.stdout.isatty():
                self.stdout.write(
                    "\nThis output may be kept in a log. Change both: sign in at /console/, and  "
                    f"uv run manage.py rotate_api_key {accounts.FIRST_OPERATOR} --account {accounts.FIRST_ACCOUNT}"
                )
        self.stdout.write("")
        self.stdout.flush()

    def _caution(self, host: str, workers: int) -> None:
        config = settings.OVAUTH
        stateless = workers == 1 or not loading.configured(config).needs_one_process
        on_sqlite = connection.vendor == "sqlite"
        said = list(cautions(config, host=host, workers=workers, on_sqlite=on_sqlite, stateless=stateless))
        for sentence in said:
            self.stdout.write(self.style.WARNING(f"Caution      {sentence}"))
        if said:
            self.stdout.write("")

    def _announce(self, here: str, listener: socket.socket) -> None:
        """Asks the server as anybody would. The socket listens already, so the question waits for the answer."""
        host, port = _reachable_address(listener)
        answered = False
        while not answered:
            asking = http.client.HTTPConnection(host, port)
            with suppress(OSError, http.client.HTTPException):
                asking.request("GET", "/health/live")
                answered = asking.getresponse().status < 500
            asking.close()
            if not answered:
                time.sleep(0.1)  # it refuses or fails: asked again, but not a thousand times a second
        self.stdout.write(self.style.SUCCESS(f"ovauth ready at {here}"))
        self.stdout.flush()
        systemd.tell("READY=1")

    # -------------------------------------------------------------- while

    def _run(self, listener: socket.socket, workers: int) -> None:
        serving = uvicorn.Config(
            APPLICATION,
            workers=workers,
            http=PROTOCOL if sys.platform != "win32" else "auto",  # where there is neither uvloop nor httptools
            lifespan="on",
            log_config=None,
            access_log=False,  # it writes the query: codes and states
            proxy_headers=False,  # decided once, by ovauth.web.public_origin
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=GRACE - int(leaving.OPEN),
        )
        # What cannot be imported fails here, once, and not in every worker again and again. A copy: loaded, it could not
        # be handed to the workers.
        copy(serving).load()
        if workers > 1:
            supervisor = Supervisor(serving, [listener])
            supervisor.run()
            answered = supervisor.told_to_stop
        else:
            server = Server(serving)
            server.run([listener])
            answered = server.started
        if not answered:
            raise Failed("The server could not start. What it said is above.")


class Server(uvicorn.Server):
    """The only process. The first Ctrl-C or SIGTERM finishes what is in flight, a second Ctrl-C stops at once."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._told = False
        leaving.tell(self.told)

    def told(self) -> None:
        """Says so, once."""
        if not self._told:
            self._told = True
            _stop_in_any_case()
            _say_stopping()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._told and sig == signal.SIGINT:
            os._exit(STOPPED_AT_ONCE)
        self.told()
        # Not handed on to uvicorn, which would raise the signal again in the end, and the exit status would be another one.
        self.should_exit = True


class Supervisor(Multiprocess):
    """The parent of several processes, with the same manners."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self.told_to_stop = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._signalled)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if not self.told_to_stop:
            self.told_to_stop = True
            self.signal_queue.append(number)
            _stop_in_any_case(self._kill_all)
            _say_stopping()
        elif number == signal.SIGINT:
            self._kill_all()
            os._exit(STOPPED_AT_ONCE)

    def _kill_all(self) -> None:
        for process in self.processes:
            with suppress(OSError, ValueError):
                process.process.kill()


def _say_stopping() -> None:
    """Not by `print`: a signal may come in the middle of one."""
    systemd.tell("STOPPING=1")
    with suppress(OSError, ValueError):
        os.write(sys.stdout.fileno(), b"Stopping when what is in flight is answered. Ctrl-C again stops at once.\n")


def _stop_in_any_case(before: Any = None) -> None:
    def stop() -> None:
        if before is not None:
            before()
        os._exit(1)

    timer = threading.Timer(GRACE + LAST_GRACE, stop)
    timer.daemon = True
    timer.start()


@contextmanager
def counting_together(workers: int) -> Iterator[None]:
    """Several processes count in files that they share. In memory where the machine has such a folder: a full disk would
    end a process that writes to a mapped file. One process counts by itself."""
    if workers == 1:
        share_metrics(None)
        yield
        return
    memory = Path("/dev/shm")  # noqa: S108 everybody's, as /tmp is, and the folder below is ours alone
    base = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    for left in base.glob(f"{COUNTED}*"):
        _remove_if_dead(left)
    folder = Path(tempfile.mkdtemp(prefix=f"{COUNTED}{os.getpid()}-", dir=base))
    share_metrics(folder)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_if_dead(folder: Path) -> None:
    """What a server left that was killed. Another user's cannot be removed, and stays."""
    pid = folder.name.removeprefix(COUNTED).partition("-")[0]
    with suppress(OSError, ValueError):
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)


# ------------------------------------------------------------------ words


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise ArgumentTypeError(f"{text} is no port; use a number from 0 to 65535")
    return int(text)


def _workers(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 64:
        raise ArgumentTypeError(f"{text} is no number of processes; use 1 to 64")
    return int(text)


def _free_port(host: str, family: int, taken: int) -> int:
    for port in range(taken + 1, min(taken + 50, 65536)):
        with suppress(OSError), socket.create_server((host, port), family=family):
            return port
    return 0


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _reachable(here: str) -> str:
    """An URL that a person can open: the address that stands for all addresses cannot be opened everywhere."""
    return here.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


def _reachable_address(listener: socket.socket) -> tuple[str, int]:
    host, port = listener.getsockname()[:2]
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104


def _folder() -> str:
    """The data folder, and whether it is as private as it should be."""
    folder = settings.OVAUTH.data_dir
    private = folder.stat().st_mode & 0o077 == 0
    return f"{_short(folder)}/{' (only you can read it)' if private else ''}"


def _short(path: Path) -> str:
    """Relative to where the command was started, if it lies below."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _database() -> str:
    """Without the password that its URL may hold."""
    described = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"SQLite {_short(Path(described['NAME']))}"
    return f"{connection.display_name} {described['NAME']} at {described['HOST'] or 'localhost'}"


def _mcp_version() -> str:
    from importlib.metadata import version

    return version(mcp.__name__)
