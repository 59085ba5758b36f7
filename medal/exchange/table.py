"""CSV tables that people fill in: Excel's separators and marks are understood, and every problem names its line.

Error texts never repeat the cells of a row, which may identify somebody.
"""

from __future__ import annotations

import csv
import difflib
import io
import re
from dataclasses import dataclass
from pathlib import Path

from medal.errors import BadTable

_SEPARATOR_LINE = re.compile(r"sep=([,;\t])\r?\n")
"""First line that some versions of Excel write and read."""


@dataclass(frozen=True)
class Table:
    """A table as text.

    Args:
        name: file name, for messages.
        header: names of the columns.
        rows: cells of each row, stripped.
        lines: line of each row in the file, from 1.
        torn: lines with another number of cells than the header; they are not among `rows`.
    """

    name: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    torn: tuple[int, ...] = ()

    def column(self, name: str) -> tuple[str, ...]:
        """Cells of one column.

        Raises:
            BadTable: if it does not exist; names the nearest.
        """
        at = self._place(name)
        return tuple(row[at] for row in self.rows)

    def _place(self, name: str) -> int:
        if name not in self.header:
            close = difflib.get_close_matches(name, self.header, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}?" if close else f"its columns: {', '.join(self.header)}"
            raise BadTable(f"{self.name} has no column {name!r}; {hint}")
        return self.header.index(name)


def read_table(path: Path, torn: bool = False) -> Table:
    """Reads a CSV file in UTF-8; the separator may be a comma, a semicolon or a tab.

    Args:
        path: the file.
        torn: list rows with another number of cells in `Table.torn` instead of refusing the file.

    Raises:
        BadTable: if it is missing, empty, not UTF-8, ragged, or names a column twice; the text names the line.
    """
    text, skipped = _decoded(path)
    start = text.split("\n", 1)[0]
    separator = max(",;\t", key=start.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows, lines = [], []
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append(tuple(cell.strip() for cell in row))
                lines.append(reader.line_num + skipped)
    except csv.Error as error:
        line = reader.line_num + skipped
        raise BadTable(f"{path.name}, line {line}: {error}; check the quotes of this line") from None
    if len(rows) < 2:
        raise BadTable(
            f"{path.name} has {'no row below its header' if rows else 'no content'}; expected one row an image"
        )
    header = rows[0]
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise BadTable(f"{path.name} has the column {twice[0]!r} more than once; keep one")
    ragged = [line for row, line in zip(rows, lines, strict=True) if len(row) != len(header)]
    if ragged and not torn:
        more = f" (and {len(ragged) - 1} more)" if len(ragged) > 1 else ""
        raise BadTable(f"{path.name}, line {ragged[0]}: not {len(header)} cells as in the header{more}")
    whole = [(row, line) for row, line in zip(rows, lines, strict=True) if len(row) == len(header)]
    return Table(path.name, header, tuple(r for r, _ in whole[1:]), tuple(n for _, n in whole[1:]), tuple(ragged))


def _decoded(path: Path) -> tuple[str, int]:
    """The text without Excel's marks, and how many lines were left out before it."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadTable(f"the table {path.name} cannot be read: {error.strerror}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise BadTable(
            f"{path.name}, line {line}: byte 0x{content[error.start]:02x} at position {error.start} is not UTF-8; "
            "save the table as 'CSV UTF-8'"
        ) from None
    stated = _SEPARATOR_LINE.match(text)
    return (text[stated.end() :], 1) if stated else (text, 0)
