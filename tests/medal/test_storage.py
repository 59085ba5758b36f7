import errno
import hashlib
import json
import math
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import medal.storage as storage
from medal.errors import StorageFull, StudyError
from medal.storage import (
    draft_path,
    free_bytes,
    read_json,
    remove_drafts,
    sha256_file,
    write_bytes,
    write_json,
    write_via,
)

ROOT = Path(storage.__file__).parents[1]


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_write_makes_folders_and_leaves_only_the_file(tmp_path):
    write_bytes(tmp_path / "a" / "b" / "file", b"content")
    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"content"
    assert names(tmp_path / "a" / "b") == ["file"]


def test_the_target_is_untouched_until_the_writer_is_done(tmp_path):
    target = tmp_path / "file"
    write_bytes(target, b"old")

    def writer(handle):
        handle.write(b"half of the n")
        handle.flush()
        assert target.read_bytes() == b"old"
        handle.write(b"ew")

    write_via(target, writer)
    assert target.read_bytes() == b"half of the new"


def test_a_failing_writer_leaves_the_old_file_and_no_draft(tmp_path):
    write_bytes(tmp_path / "file", b"old")

    def writer(handle):
        handle.write(b"new")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_via(tmp_path / "file", writer)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_content_and_name_are_flushed_in_the_safe_order(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: calls.append(stat.S_ISDIR(os.fstat(fd).st_mode)) or fsync(fd))
    monkeypatch.setattr(Path, "replace", lambda self, target: calls.append("replace") or replace(self, target))
    write_bytes(tmp_path / "file", b"x")
    assert calls == [False, "replace", True]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_line_and_the_old_file_stays(tmp_path, code):
    write_bytes(tmp_path / "file", b"old")

    def writer(handle):
        handle.write(b"new")
        raise OSError(code, os.strerror(code))

    with pytest.raises(StorageFull, match=r"(no space left|quota exceeded), .* MB free; free some space") as caught:
        write_via(tmp_path / "file", writer)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_disk_that_is_full_only_at_the_flush_is_noticed(tmp_path, monkeypatch):
    def fsync(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StorageFull):
        write_bytes(tmp_path / "file", b"x")
    assert names(tmp_path) == []


def test_a_forbidden_folder_is_one_line(tmp_path, monkeypatch):
    def forbid(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", forbid)
    with pytest.raises(StudyError, match="Permission denied; expected a folder that this user may write"):
        write_bytes(tmp_path / "file", b"x")


def test_other_errors_of_the_writer_keep_their_type(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_via(tmp_path / "file", lambda handle: handle.write((tmp_path / "missing").read_bytes()))


def test_private_files_are_private_from_the_first_byte(tmp_path):
    modes = []
    write_via(tmp_path / "key", lambda handle: modes.append(os.fstat(handle.fileno()).st_mode & 0o777), mode=0o600)
    assert modes == [0o600]
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_permissions_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_long_names_can_be_written(tmp_path):
    write_bytes(tmp_path / ("x" * 255), b"x")
    assert names(tmp_path) == ["x" * 255]


def test_drafts_are_removed_and_nothing_else(tmp_path):
    inner = tmp_path / "weights"
    inner.mkdir()
    drafts = sorted([draft_path(tmp_path), draft_path(inner), inner / ".ab.part-wal"])
    for draft in drafts:
        draft.write_bytes(b"half")
    for kept in ("file.part", ".hidden", "file"):
        (tmp_path / kept).write_bytes(b"whole")
    assert remove_drafts(tmp_path) == drafts
    assert names(tmp_path) == [".hidden", "file", "file.part", "weights"]
    assert names(inner) == []


def test_hash_of_a_file(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert sha256_file(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (tmp_path / "big").write_bytes(b"x" * 3_000_001)
    assert sha256_file(tmp_path / "big") == hashlib.sha256(b"x" * 3_000_001).hexdigest()


def test_free_bytes_of_a_path_to_come(tmp_path):
    there, to_come = free_bytes(tmp_path), free_bytes(tmp_path / "not" / "yet")
    assert there > 0
    assert abs(there - to_come) < 1e9  # others write at the same time


def test_json_round_trip(tmp_path):
    write_json(tmp_path / "run.json", {"b": [1.5, math.nan], "a": "ü"})
    assert read_json(tmp_path / "run.json") == {"a": "ü", "b": [1.5, None]}
    assert list(json.loads((tmp_path / "run.json").read_text())) == ["a", "b"]


def test_json_that_is_missing_or_damaged(tmp_path):
    with pytest.raises(StudyError, match=r"run\.json is missing"):
        read_json(tmp_path / "run.json")
    for damage in (b'{"a": ', b"\xff\xfe", b"[" * 100_000):
        (tmp_path / "run.json").write_bytes(damage)
        with pytest.raises(StudyError, match=r"is not JSON .*restore it from a backup"):
            read_json(tmp_path / "run.json")


ON_A_FULL_DISK = """
import sys
from pathlib import Path
from medal.errors import StorageFull
from medal.ledger import Ledger
from medal.storage import write_bytes

folder = Path("/mnt/full")
folder.mkdir()
ledger = Ledger(folder / "ledger.db")
written, full = 0, False
while not full and written < 10_000:
    try:
        with ledger.step():
            ledger.append("asked", {"n": written, "ids": ["x" * 50] * 100})
            ledger.append("answered", {"n": written})
        written += 1
    except StorageFull as error:
        full = "full" in str(error) and "MB free" in str(error)
assert full, written
report = ledger.verify()
assert report.events == 2 * written > 20, (report, written)
try:
    write_bytes(folder / "weights", b"x" * 1_000_000)
except StorageFull:
    assert sorted(p.name for p in folder.iterdir()) == ["ledger.db", "ledger.db-shm", "ledger.db-wal"]
else:
    raise AssertionError("the disk took more than it has")
Path("/mnt/filler").unlink()
ledger.append("closed", {})
assert ledger.verify().events == 2 * written + 1
ledger.close()
with Ledger(folder / "ledger.db") as again:
    assert len(again) == 2 * written + 1
print("whole")
"""


def test_a_disk_that_is_really_full(tmp_path):
    """A 1 MB file system of our own, where the kernel allows one."""
    script = tmp_path / "script.py"
    script.write_text(ON_A_FULL_DISK)
    shell = (
        "mount -t tmpfs -o size=1m tmpfs /mnt 2>/dev/null || exit 77\n"
        f"head -c 300000 /dev/zero > /mnt/filler && exec '{sys.executable}' '{script}'"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if shutil.which("unshare") is None:
        pytest.skip("no unshare on this machine: a full disk cannot be made")
    command = ["unshare", "-rm", "sh", "-c", shell]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("this kernel lets nobody mount a file system of their own: a full disk cannot be made")
    assert (done.returncode, done.stdout) == (0, "whole\n"), done.stderr
