"""`units.csv`: each row of the data with its patient, its split and harmless columns such as sex or view."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from medal.errors import StudyError
from medal.storage import write_bytes

REQUIRED = ("id", "group", "split")


def write_unit_table(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Writes the table atomically.

    Args:
        path: the CSV file.
        rows: one mapping for each row of the data, all with the same columns in the same order.

    Raises:
        StudyError: if a column is missing, an id is doubled or a character cannot be written.
        StorageFull: when the disk is full.
    """
    columns = list(rows[0]) if rows else list(REQUIRED)
    missing = [c for c in REQUIRED if c not in columns]
    if missing:
        raise StudyError(f"the table of units has no column {missing[0]!r}; expected {', '.join(REQUIRED)} and others")
    seen: set[str] = set()
    for row in rows:
        if list(row) != columns:
            found, wanted = ", ".join(row), ", ".join(columns)
            raise StudyError(f"unit {row.get('id')!r} has columns {found}; expected {wanted} as in the first row")
        if row["id"] in seen:
            raise StudyError(f"unit {row['id']!r} stands twice in the table of units; ids must be distinct")
        seen.add(row["id"])
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    try:
        data = text.getvalue().encode("utf-8")
    except UnicodeEncodeError as error:
        found = f"a character that UTF-8 cannot write ({error.reason})"
        raise StudyError(f"the table of units holds {found}; clean that column where the data are read") from None
    write_bytes(path, data)


def read_unit_table(path: Path) -> list[dict[str, str]]:
    """Reads the table, in the order written.

    Raises:
        StudyError: if it is missing, damaged or lacks a column.
    """
    mend = "restore the study from a backup"
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            reader = csv.DictReader(handle, strict=True)
            rows, columns = list(reader), list(reader.fieldnames or [])
    except FileNotFoundError:
        raise StudyError(f"{path} is missing; {mend}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise StudyError(f"{path} is damaged ({error}); {mend}") from error
    if not set(REQUIRED) <= set(columns):
        raise StudyError(f"{path} has columns {', '.join(columns)}; expected {', '.join(REQUIRED)} among them: {mend}")
    for line, row in enumerate(rows, start=1):
        if None in row or None in row.values():
            raise StudyError(f"{path} has a torn row {line}; expected {len(columns)} cells: {mend}")
    return rows
