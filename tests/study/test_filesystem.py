from __future__ import annotations

from pathlib import Path

import pytest

from finescale.errors import UsageError
from finescale.study import filesystem
from finescale.study.filesystem import check_local, mount_of
from finescale.study.ledger import Ledger

TABLE = """\
/dev/vda / ext4 rw 0 0
proc /proc proc rw 0 0
server:/home /home nfs4 rw,vers=4.2 0 0
/dev/vdb /home/me/fast xfs rw 0 0
//box/share /mnt/a\\040share cifs rw 0 0
10.0.0.1@tcp:/scratch /scratch lustre rw 0 0
me@box:/data /remote fuse.sshfs rw 0 0
gocryptfs /secret fuse.gocryptfs rw 0 0
tmpfs /over tmpfs rw 0 0
server:/late /over nfs rw 0 0
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "mounts"
    path.write_text(TABLE)
    return path


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/home/me/study", "nfs4"),
        ("/mnt/a share/results/nano", "cifs"),
        ("/scratch", "lustre"),
        ("/remote/x", "fuse.sshfs"),
        ("/over/study", "nfs"),
    ],
)
def test_a_network_file_system_is_refused_with_the_remedy(table: Path, folder: str, kind: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_local(Path(folder), table)
    said = str(caught.value)
    assert f"got: {kind} (" in said
    assert "--out" in said
    assert folder in said


@pytest.mark.parametrize("folder", ["/", "/home/me/fast/study", "/homely", "/secret/study", "/usr"])
def test_a_disk_of_this_machine_is_taken(table: Path, folder: str) -> None:
    check_local(Path(folder), table)


def test_without_a_mount_table_nothing_is_refused(tmp_path: Path) -> None:
    assert mount_of(tmp_path, tmp_path / "none") is None
    check_local(tmp_path, tmp_path / "none")


def test_no_ledger_is_made_on_a_network_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "mounts"
    table.write_text(f"server:/all {tmp_path} nfs rw 0 0\n")
    assert filesystem.mount_of.__defaults__ is not None
    monkeypatch.setattr(filesystem.check_local, "__defaults__", (table,))
    with pytest.raises(UsageError, match="network file system"):
        Ledger(tmp_path / "ledger.sqlite")
    assert [item.name for item in tmp_path.iterdir()] == ["mounts"]
