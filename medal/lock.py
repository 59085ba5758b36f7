"""One writer per folder or file: locks that the kernel lets go of when their holder dies, however it dies."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import multiprocessing
import os
import platform
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from medal.errors import StudyError, StudyLocked
from medal.storage import writing


def host_tag() -> str:
    """A short hash of this machine's name: tells machines apart without naming them."""
    return hashlib.sha256(platform.node().encode("utf-8", "replace")).hexdigest()[:8]


@contextmanager
def exclusive(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Holds a lock file inside the block, and waits for it where another process is there first.

    Args:
        path: the lock file; it stays behind, empty. Its folder is made when missing.
        waiting: called once when another process holds the lock.

    Raises:
        StudyError: in a worker that is still importing a script without a main guard; it and its parent would wait for
            each other. Also when this user may not write there.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise StudyError("worker processes run this script again; put its code under `if __name__ == '__main__':`")
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = path.open("a")
    with opened as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is not None:
                waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


class FolderLock:
    """Holds a lock file until `release` or the end of the process.

    The file stays when the lock is let go: removing it would let two processes hold two files of the same name.

    Args:
        path: the lock file; made when missing.

    Raises:
        StudyLocked: when another process, or another part of this one, holds it; the text names its process id.
        StudyError: when the file system has no locks, or this user may not write there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        with writing(path.parent):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            self._take(descriptor)
            with writing(path.parent):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()} {host_tag()}\n".encode(), 0)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        _held.add(self)

    def _take(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise StudyLocked(self._occupied(descriptor)) from None
            found = f"{self.path.parent} cannot be locked: {error.strerror}"
            raise StudyError(f"{found}; expected a file system with locks: use a local disk") from error

    def _occupied(self, descriptor: int) -> str:
        pid, _, host = os.pread(descriptor, 100, 0).decode("ascii", "replace").strip().partition(" ")
        where = "" if host in ("", host_tag()) else " on another machine"
        holder = "this very process" if pid == str(os.getpid()) and not where else f"process {pid or 'unknown'}{where}"
        return f"{self.path.parent} is in use by {holder}; wait until it ends, or read with `medal status`"

    def release(self) -> None:
        """Lets the lock go; a second call does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __del__(self) -> None:
        self.release()


_held: weakref.WeakSet[FolderLock] = weakref.WeakSet()


def _drop_in_child() -> None:
    # A forked data-loading worker shares the lock and could outlive its killed parent: the folder must open then.
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_drop_in_child)
