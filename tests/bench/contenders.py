"""Who is measured: how each server is started, and what it is asked. Each runs in processes of its own, on a core of its
own, and says nothing to anybody (its log is written, to nowhere)."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ovauth.credentials import Kind
from tests.bench import databases, fill, processes, work
from tests.bench.databases import CACHE, ISSUER, NotHere
from tests.bench.load import Work
from tests.databases import database_url
from tests.serving import MANAGE, environment

ROOT = MANAGE.parent
SERVERS = Path(__file__).parent / "servers"
RESOURCE = f"{ISSUER}/mcp"
SAMPLE = 20_000
"""So many different tokens are shown at most, spread over the whole table."""
START = 120

ENDPOINTS = ("registration", "code", "refresh", "bearer", "introspection", "discovery", "page flow")


@dataclass
class Contender:
    """A server that can be started and asked. `does` are the endpoints that it has."""

    title: ClassVar[str]
    does: ClassVar[frozenset[str]]

    engine: str = "sqlite"
    workers: int = 1
    rows: int = 1000
    port: int = 0
    stack: ExitStack = field(default_factory=ExitStack, repr=False)
    process: subprocess.Popen[bytes] | None = None
    database_pid: int | None = None

    @property
    def label(self) -> str:
        parts = [self.title]
        parts += ["PostgreSQL"] if self.engine == "postgresql" else []
        parts += [f"{self.workers} workers"] if self.workers > 1 else []
        return ", ".join(parts)

    def start(self, folder: Path) -> None:
        """Starts it, with its files in an own folder. Raises NotHere."""
        raise NotImplementedError

    def work(self, endpoint: str, connections: int, seconds: float) -> Work:
        """What it is asked for so many seconds; whatever that needs is made now."""
        raise NotImplementedError

    def stop(self) -> None:
        self.stack.close()

    def pids(self) -> list[int]:
        return processes.tree(self.process.pid) if self.process else []

    def database_pids(self) -> list[int]:
        return processes.tree(self.database_pid) if self.database_pid else []

    def run(self, command: list[str], *, folder: Path, env: dict[str, str], ready: str) -> None:
        """The process, until `stop`; ready when the path answers."""
        cores = processes.SERVERS if self.workers == 1 else set(processes.CORES)
        said = (folder / "said.log").open("wb")
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(folder / "data", env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        said.close()
        self.stack.callback(_end, self.process)
        deadline = time.monotonic() + START
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{ready}", timeout=5):
                    return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise NotHere(f"it did not start: {(folder / 'said.log').read_text()[-500:]}") from None
                time.sleep(0.1)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


# ------------------------------------------------------------------ the floors


@dataclass
class Floor(Contender):
    """Measured beside the endpoints whose work it is the least of."""

    path: ClassVar[str]

    def start(self, folder: Path) -> None:
        url = self.stack.enter_context(database_url(self.engine))
        self.port = free_port()
        if url:
            self.database_pid = databases.postmaster(url)
        self.run(
            [sys.executable, "-m", "tests.bench.servers.floor", str(self.port), str(self.workers)],
            folder=folder,
            env={"PYTHONPATH": str(ROOT), "FLOOR_DATABASE": url or str(folder / "floor.sqlite3")},
            ready="/constant",
        )

    def work(self, endpoint: str, connections: int, seconds: float) -> Work:
        return work.constant(self.path)


class Constant(Floor):
    title, path, does = "floor: constant JSON", "/constant", frozenset({"bearer", "discovery"})


class Select(Floor):
    title, path, does = "floor: one SELECT", "/select", frozenset({"bearer", "introspection"})


class Insert(Floor):
    title, path, does = "floor: one INSERT", "/insert", frozenset({"registration", "code", "refresh"})


# ------------------------------------------------------------------ the peers


@dataclass
class Peer(Contender):
    """A server from a package registry, in an environment of its own in the cache. It prepares what is asked for."""

    packages: ClassVar[tuple[str, ...]]
    paths: ClassVar[dict[str, str]]
    resource: ClassVar[str | None] = None
    codes_per_second: ClassVar[int] = 5000
    known: dict[str, list[list[str]]] = field(default_factory=dict, repr=False)

    @classmethod
    def home(cls) -> Path:
        return CACHE / cls.packages[0].replace("==", "-").replace("@", "-")

    @classmethod
    def install(cls) -> None:
        """By the registry's ordinary client, unless that was done before. Raises NotHere."""
        home = cls.home()
        if (home / "installed").exists():
            return
        home.mkdir(parents=True, exist_ok=True)
        cls.fetch(home)
        (home / "installed").touch()

    @classmethod
    def fetch(cls, home: Path) -> None:
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self, folder: Path) -> None:
        if self.engine != "sqlite" or self.workers != 1:
            raise NotHere("it is measured with SQLite and one process")
        if not (self.home() / "installed").exists():
            raise NotHere("it is not installed; `python -m tests.bench --prepare` does so")
        self.port = free_port()
        self.run(self.command(), folder=folder, env={"PYTHONPATH": str(SERVERS)}, ready="/ready")

    def prepared(self, **wish: Any) -> Any:
        body = json.dumps({**wish, "challenge": work.CHALLENGE}).encode()
        asking = urllib.request.Request(f"http://127.0.0.1:{self.port}/prepare", data=body, method="POST")
        asking.add_header("content-type", "application/json")
        with urllib.request.urlopen(asking, timeout=120) as answer:
            return json.load(answer)

    def tokens(self) -> list[str]:
        if "tokens" not in self.known:
            self.known["tokens"] = self.prepared(tokens=1000)
        return [token for (token,) in self.known["tokens"]]

    def work(self, endpoint: str, connections: int, seconds: float) -> Work:
        path = self.paths[endpoint]
        match endpoint:
            case "registration":
                return work.Registration(path)
            case "code":
                return work.Code(path, self.prepared(codes=int(self.codes_per_second * seconds)), resource=self.resource)
            case "refresh":
                return work.Refresh(path, self.prepared(refresh=connections), resource=self.resource)
            case "bearer":
                return work.bearer(path, self.tokens())
            case "introspection":
                ((client_id, client_secret),) = self.prepared(asker=True)
                return work.introspection(path, self.tokens(), client_id=client_id, client_secret=client_secret)
            case "discovery":
                return work.discovery(path)
        raise KeyError(endpoint)


