"""The private table of one work list: which file each pseudonym stands for, for the reader at this machine alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from medal.identity import private_folder, read_private, write_private

FOLDER = "worklists"
_HEADER = "pseudonym,identity,note"
"""First line of the tables that `medal.identity.Pseudonyms` writes."""


def write_key(name: str, numbers: Mapping[str, int], token: str) -> Path | None:
    """Writes number, pseudonym and file of every image, outside of the study.

    Args:
        name: of the list.
        numbers: id -> number of every image that it has asked, answered or not.
        token: of the study, see `medal.exchange.place.study_token`.

    Returns:
        Path of the table; None when no file is known, as with data that have no private table.
    """
    table = f"{FOLDER}/{token}-{name}"
    files = {line[1]: line[2] for line in read_private(table) if len(line) == 3 and line[2]}
    files |= private_notes(numbers)
    if not files:
        return None
    lines = [[str(number), unit, files.get(unit, "")] for unit, number in numbers.items()]
    return write_private(table, ["no", "id", "file"], lines)


def private_notes(ids: Iterable[str]) -> dict[str, str]:
    """What the private tables of this machine note about pseudonyms: for images, where the file lies.

    Args:
        ids: pseudonyms.

    Returns:
        id -> note; the table that was written last decides.
    """
    wanted, found = set(ids), {}
    for path in sorted(private_folder().glob("*.csv"), key=lambda path: (path.stat().st_mtime_ns, path.name)):
        with path.open(encoding="utf-8", errors="surrogateescape") as handle:
            if handle.readline().strip() != _HEADER:
                continue
        for line in read_private(path.stem):
            if len(line) == 3 and line[0] in wanted and line[2]:
                found[line[0]] = line[2]
    return found
