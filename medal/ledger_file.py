"""How a ledger lies on the disk: its table, how it is opened, and what SQLite's errors mean to a user.

WAL with `synchronous = FULL`: an event is on the disk before `append` returns, and readers are never kept waiting.
Triggers refuse UPDATE and DELETE, and INSERT anywhere but at the end.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medal.errors import LedgerBroken, StudyError, StudyLocked, StudyVersion
from medal.storage import free_bytes, storage_full, writing

LAYOUT = 1
"""Version of the table, kept in the file's `user_version`."""

APPLICATION = 0x6D65646C
"""The letters "medl", kept in the file's `application_id`: tells a ledger from any other SQLite file."""

MEND = "restore the study from a backup"

_PATIENCE = 10.0  # seconds to wait for another process's transaction
_SCHEMA = (
    """CREATE TABLE event (seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, content TEXT NOT NULL, aside TEXT NOT NULL,
                           hash TEXT NOT NULL, seal TEXT NOT NULL)""",
    "CREATE INDEX event_kind ON event (kind, seq)",
    """CREATE TRIGGER event_no_update BEFORE UPDATE ON event
       BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END""",
    """CREATE TRIGGER event_no_delete BEFORE DELETE ON event
       BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END""",
    # INSERT OR REPLACE would delete without firing the trigger above
    """CREATE TRIGGER event_only_last BEFORE INSERT ON event
       WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM event)
       BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END""",
    f"PRAGMA application_id = {APPLICATION}",
    f"PRAGMA user_version = {LAYOUT}",
)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns SQLite's errors inside the block into medal's.

    Args:
        path: the ledger file.

    Raises:
        StorageFull: when the disk refused a write.
        StudyLocked: when another process keeps the file busy.
        LedgerBroken: when the file is damaged or no database.
        StudyError: on anything else.
    """
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter from a damaged schema quoted in a message
        raise _in_words(path, error) from error


def _in_words(path: Path, error: Exception) -> StudyError:
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    # SQLite says FULL for a full disk, IOERR for a full quota, CANTOPEN when the file beside it cannot be made
    crowded = primary == sqlite3.SQLITE_CANTOPEN and free_bytes(path.parent) < 1 << 16
    if crowded or primary in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return storage_full(path.parent, str(error))
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StudyLocked(f"{path} is being written by another process; wait until it ends")
    if primary in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT) or "decode" in str(error):
        return LedgerBroken(f"{path} is damaged or no ledger ({error}); {MEND}")
    return StudyError(f"{path} cannot be used ({error}); expected an open ledger that this user may read and write")


def open_to_write(path: Path) -> sqlite3.Connection:
    """Opens a ledger file for appending and reading; makes it when missing.

    Raises:
        LedgerBroken: when the file is no ledger or is damaged.
        StudyVersion: when it has another layout.
        StudyLocked: when another process keeps it busy.
    """
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    with explained(path):
        db = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
        try:
            _use_wal(db)
            db.execute("PRAGMA synchronous = FULL")
            db.execute("BEGIN IMMEDIATE")  # two processes may make the same ledger at once
            if not _holds_ledger(path, db):
                for statement in _SCHEMA:
                    db.execute(statement)
            db.execute("COMMIT")
        except BaseException:
            db.close()  # an open transaction is rolled back
            raise
    return db


def open_to_read(path: Path) -> sqlite3.Connection:
    """Opens a ledger file for reading, also while another process writes, also on a read-only disk.

    Raises:
        StudyError: when the file is missing or nothing was ever written to it.
        LedgerBroken: when the file is no ledger or is damaged.
        StudyVersion: when it has another layout.
    """
    if not path.is_file():
        raise StudyError(f"no ledger at {path}; expected the ledger.db of a study: check the folder")
    with explained(path):
        db = _connect_read_only(path)
        try:
            db.execute("BEGIN")  # one snapshot: another process may be making the ledger
            made = _holds_ledger(path, db)
            db.execute("COMMIT")
            if not made:
                raise StudyError(
                    f"{path} is empty, its making was interrupted; run the command again that made the study"
                )
        except BaseException:
            db.close()
            raise
    return db


def _connect_read_only(path: Path) -> sqlite3.Connection:
    # With mode=ro a reader would leave -wal and -shm files of its own behind, which may shut the owner out.
    uri = path.absolute().as_uri()
    db = sqlite3.connect(f"{uri}?mode=rw", uri=True, timeout=_PATIENCE, isolation_level=None)
    try:
        db.execute("PRAGMA query_only = ON")
        db.execute("PRAGMA user_version").fetchone()
    except sqlite3.OperationalError as error:
        db.close()
        # On a read-only disk the files beside a WAL database cannot be made; where there is no WAL, nothing is missed.
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CANTOPEN or path.with_name(path.name + "-wal").exists():
            raise
        return sqlite3.connect(f"{uri}?mode=ro&immutable=1", uri=True, isolation_level=None)
    except BaseException:
        db.close()
        raise
    return db


def _use_wal(db: sqlite3.Connection) -> None:
    """Switches to WAL; SQLite does not wait for another process that does the same, so this does."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return


def _holds_ledger(path: Path, db: sqlite3.Connection) -> bool:
    """Whether the file holds a ledger of this layout; False when it holds nothing yet."""
    application, layout, tables = (
        db.execute(question).fetchone()[0]
        for question in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
    )
    if application == APPLICATION and layout == LAYOUT:
        return True
    if application == APPLICATION:
        mend = "upgrade medal" if layout > LAYOUT else "open it with the version of medal that wrote it"
        raise StudyVersion(f"{path} has ledger layout {layout}, this medal reads {LAYOUT}; {mend}")
    if (application, layout, tables) == (0, 0, 0):
        return False
    raise LedgerBroken(f"{path} is a database but not a ledger of medal; {MEND}")
