import errno
import fcntl
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import medal.lock
from medal.errors import StudyError, StudyLocked
from medal.lock import FolderLock, exclusive, host_tag

ROOT = Path(medal.lock.__file__).parents[1]

HOLDER = """
import os, sys, time
from pathlib import Path
from medal.lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
child = os.fork() if sys.argv[2] == "fork" else None
if child in (0, None):
    print(os.getpid(), flush=True)  # after the fork is complete
time.sleep(60)
"""


def holder(path, fork="no"):
    command = [sys.executable, "-c", HOLDER, str(path), fork]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def kill(process):
    process.kill()
    process.wait(10)
    process.stdout.close()


def test_the_holder_is_named_and_its_death_frees_the_folder(tmp_path):
    process, _ = holder(tmp_path / "lock")
    try:
        with pytest.raises(StudyLocked, match=rf"in use by process {process.pid}; wait until it ends"):
            FolderLock(tmp_path / "lock")
    finally:
        kill(process)
    FolderLock(tmp_path / "lock").release()


def test_a_forked_worker_that_outlives_its_parent_does_not_keep_the_folder_shut(tmp_path):
    process, child = holder(tmp_path / "lock", "fork")
    try:
        with pytest.raises(StudyLocked):
            FolderLock(tmp_path / "lock")
        kill(process)
        os.kill(int(child), 0)  # the worker is still there
        FolderLock(tmp_path / "lock").release()
    finally:
        os.kill(int(child), signal.SIGKILL)


def test_the_same_process_cannot_take_it_twice(tmp_path):
    lock = FolderLock(tmp_path / "lock")
    with pytest.raises(StudyLocked, match="in use by this very process"):
        FolderLock(tmp_path / "lock")
    lock.release()
    lock.release()
    FolderLock(tmp_path / "lock").release()


def test_a_refused_attempt_leaves_the_lock_alone(tmp_path):
    lock = FolderLock(tmp_path / "lock")
    before = (tmp_path / "lock").read_text()
    for _ in range(2):
        with pytest.raises(StudyLocked):
            FolderLock(tmp_path / "lock")
    assert (tmp_path / "lock").read_text() == before == f"{os.getpid()} {host_tag()}\n"
    lock.release()


def test_a_holder_on_another_machine_is_said_to_be_there(tmp_path):
    lock = FolderLock(tmp_path / "lock")
    (tmp_path / "lock").write_text("123 abcdef01\n")
    with pytest.raises(StudyLocked, match="process 123 on another machine"):
        FolderLock(tmp_path / "lock")
    lock.release()


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(StudyError, match="No locks available; expected a file system with locks: use a local disk"):
        FolderLock(tmp_path / "lock")


def test_the_machine_is_told_by_a_short_hash_alone(monkeypatch):
    monkeypatch.setattr(medal.lock.platform, "node", lambda: "radiology-07")
    first = host_tag()
    monkeypatch.setattr(medal.lock.platform, "node", lambda: "radiology-08")
    assert first != host_tag()
    assert len(first) == 8
    assert "radiology" not in first


def test_a_lock_that_is_dropped_is_free(tmp_path):
    lock = FolderLock(tmp_path / "lock")
    del lock
    start = time.monotonic()
    FolderLock(tmp_path / "lock").release()
    assert time.monotonic() - start < 1


# --- waiting locks


HOLDS = """
import sys, time
from pathlib import Path
from medal.lock import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
    Path(sys.argv[2]).write_text("done")
"""


def test_a_waiting_lock_waits_says_so_once_and_outlives_a_kill(tmp_path):
    lock, mark, told = tmp_path / "deep" / "a.lock", tmp_path / "mark", []
    command = [sys.executable, "-c", HOLDS, str(lock), str(mark)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"

        def waiting():
            told.append(mark.exists())
            assert first.stdin is not None
            first.stdin.write("\n")
            first.stdin.flush()

        with exclusive(lock, waiting):
            assert mark.read_text() == "done"
    assert told == [False]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as second:
        assert second.stdout is not None
        assert second.stdout.readline() == "held\n"
        second.kill()
        second.wait()
    with exclusive(lock, lambda: told.append(True)):
        pass
    assert told == [False], "the lock of a killed process is free"


def test_a_worker_that_imports_its_script_again_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(StudyError, match="put its code under"), exclusive(tmp_path / "a.lock"):
        pass
