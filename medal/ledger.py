"""The journal of a study: an append-only table of events in SQLite, chained by hash.

Two chains run through the events. The content chain (`hash`) covers what was asked, answered, trained and found; it
leaves out clock, machine and measured seconds, so that an interrupted and resumed study has the same hash as an
uninterrupted one. The seal chain (`seal`) covers the content hash and the aside (time, machine, seconds), so that these
cannot be changed unseen either.

The chains show a change; they do not prevent one. Whoever owns the file can rebuild it, and taking events off its end
leaves a shorter journal that verifies: the head hash printed in every report is the remedy, compare it with
`Ledger.head`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medal.canonical import canonical as canonical
from medal.errors import LedgerBroken, StudyError
from medal.ledger_file import MEND, explained, open_to_read, open_to_write
from medal.lock import host_tag

GENESIS = "0" * 64
"""What stands before the first event in both chains."""

_BLOCK = 256
_KIND = re.compile(r"[a-z][a-z_]*")


@dataclass(frozen=True)
class Event:
    """One entry of the journal.

    Args:
        seq: 1 for the first.
        kind: what happened, such as "asked".
        content: what counts; the same in every run with the same seed.
        aside: time, machine, process and measured seconds.
        hash: content chain up to and with this event, 64 hex digits.
        seal: chain over hashes and asides.
    """

    seq: int
    kind: str
    content: dict[str, Any]
    aside: dict[str, Any]
    hash: str
    seal: str


@dataclass(frozen=True)
class LedgerReport:
    """What a verified ledger holds: the number of events and the ends of both chains."""

    events: int
    head: str
    seal: str


def chain(*parts: object) -> str:
    """Hex SHA-256 over parts that hold no line break, joined by line breaks.

    Example:
        >>> chain("a", "b") == hashlib.sha256(bytes([97, 10, 98])).hexdigest()
        True
    """
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()


class Ledger:
    """An append-only journal in one file.

    Args:
        path: the SQLite file; made when missing, unless `read_only`.
        read_only: read, also while another process is writing.

    Raises:
        StudyError: when a file to read is missing or empty.
        LedgerBroken: when the file is no ledger or is damaged.
        StudyVersion: when it has another layout.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> with Ledger(Path(folder.name, "ledger.db")) as ledger:
        ...     event = ledger.append("asked", {"round": 0, "ids": ["a"]})
        ...     ledger.verify().events, ledger.head() == event.hash
        (1, True)
        >>> folder.cleanup()
    """

    def __init__(self, path: Path | str, *, read_only: bool = False) -> None:
        self.path = Path(path)
        self.read_only = read_only
        self._depth = 0
        self._failed = False
        self._pid = os.getpid()
        self._db = open_to_read(self.path) if read_only else open_to_write(self.path)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; a second call does nothing."""
        self._db.close()

    def __len__(self) -> int:
        return self._tail()[0]

    def append(self, kind: str, content: Mapping[str, Any], aside: Mapping[str, Any] | None = None) -> Event:
        """Writes one event, durably before this returns (inside `step`: before the step ends).

        Args:
            kind: lower-case letters and underscores.
            content: what counts, see `canonical`; must not depend on clock or machine.
            aside: what else to keep, such as measured seconds; time, machine and process are added.

        Raises:
            StorageFull: when the disk is full; nothing of the step is written and earlier events are whole.
            StudyError: when the content is not plain data or the ledger is open for reading.
        """
        if not _KIND.fullmatch(kind):
            raise StudyError(f"event kind {kind!r} is not allowed; expected lower-case letters and underscores")
        text = canonical(dict(content))
        note = canonical({"time": _now(), "host": host_tag(), "pid": os.getpid(), **(aside or {})})
        with self.step():
            seq, before, seal_before = self._tail()
            hash_ = chain(before, kind, text)
            row = (seq + 1, kind, text, note, hash_, chain(seal_before, hash_, note))
            with explained(self.path):
                self._db.execute("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?)", row)
        return self._event(row)

    @contextmanager
    def step(self) -> Iterator[None]:
        """Several appends as one transaction: all are written, or none. Steps inside steps join the outer one.

        Raises:
            StudyLocked: when another process keeps the ledger busy.
            StorageFull: when the disk is full.
        """
        self._check_writable()
        if self._depth:
            yield from self._inner_step()
            return
        with explained(self.path):
            self._db.execute("BEGIN IMMEDIATE")
        self._depth, self._failed = 1, False
        try:
            yield
            if self._failed:
                raise StudyError(
                    "this step was not written because one of its events failed; see the error before this one"
                )
            with explained(self.path):
                self._db.execute("COMMIT")
        finally:
            self._depth = 0
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _inner_step(self) -> Iterator[None]:
        # SQLite may have undone the whole transaction already: a later append would then stand alone.
        if self._failed:
            raise StudyError("this step has failed and takes no more events; leave it and begin another")
        self._depth += 1
        try:
            yield
        except BaseException:
            self._failed = True
            raise
        finally:
            self._depth -= 1

    def _check_writable(self) -> None:
        if self.read_only:
            raise StudyError(f"{self.path} is open for reading; open it for writing to append")
        if os.getpid() != self._pid:
            raise StudyError("the ledger was opened in another process; a forked process must open it itself")

    def _tail(self) -> tuple[int, str, str]:
        with explained(self.path):
            row = self._db.execute("SELECT seq, hash, seal FROM event ORDER BY seq DESC LIMIT 1").fetchone()
        return row or (0, GENESIS, GENESIS)

    def head(self) -> str:
        """The content hash of the whole journal; 64 zeros when it is empty."""
        return self._tail()[1]

    def events(self, kind: str | None = None) -> Iterator[Event]:
        """Events in order, up to the one that was last when the iteration began.

        Args:
            kind: only these; None for all.
        """
        for row in self._rows(kind):
            yield self._event(row)

    def last(self, kind: str) -> Event | None:
        """The last event of a kind, or None."""
        with explained(self.path):
            row = self._db.execute("SELECT * FROM event WHERE kind = ? ORDER BY seq DESC LIMIT 1", (kind,)).fetchone()
        return self._event(row) if row else None

    def _rows(self, kind: str | None = None) -> Iterator[tuple[Any, ...]]:
        seq, end = 0, len(self)
        clause, extra = ("", ()) if kind is None else (" AND kind = ?", (kind,))
        question = f"SELECT * FROM event WHERE seq > ? AND seq <= ?{clause} ORDER BY seq LIMIT {_BLOCK}"
        while True:  # in blocks: a slow reader must not keep a snapshot open, which would let the WAL grow
            with explained(self.path):
                rows = self._db.execute(question, (seq, end, *extra)).fetchall()
            yield from rows
            if len(rows) < _BLOCK:
                return
            seq = rows[-1][0]

    def _event(self, row: tuple[Any, ...]) -> Event:
        seq, kind, content, aside, hash_, seal = row
        try:
            return Event(seq, kind, json.loads(content), json.loads(aside), hash_, seal)
        except (TypeError, ValueError):
            raise LedgerBroken(f"{self.path}: event {seq} is not JSON, it was changed from outside; {MEND}") from None

    def verify(self) -> LedgerReport:
        """Checks the file, the numbering and both chains from the first event to the last.

        Raises:
            LedgerBroken: naming the first bad event and what is wrong with it.
        """
        with explained(self.path):
            damage = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if damage != "ok":
            raise LedgerBroken(f"{self.path} is damaged ({damage}); {MEND}")
        seq, head, seal = 0, GENESIS, GENESIS
        for row in self._rows():
            wrong = self._fault(row, seq, head, seal)
            if wrong:
                raise LedgerBroken(f"{self.path}: {wrong}; events before it are sound: {MEND}")
            seq, head, seal = row[0], row[4], row[5]
        return LedgerReport(seq, head, seal)

    def _fault(self, row: tuple[Any, ...], seq: int, head: str, seal: str) -> str | None:
        found, kind, content, aside, hash_, seal_found = row
        if found != seq + 1:
            return f"event {seq + 1} is missing"
        if chain(head, kind, content) != hash_:
            elsewhere = (GENESIS, *(other[4] for other in self._rows()))
            if any(chain(other, kind, content) == hash_ for other in elsewhere):
                return f"event {found} was reordered: it was written after another event than event {seq}"
            return f"event {found} was changed (kind, content or hash), or an event before it was taken out"
        if chain(seal, hash_, aside) != seal_found:
            return f"event {found} has a changed aside (time, machine, seconds) or seal"
        return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
