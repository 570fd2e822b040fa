"""Checks that a study's folder is writable and on a local disk: SQLite's log needs one."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from pathlib import Path

from finescale.errors import UsageError

MOUNTS = Path("/proc/mounts")
REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some disk space"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "make the folder writable"),
}
"""What to do about a file that cannot be written."""
NETWORK = frozenset({
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "ceph", "glusterfs", "gpfs", "beegfs", "afs", "panfs",
    "wekafs", "orangefs", "davfs",
})  # fmt: skip
NETWORK_FUSE = frozenset({
    "sshfs", "s3fs", "gcsfuse", "goofys", "mount-s3", "rclone", "ceph", "ceph-fuse", "glusterfs", "juicefs",
    "davfs2", "blobfuse", "blobfuse2",
})  # fmt: skip
"""Programs behind `fuse.NAME`; other FUSE file systems (encryption, overlays) may well be local."""


@dataclass(frozen=True)
class Mount:
    """A line of the mount table: what is mounted where, and of which type."""

    source: str
    point: Path
    kind: str

    @property
    def is_network(self) -> bool:
        """Whether other machines may see the files, too."""
        name = self.kind.partition(".")[2] if self.kind.startswith("fuse.") else ""
        return self.kind in NETWORK or name in NETWORK_FUSE


def mount_of(path: Path, table: Path = MOUNTS) -> Mount | None:
    """The mount that a path lies on; None where the system has no mount table.

    Args:
        path: A file or folder; it need not exist.
        table: The mount table, in the form of /proc/mounts.
    """
    try:
        lines = table.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    path = path.resolve()
    found = None
    for line in lines:
        source, point, kind, *_ = [*line.split(), "", "", ""]
        place = Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), point))
        deeper = found is None or len(place.parts) >= len(found.point.parts)  # of equal ones the last counts
        if path.is_relative_to(place) and deeper:
            found = Mount(source, place, kind)
    return found


def check_local(folder: Path, table: Path = MOUNTS) -> None:
    """Refuses a folder on a network file system.

    Raises:
        UsageError: It is one; with the mount and what to do.
    """
    mount = mount_of(folder, table)
    if mount is not None and mount.is_network:
        raise UsageError(
            "the study's folder is on a network file system",
            wanted="a disk of this machine: over a network the ledger's locks and log do not hold",
            got=f"{mount.kind} ({mount.source} on {mount.point})",
            remedy="give a local folder with --out and copy it when the study is done; for more machines:"
            " --executor ray, where only this one writes the ledger",
            where=str(folder),
        )
