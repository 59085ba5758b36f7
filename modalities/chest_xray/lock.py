"""Two guards around the cache: one process prepares it at a time, and a full disk is a typed error."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from medal.errors import StorageFull, StudyError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.EISDIR)


@contextmanager
def exclusive(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Holds a file lock; the kernel frees it when the process dies, however it dies.

    Args:
        path: the lock file; it stays behind, empty.
        waiting: called once when another process holds the lock.

    Raises:
        StudyError: in a worker that is still importing a script without a main guard; it and its parent would wait for
            each other.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise StudyError("worker processes run this script again; put its code under `if __name__ == '__main__':`")
    with on_disk():
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


@contextmanager
def on_disk() -> Iterator[None]:
    """Turns a full or refusing disk into an error that says what to do.

    Raises:
        StorageFull: when the disk or the quota is full.
        StudyError: when this user may not write there.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _REFUSED:
            mend = "choose a folder that this user may write"
            raise StudyError(f"the cache of decoded images cannot be written: {error.strerror}; {mend}") from error
        if error.errno not in _FULL:
            raise
        raise StorageFull("the disk of the cache is full; free space and run again, what is done is kept") from error


def write_whole(path: Path, text: str) -> None:
    """Replaces a file at once, so that a reader or a crash never meets half of it."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        with draft.open("w", encoding="utf-8") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise
