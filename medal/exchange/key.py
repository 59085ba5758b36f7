"""The private table of one work list: which file each pseudonym stands for, for the reader at this machine alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from medal.exchange.worklist import WorkList
from medal.identity import private_folder, read_private, write_private

FOLDER = "worklists"
_HEADER = "pseudonym,identity,note"
"""First line of the tables that `medal.identity.Pseudonyms` writes."""


def write_key(worklist: WorkList, token: str) -> Path | None:
    """Writes number, pseudonym and file of every image, outside of the study.

    Args:
        worklist: what is asked.
        token: of the study, see `medal.exchange.place.study_token`.

    Returns:
        Path of the table; None when no file is known, as with data that have no private table.
    """
    files = private_notes(item.id for item in worklist.items)
    if not files:
        return None
    lines = [[str(item.number), item.id, files.get(item.id, "")] for item in worklist.items]
    return write_private(f"{FOLDER}/{token}-{worklist.name}", ["no", "id", "file"], lines)


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
