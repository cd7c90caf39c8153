"""On what kind of disk a file lies: locks hold on local ones only."""

import re
from pathlib import Path
from typing import Final

NETWORK: Final = frozenset(
    (
        *("9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "gfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs"),
        *("nfs", "nfs4", "ocfs2", "orangefs", "smb2", "smb3", "smbfs"),
        *("fuse.ceph", "fuse.gcsfuse", "fuse.glusterfs", "fuse.mfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs"),
    )
)
"""9p is what Windows' drives are in its Linux subsystem."""
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


def network_file_system(path: Path, mountinfo: str) -> str | None:
    """The kind of network disk that an absolute path lies on, such as nfs4, by /proc/self/mountinfo; None if local."""
    kind = file_system(path, mountinfo)
    return kind if kind in NETWORK else None


def file_system(path: Path, mountinfo: str) -> str | None:
    """The kind of the innermost mount above the path (proc(5)); of two at one place the later. None when there is none."""
    innermost, kind = Path(), None
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        place = Path(_ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), before.split()[4]))
        if path.is_relative_to(place) and len(place.parts) >= len(innermost.parts):
            innermost, kind = place, after.split()[0]
    return kind
