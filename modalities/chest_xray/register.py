"""The private table of one data set: pseudonyms of images, exams and patients, each with its way back and a note.

Only this table, beside the key and readable by its owner alone, links a pseudonym to a path or a number of a patient.
It grows over runs, so that a preparation that was killed in the middle loses no link.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from medal.identity import Pseudonyms, read_private, write_private


class Register:
    """Gives pseudonyms and remembers what they stand for.

    Args:
        key: secret of the pseudonyms.
        table: name of the private table, free of identity; None keeps nothing.

    Raises:
        StudyError: if there is no place for the table.
    """

    def __init__(self, key: bytes, table: str | None = None) -> None:
        self._key = key
        self._names = Pseudonyms(key)
        self._notes: dict[str, str] = {}
        self._known: set[str] = set()
        self._changed = False
        self.table = table
        for line in read_private(table) if table is not None else ():
            if len(line) == 3:
                self.of(line[0][:1], line[1], line[2])
        self._changed = False

    def adopt(self, pseudonyms: Sequence[str], lender: Register) -> bool:
        """Takes over the way back from another table; False, and nothing taken, where it lacks one."""
        if not all(self.knows(name) or lender.knows(name) for name in pseudonyms):
            return False
        for name in pseudonyms:
            if not self.knows(name):
                self.of(name[:1], lender.identity(name))
        return True

    def of(self, prefix: str, identity: str, note: str = "") -> str:
        """The pseudonym of an identity; a note replaces an older one.

        Args:
            prefix: one letter: "I" images, "E" exams, "P" patients, "B" birth dates, "N" names.
            identity: what must not be shown.
            note: where it was found, or why it cannot be read.
        """
        name = self._names.of(prefix, identity)
        if name not in self._known or (note and self._notes.get(name) != note):
            self._known.add(name)
            self._changed = True
            if note:
                self._notes[name] = note
        return name

    def pseudonym(self, prefix: str, identity: str) -> str:
        """The pseudonym that an identity would have, without remembering it."""
        return Pseudonyms(self._key).of(prefix, identity)

    def knows(self, pseudonym: str) -> bool:
        """Whether the way back is known."""
        return pseudonym in self._known

    def identity(self, pseudonym: str) -> str:
        """What a pseudonym stands for, "" where this is not known; for private tables alone."""
        return self._names.identity(pseudonym) or ""

    def note(self, pseudonym: str, note: str) -> None:
        """Sets the note of a pseudonym that is known, such as where its file lies now."""
        if self.knows(pseudonym) and self._notes.get(pseudonym) != note:
            self._notes[pseudonym] = note
            self._changed = True

    def save(self) -> None:
        """Writes the table where something was added."""
        if self.table is not None and self._changed:
            self._names.write_table(self.table, self._notes)
            self._changed = False

    def write_beside(self, what: str, header: Sequence[str], lines: Iterable[Sequence[str]]) -> Path | None:
        """Writes another private table of this data set, None where nothing is kept.

        Args:
            what: what it holds, the first word of its name.
            header: names of the columns.
            lines: cells; may name patients.
        """
        return None if self.table is None else write_private(f"{what}-{self.table}", header, lines)
