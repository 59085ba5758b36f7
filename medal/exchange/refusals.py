"""What of a file of answers goes elsewhere than into the study: refused rows, and comments that may name somebody."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from medal.identity import read_private, write_private
from medal.storage import write_bytes, writing

SUFFIX = ".rejected.csv"


def rejected_path(path: Path) -> Path:
    """Where the refused rows of a file are listed.

    Example:
        >>> rejected_path(Path("ask_001", "worklist.csv")).name
        'worklist.rejected.csv'
    """
    return path.with_name(path.stem + SUFFIX)


def write_refusals(path: Path, name: str, refused: Sequence[tuple[int, str, str]]) -> None:
    """Lists refused rows by line and reason; takes an older list away when none is left.

    Args:
        path: the file of answers.
        name: as the list calls it.
        refused: (line, id where the study knows it, what is wrong).
    """
    target = rejected_path(path)
    if not refused:
        with writing(target.parent):
            target.unlink(missing_ok=True)
        return
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["file", "line", "id", "what is wrong"])
    writer.writerows([name, line, unit, what] for line, unit, what in refused)
    write_bytes(target, text.getvalue().encode("utf-8-sig"))


def keep_comments(token: str, comments: Sequence[tuple[str, str, str]]) -> None:
    """Adds comments to the private table of a study; free text may name somebody.

    Args:
        token: of the study.
        comments: (id, reader, text).
    """
    if not comments:
        return
    table = f"worklists/{token}-comments"
    before = read_private(table)
    new = [list(line) for line in comments if list(line) not in before]
    if new:
        write_private(table, ["id", "reader", "comment"], [*before, *new])
