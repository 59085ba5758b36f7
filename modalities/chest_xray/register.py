"""The private table of one data set: pseudonyms of images and patients, each with its way back and a note.

Only this table, beside the key and readable by its owner alone, links a pseudonym to a path or a number of a patient.
It grows over runs, so that a preparation that was killed in the middle loses no link.
"""

from __future__ import annotations

import csv

from medal.errors import StudyError
from medal.identity import Pseudonyms, private_folder


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
        self._table = table
        self._changed = False
        if table is not None:
            self._recall(table)

    def _recall(self, table: str) -> None:
        try:
            path = private_folder() / f"{table}.csv"
        except OSError as error:
            raise StudyError(
                "the private folder for keys and tables cannot be made; set MEDAL_PRIVATE to a folder of your own"
            ) from error
        if path.exists():
            with path.open(newline="", encoding="utf-8") as handle:
                for row in csv.DictReader(handle):
                    self.of(row["pseudonym"][:1], row["identity"], row["note"])
            self._changed = False

    def of(self, prefix: str, identity: str, note: str = "") -> str:
        """The pseudonym of an identity; a note replaces an older one.

        Args:
            prefix: one letter, "I" for images and "P" for patients.
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

    def save(self) -> None:
        """Writes the table where something was added."""
        if self._table is not None and self._changed:
            self._names.write_table(self._table, self._notes)
            self._changed = False
