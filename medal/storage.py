"""Files that are either whole or not there: atomic writes, hashes, free space.

A write goes to a draft in the same folder, is flushed to the disk, then takes the place of the target in one step; a
reader sees the old content or the new one, never half of it. A full disk becomes one line with the folder and the mend.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from medal.canonical import plain
from medal.errors import StorageFull, StudyError

DRAFT_SUFFIX = ".part"
"""Every draft is a hidden file with this ending, so that those of a killed process can be told from results."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.EISDIR)


def free_bytes(path: Path | str) -> int:
    """Free bytes on the disk that holds a path, which need not exist yet."""
    place = Path(path).absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    return shutil.disk_usage(place).free


def storage_full(folder: Path | str, cause: str = "no space left") -> StorageFull:
    """The error for a write that the disk refused.

    Args:
        folder: where the write went.
        cause: the system's own words.
    """
    mend = "free some space, then run the same command again; what was stored before is whole"
    return StorageFull(f"cannot write in {folder}: {cause}, {free_bytes(folder) / 1e6:.1f} MB free; {mend}")


@contextmanager
def writing(folder: Path | str) -> Iterator[None]:
    """Turns a full or refusing disk inside the block into one line.

    Args:
        folder: where the block writes; named in the error.

    Raises:
        StorageFull: when the disk or the quota is full.
        StudyError: when this user may not write there, or a file stands where a folder should, or a folder for a file.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise storage_full(folder, "no space left" if error.errno == errno.ENOSPC else "quota exceeded") from error
        if error.errno in _REFUSED:
            mend = "expected a folder that this user may write: choose another one"
            raise StudyError(f"cannot write in {folder}: {error.strerror}; {mend}") from error
        raise


def draft_path(folder: Path) -> Path:
    """A new name for a draft in a folder."""
    return folder / f".{secrets.token_hex(8)}{DRAFT_SUFFIX}"


def write_via(path: Path | str, writer: Callable[[BinaryIO], object], *, mode: int = 0o666) -> None:
    """Writes a file atomically; missing folders are made.

    Args:
        path: the file.
        writer: called with the open draft, writes the content.
        mode: permissions before the umask; 0o600 for what only its owner may read.

    Raises:
        StorageFull: when the disk is full; the draft is removed and an earlier file stays as it was.
        StudyError: when this user may not write there.
    """
    path = Path(path)
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = draft_path(path.parent)
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as handle:
                writer(handle)
                handle.flush()
                os.fsync(handle.fileno())
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def write_bytes(path: Path | str, data: bytes, *, mode: int = 0o666) -> None:
    """Writes bytes atomically; see `write_via`."""
    write_via(path, lambda handle: handle.write(data), mode=mode)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable; file systems that cannot are left as they are."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def remove_drafts(folder: Path | str) -> list[Path]:
    """Removes what a killed process left half-written, in a folder that nobody else writes to now.

    Returns:
        The removed files, sorted.
    """
    # SQLite adds -wal and -shm to the name of a draft that is a database
    strays = sorted(p for p in Path(folder).rglob(f".*{DRAFT_SUFFIX}*") if p.is_file() and not p.is_symlink())
    for stray in strays:
        stray.unlink(missing_ok=True)
    return strays


def sha256_file(path: Path | str) -> str:
    """Hex SHA-256 of a file's bytes.

    Do not use it on a ledger that this process has open: closing the file would drop SQLite's locks on it.
    """
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_json(path: Path | str, value: Any) -> None:
    """Writes JSON atomically, keys sorted, NaN and infinities as null.

    Raises:
        StudyError: if the value holds something that JSON cannot.
        StorageFull: when the disk is full.
    """
    write_bytes(path, (json.dumps(plain(value), indent=2, sort_keys=True, allow_nan=False) + "\n").encode())


def read_json(path: Path | str) -> Any:
    """Reads a JSON file.

    Raises:
        StudyError: if it is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StudyError(f"{path} is missing; expected a JSON file: check the folder") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StudyError(f"{path} is not JSON ({error}); restore it from a backup or remove it") from error
