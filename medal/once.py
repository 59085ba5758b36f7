"""What is made once for all studies of a run: a file in the cache, written by whoever comes first.

A second process waits for the first; one that is killed leaves nothing behind but a lock that the kernel has let go of,
and the next one makes the file.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from medal.errors import StudyLocked
from medal.lock import FolderLock
from medal.source import Progress, silent
from medal.storage import writing

T = TypeVar("T")
PAUSE = 0.2
"""Seconds between two looks at a lock."""


def made_once(
    path: Path | None,
    read: Callable[[Path], T | None],
    make: Callable[[], T],
    write: Callable[[Path, T], object],
    progress: Progress = silent,
) -> T:
    """What a file holds, made and written first when it is not there.

    Args:
        path: named by everything that decides the content; None makes it and keeps nothing.
        read: the content, or None when there is none that can be used.
        make: the content.
        write: stores the content atomically.
        progress: told while another process makes it.
    """
    if path is None:
        return make()
    if (found := read(path)) is not None:
        return found
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    lock = _wait(path.with_name(f".{path.name}.lock"), progress)
    try:
        if (found := read(path)) is not None:
            return found
        made = make()
        write(path, made)
        return made
    finally:
        lock.release()


def _wait(path: Path, progress: Progress) -> FolderLock:
    looks = 0
    while True:
        try:
            return FolderLock(path)
        except StudyLocked:
            progress("waiting for another process", looks, looks + 1)
            looks += 1
            time.sleep(PAUSE)