@dataclass
class PythonPeer(Peer):
    @classmethod
    def fetch(cls, home: Path) -> None:
        uv = shutil.which("uv")
        if uv is None:
            raise NotHere("uv is not here to install it")
        _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(home)])
        _run([uv, "pip", "install", "--quiet", "--python", str(home / "bin" / "python"), *cls.packages])


@dataclass
class OpenViking(PythonPeer):
    title = "OpenViking 0.5.2"
    packages = ("openviking==0.5.2", "uvicorn", "httptools", "uvloop")
    resource = RESOURCE
    codes_per_second = 1800
    paths: ClassVar = {
        "registration": "/register",
        "code": "/token",
        "refresh": "/token",
        "bearer": "/mcp",
        "discovery": "/.well-known/oauth-authorization-server",
    }
    does = frozenset(paths)

    def command(self) -> list[str]:
        return [str(self.home() / "bin" / "python"), str(SERVERS / "openviking_server.py"), str(self.port)]


@dataclass
class Toolkit(PythonPeer):
    title = "django-oauth-toolkit 3.4.1"
    packages = ("django-oauth-toolkit==3.4.1", "gunicorn")
    paths: ClassVar = {"code": "/o/token/", "refresh": "/o/token/", "bearer": "/mcp", "introspection": "/o/introspect/"}
    does = frozenset(paths)
    codes_per_second = 400

    def start(self, folder: Path) -> None:
        if (self.home() / "installed").exists():
            migrate = [str(self.home() / "bin" / "python"), str(SERVERS / "toolkit_server.py")]
            subprocess.run(migrate, cwd=folder, env=environment(folder / "data"), check=True)
        super().start(folder)

    def command(self) -> list[str]:
        bound = ["--bind", f"127.0.0.1:{self.port}", "--keep-alive", "75"]
        kind = ["--worker-class", "gthread", "--threads", "4", "--log-level", "error"]
        return [str(self.home() / "bin" / "gunicorn"), *bound, *kind, "toolkit_server:application"]


@dataclass
class OidcProvider(Peer):
    title = "node-oidc-provider 9.13, in memory"
    packages = ("oidc-provider@9.13",)
    paths: ClassVar = {
        "registration": "/reg",
        "code": "/token",
        "refresh": "/token",
        "bearer": "/mcp",
        "introspection": "/token/introspection",
        "discovery": "/.well-known/openid-configuration",
    }
    does = frozenset(paths)

    @classmethod
    def fetch(cls, home: Path) -> None:
        npm = shutil.which("npm")
        if npm is None:
            raise NotHere("npm is not here to install it")
        (home / "package.json").write_text('{"private": true}\n')
        _run([npm, "install", "--silent", "--no-audit", "--no-fund", *cls.packages], cwd=home)

    def command(self) -> list[str]:
        return [shutil.which("node") or "node", str(SERVERS / "oidc_server.mjs"), str(self.port), str(self.home())]


