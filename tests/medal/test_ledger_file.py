import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import medal.ledger_file
from medal.errors import LedgerBroken, StudyError, StudyVersion
from medal.ledger import Ledger

ROOT = Path(medal.ledger_file.__file__).parents[1]


def fill(path, n=5):
    with Ledger(path) as ledger:
        for i in range(n):
            ledger.append("asked", {"round": i})
    return path


def test_missing_file(tmp_path):
    with pytest.raises(StudyError, match=r"no ledger at .*; expected the ledger\.db of a study"):
        Ledger(tmp_path / "ledger.db", read_only=True)
    assert not (tmp_path / "ledger.db").exists()


@pytest.mark.parametrize("read_only", [True, False])
def test_not_a_database(tmp_path, read_only):
    (tmp_path / "ledger.db").write_bytes(b"id,label\n" * 1000)
    with pytest.raises(LedgerBroken, match="is damaged or no ledger"):
        Ledger(tmp_path / "ledger.db", read_only=read_only)
    assert (tmp_path / "ledger.db").read_bytes() == b"id,label\n" * 1000


@pytest.mark.parametrize("read_only", [True, False])
def test_a_database_of_something_else(tmp_path, read_only):
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
        db.execute("CREATE TABLE event (seq, note)")
    with pytest.raises(LedgerBroken, match="is a database but not a ledger"):
        Ledger(tmp_path / "ledger.db", read_only=read_only)


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize(("layout", "mend"), [(7, "upgrade medal"), (0, "the version of medal that wrote it")])
def test_another_layout(tmp_path, layout, mend, read_only):
    path = fill(tmp_path / "ledger.db")
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {layout}")
    with pytest.raises(StudyVersion, match=f"has ledger layout {layout}, this medal reads 1; .*{mend}"):
        Ledger(path, read_only=read_only)


def test_a_ledger_whose_making_was_interrupted(tmp_path):
    (tmp_path / "ledger.db").touch()
    with pytest.raises(StudyError, match="is empty, its making was interrupted"):
        Ledger(tmp_path / "ledger.db", read_only=True)
    with Ledger(tmp_path / "ledger.db") as ledger:
        assert ledger.append("a", {}).seq == 1


def test_a_cut_off_file_is_damaged(tmp_path):
    path = fill(tmp_path / "ledger.db", 200)
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(LedgerBroken, match="is damaged"):
        Ledger(path, read_only=True)


def test_strange_paths(tmp_path):
    path = tmp_path / "50% of #1?mode=memory" / "ledger.db"
    path.parent.mkdir()
    fill(path)
    with Ledger(path, read_only=True) as ledger:
        assert ledger.verify().events == 5


def test_a_relative_path(tmp_path, monkeypatch):
    fill(tmp_path / "ledger.db")
    monkeypatch.chdir(tmp_path)
    with Ledger("ledger.db", read_only=True) as ledger:
        assert len(ledger) == 5


ON_A_READ_ONLY_DISK = """
import subprocess
from medal.errors import StudyError
from medal.ledger import Ledger
with Ledger("/mnt/ledger.db") as ledger:
    ledger.append("asked", {"round": 1})
subprocess.run(["mount", "-o", "remount,ro", "/mnt"], check=True)
with Ledger("/mnt/ledger.db", read_only=True) as ledger:
    print(ledger.verify().events)
try:
    Ledger("/mnt/ledger.db")
except StudyError as error:
    print(error)
"""


def test_a_copy_on_a_read_only_disk_can_be_read(tmp_path):
    (tmp_path / "script.py").write_text(ON_A_READ_ONLY_DISK)
    shell = f"mount -t tmpfs tmpfs /mnt 2>/dev/null || exit 77\nexec '{sys.executable}' '{tmp_path / 'script.py'}'"
    if shutil.which("unshare") is None:
        pytest.skip("no unshare on this machine: a read-only disk cannot be made")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = ["unshare", "-rm", "sh", "-c", shell]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("this kernel lets nobody mount a file system of their own: a read-only disk cannot be made")
    assert done.returncode == 0, done.stderr
    events, refusal = done.stdout.splitlines()
    assert events == "1"
    assert refusal.startswith("/mnt/ledger.db cannot be used")
