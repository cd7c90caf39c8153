"""The programs from the npm registry: installed once per machine, into a cache folder outside of the repository.

Where Node, npm or the registry is missing, the tests that need them are skipped and say which it was.
"""

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
INSTALL = ("install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock", "--loglevel=error")
INSTALL_SECONDS = 240


@dataclass(frozen=True)
class Installed:
    """A folder with `node_modules`, and the Node that runs what is in it."""

    folder: Path
    node: str

    def script(self, package: str, path: str) -> list[str]:
        """The command that runs a file of a package."""
        return [self.node, str(self.folder / "node_modules" / package / path)]

    def own(self, name: str) -> list[str]:
        """The command that runs a file of ours, which lies beside the package.json."""
        return [self.node, str(self.folder / name)]

    def version(self, package: str) -> str:
        found = re.search(
            r'"version": *"([^"]+)"', (self.folder / "node_modules" / package / "package.json").read_text("utf-8")
        )
        return found[1] if found else ""


def node20() -> Installed:
    """The clients that run on Node 20 and later."""
    return _installed("node", lowest=20)


def node22() -> Installed:
    """What needs Node 22: the machine's own if it is new enough, else the one that came with the packages."""
    return _installed("node22", lowest=22)


def _installed(name: str, *, lowest: int) -> Installed:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed here")
    assert node is not None
    assert npm is not None
    folder = _install(HERE / name, npm)
    if _major(node) < lowest:
        brought = sorted(folder.glob("node_modules/node-*/bin/node"))
        if not brought:
            pytest.skip(f"this needs Node {lowest}, and npm has none for {platform.system()} {platform.machine()}")
        node = str(brought[0])
    return Installed(folder, node)


def _install(source: Path, npm: str) -> Path:
    """The folder in which the packages of `source` are installed; its name changes with package.json."""
    digest = hashlib.sha256((source / "package.json").read_bytes()).hexdigest()[:12]
    folder = _cache() / f"{source.name}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder / "lock"):
        for path in source.iterdir():
            copy = folder / path.name
            if not copy.exists() or copy.read_bytes() != path.read_bytes():
                shutil.copy(path, copy)
        if not (folder / "installed").exists():
            try:
                done = subprocess.run(
                    [npm, *INSTALL], cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
                )
            except subprocess.TimeoutExpired:
                pytest.skip(f"npm did not install the clients within {INSTALL_SECONDS} s")
            if done.returncode:
                pytest.skip(f"npm could not install the clients: {done.stderr.strip()[-300:]}")
            (folder / "installed").touch()
    return folder


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ovauth-test-clients"


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One process at a time: the workers of a parallel test run share the folder."""
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _major(node: str) -> int:
    said = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    return int(said.strip().removeprefix("v").split(".")[0])