def _run(command: list[str], cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        raise NotHere(f"{' '.join(command[:3])} failed: {(done.stderr or done.stdout)[-400:]}")


# ------------------------------------------------------------------ ovauth


@dataclass
class Ovauth(Contender):
    """`manage.py serve` as everybody starts it, on a database of so many access tokens (`tests.bench.fill`)."""

    title = "ovauth"
    does = frozenset(ENDPOINTS)
    codes_per_second: ClassVar[int] = 4500
    keeps_house: bool = False
    hand: "Stagehand | None" = None

    @property
    def label(self) -> str:
        return super().label + (f", {self.rows:,} tokens" if self.rows != 1000 else "")

    @property
    def size(self) -> databases.Size:
        return databases.Size(self.rows)

    def start(self, folder: Path) -> None:
        env = self.stack.enter_context(databases.filled(self.engine, self.size, folder))
        if "DATABASE_URL" in env:
            self.database_pid = databases.postmaster(env["DATABASE_URL"])
        env |= {"PYTHONPATH": str(ROOT)}
        serve = ["serve", "--workers", str(self.workers), "--port"]
        self.hand = Stagehand(env, folder)
        self.stack.callback(self.hand.stop)
        self.hand.do(rest=True)
        if not self.keeps_house:
            self.hand.do(idle=True)
        self.port = free_port()
        self.run(
            [sys.executable, str(MANAGE), *serve, str(self.port)],
            folder=folder,
            env=env | {"OVAUTH_PUBLIC_BASE_URL": ISSUER, "OVAUTH_MCP_SERVER": "tests.bench.servers.nothing:app"},
            ready="/health/live",
        )

    def tokens(self) -> list[str]:
        chosen = random.Random(7).sample(range(self.rows), min(self.rows, SAMPLE))
        working = (number for number in chosen if fill.works(number, self.rows, self.size.grants))
        return [fill.secret(Kind.ACCESS_TOKEN, number) for number in working]

    def work(self, endpoint: str, connections: int, seconds: float) -> Work:
        assert self.hand is not None
        self.hand.do(forget=True)
        match endpoint:
            case "registration":
                return work.Registration("/register")
            case "code":
                codes = self.hand.do(codes=int(self.codes_per_second * seconds * self.workers))
                return work.Code("/token", codes, resource=RESOURCE)
            case "refresh":
                return work.Refresh("/token", self.hand.do(refresh=connections), resource=RESOURCE)
            case "bearer":
                return work.bearer("/mcp", self.tokens())
            case "introspection":
                asker = 9  # made by an operator: it may know of every token
                return work.introspection(
                    "/introspect",
                    self.tokens(),
                    client_id=fill.client_id(asker),
                    client_secret=fill.secret(Kind.CLIENT_SECRET, asker),
                )
            case "discovery":
                return work.discovery("/.well-known/oauth-authorization-server")
            case "page flow":
                return work.PageFlow(
                    client_id=fill.client_id(0),
                    redirect_uri=fill.kind_of_client(0).redirect_uri,
                    api_key=fill.secret(Kind.API_KEY, 0),
                    resource=RESOURCE,
                )
        raise KeyError(endpoint)

    def watch(self) -> Callable[[], dict[str, float]]:
        """Begins to watch the event loop of the (one) worker; what is returned ends that, and tells."""

        def ask(word: str) -> dict[str, float]:
            asking = urllib.request.Request(f"http://127.0.0.1:{self.port}/mcp", method="POST", data=b"{}")
            asking.add_header("authorization", f"Bearer {fill.secret(Kind.API_KEY, 0)}")
            asking.add_header("content-type", "application/json")
            asking.add_header("x-bench", word)
            with urllib.request.urlopen(asking, timeout=10) as answer:
                told: dict[str, float] = json.load(answer)
                return told

        ask("watch")
        return lambda: ask("told")


class Stagehand:
    """`tests.bench.stagehand` in a process of its own, on the core of the load."""

    def __init__(self, env: dict[str, str], folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.stagehand"],
            cwd=folder,
            env=environment(folder / "data", env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, processes.LOAD),
        )

    def do(self, **wishes: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(wishes) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError("the stagehand died; what it said is above")
        return json.loads(answer)

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(20)


CONTENDERS: dict[str, type[Contender]] = {
    "constant": Constant,
    "select": Select,
    "insert": Insert,
    "ovauth": Ovauth,
    "openviking": OpenViking,
    "toolkit": Toolkit,
    "oidc-provider": OidcProvider,
}
"""By the names of the command line, in the order of the tables."""
PEERS: tuple[type[Peer], ...] = (OpenViking, Toolkit, OidcProvider)
