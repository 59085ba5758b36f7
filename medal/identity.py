"""Pseudonyms: keyed hashes of identities; the key and the table back are kept apart from everything that is shared.

Public data sets have nothing to hide and use a fixed key, so that ids (and with them every pick) agree between
machines. Hospital data use a key made once on this machine, in a private folder (`MEDAL_PRIVATE`, else
`~/.local/share/medal/private`).
"""

from __future__ import annotations

import base64
import csv
import hmac
import io
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from medal.errors import StorageFull, StudyError
from medal.lock import exclusive
from medal.storage import draft_path, write_bytes

PUBLIC_KEY = b"medal: public data set"
LOCK = ".lock"
"""File in the private folder that two writers of tables wait for."""


def private_folder() -> Path:
    """The folder of keys and tables, readable by its owner alone; made on first use.

    Raises:
        StudyError: if it cannot be made.
    """
    stated = os.environ.get("MEDAL_PRIVATE")
    try:
        folder = Path(stated or Path.home() / ".local" / "share" / "medal" / "private")
    except RuntimeError:
        raise StudyError(
            "this user has no home folder for keys and tables; set MEDAL_PRIVATE to a folder of your own"
        ) from None
    with _private(folder, "made"):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def installation_key() -> bytes:
    """The secret key of this machine, made once.

    Raises:
        StudyError: if the key file is damaged or may not be read; without the same key, ids would change.
    """
    folder = private_folder()
    path = folder / "pseudonym.key"
    with _private(folder, "used"):
        if not path.exists():
            draft = draft_path(folder)
            write_bytes(draft, secrets.token_bytes(32), mode=0o600)
            try:
                os.link(draft, path)  # fails when another process was first; then its key stands
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        key = path.read_bytes()
    if len(key) != 32:
        raise StudyError(f"the pseudonym key {path} has {len(key)} bytes, expected 32; restore it from a backup")
    return key


@contextmanager
def _private(folder: Path, verb: str) -> Iterator[None]:
    """Turns whatever the system refuses inside the block into one line with the mend.

    Raises:
        StudyError: naming the folder and MEDAL_PRIVATE.
    """
    mend = "give this user the permission, or set MEDAL_PRIVATE to a folder of your own"
    try:
        yield
    except StorageFull:
        raise
    except StudyError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        cause = error.__cause__
        raise StudyError(f"the private folder {folder} cannot be {verb}: {cause.strerror}; {mend}") from cause
    except OSError as error:
        raise StudyError(f"the private folder {folder} cannot be {verb}: {error.strerror}; {mend}") from error


class Pseudonyms:
    """Maps identities to pseudonyms and remembers the way back for the private table.

    Args:
        key: secret; the same key and identity give the same pseudonym.

    Example:
        >>> names = Pseudonyms(PUBLIC_KEY)
        >>> names.of("P", "patient 7") == Pseudonyms(PUBLIC_KEY).of("P", "patient 7") != names.of("P", "patient 8")
        True
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._back: dict[str, str] = {}

    def of(self, prefix: str, identity: str) -> str:
        """The pseudonym of one identity: the prefix and 12 characters (60 bits)."""
        digest = hmac.new(self._key, f"{prefix}\x1f{identity}".encode("utf-8", "surrogateescape"), sha256).digest()
        name = prefix + base64.b32encode(digest)[:12].decode().lower()
        known = self._back.setdefault(name, identity)
        if known != identity:
            raise StudyError(f"two identities share the pseudonym {name}; make a new key")
        return name

    def identity(self, pseudonym: str) -> str | None:
        """What a pseudonym stands for, None where this object has not named it."""
        return self._back.get(pseudonym)

    def write_table(self, name: str, extra: Mapping[str, str] | None = None) -> Path:
        """Writes the private table (pseudonym, identity, note) beside the key and returns its path.

        Lines of an earlier table stay, so that a file that has left the folder since can still be traced back. Two
        processes that write at once wait for each other, and a kill leaves the old table or the new one.

        Raises:
            StudyError: if the private folder cannot be used.
            StorageFull: if its disk is full; the old table stays.
        """
        path = private_folder() / f"{name}.csv"
        with _private(path.parent, "used"), exclusive(path.parent / LOCK):
            lines = {line[0]: line for line in read_private(name)}
            lines |= {p: [p, i, (extra or {}).get(p, "")] for p, i in self._back.items()}
            _write(path, [["pseudonym", "identity", "note"], *(line for _, line in sorted(lines.items()))])
        return path


def read_private(name: str) -> list[list[str]]:
    """Lines of a private table without its header; none where it does not exist.

    Args:
        name: as given when it was written.

    Raises:
        StudyError: if it may not be read or is no table.
    """
    path = private_folder() / f"{name}.csv"
    with _private(path.parent, "used"):
        try:
            with path.open(newline="", encoding="utf-8", errors="surrogateescape") as handle:
                return [line for line in list(csv.reader(handle))[1:] if line]
        except FileNotFoundError:
            return []
        except csv.Error as error:
            raise StudyError(
                f"the private table {path} is damaged ({error}); restore it from a backup or remove it"
            ) from error


def write_private(name: str, header: Sequence[str], lines: Iterable[Sequence[str]]) -> Path:
    """Writes any table that names patients into the private folder, readable by its owner alone, and returns its path.

    Args:
        name: of the table, free of identity; an earlier one is replaced.
        header: names of the columns.
        lines: cells.

    Raises:
        StudyError: if the private folder cannot be used.
        StorageFull: if its disk is full.
    """
    path = private_folder() / f"{name}.csv"
    with _private(path.parent, "used"):
        _write(path, [header, *lines])
    return path


def _write(path: Path, lines: Iterable[Sequence[str]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(lines)
    # an identity may be a file name that is no UTF-8; it must come back as it was
    write_bytes(path, text.getvalue().encode("utf-8", "surrogateescape"), mode=0o600)
