"""Which file system a file lies on."""

import os
import subprocess
from pathlib import Path

import pytest

from ovauth.rules.mounts import file_system, network_file_system

LISTED = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /mnt/share rw,relatime shared:7 - cifs //host/share rw
31 30 8:2 / /mnt/share/local rw - xfs /dev/sdb1 rw
32 22 0:41 / /mnt/with\040space rw master:3 propagate_from:2 - nfs4 host:/export rw
33 22 0:42 / /srv rw - nfs host:/a rw
34 33 8:3 / /srv rw - btrfs /dev/sdc1 rw
""".strip()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/ovauth", None),
        ("/mnt/share", "cifs"),
        ("/mnt/share/ovauth/data", "cifs"),
        ("/mnt/shared", None),
        ("/mnt/share/local/data", None),
        ("/mnt/with space/data", "nfs4"),
        ("/srv/data", None),
    ],
)
def test_the_innermost_mount_decides_and_of_two_the_later(path: str, kind: str | None) -> None:
    assert network_file_system(Path(path), LISTED) == kind


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may mount")
def test_a_real_mount_is_read(tmp_path: Path) -> None:
    place = tmp_path / "a b"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "none", str(place)], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"mounting is not allowed here: {done.stderr.decode().strip()}")
    try:
        assert file_system(place / "data", Path("/proc/self/mountinfo").read_text()) == "tmpfs"
    finally:
        subprocess.run(["umount", str(place)], check=True)
