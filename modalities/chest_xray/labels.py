"""Tables of labels: CSV files with one row an image and one column a finding (survey, section 5.1.1).

Cells are 1 (present), 0 (absent), -1 (stated as uncertain) or blank (unknown). Policies for -1 follow Irvin et al.,
"CheXpert", AAAI 2019 (U-Ignore, U-Zeros, U-Ones), and U-Evidential keeps it for an evidential head. Error texts name
lines, never the values of an identifying column.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medal.errors import BadTable, UnknownName
from medal.exchange.table import Table as Table
from medal.exchange.table import read_table as read_table

UNCERTAIN: Mapping[str, float] = {"U-Ignore": math.nan, "U-Zeros": 0.0, "U-Ones": 1.0, "U-Evidential": -1.0}
"""Value that a policy trains on where the table says -1."""
_CELLS = {"1": 1.0, "1.0": 1.0, "0": 0.0, "0.0": 0.0, "": math.nan}
_STATED = ("-1", "-1.0")


@dataclass(frozen=True)
class LabelTable:
    """Labels by image.

    Args:
        name: file name, for messages.
        findings: (L) names of the labels.
        keys: (n) what names the image, from the column `key`.
        key: which column that was.
        values: (n, L) float32: 1, 0, NaN unknown, and what the policy makes of -1.
        text: further columns that were asked for and are there, (n) strings each.
        lines: (n) line of each row in the file, from 1.
    """

    name: str
    findings: tuple[str, ...]
    keys: tuple[str, ...]
    key: str
    values: NDArray[np.float32]
    text: Mapping[str, tuple[str, ...]]
    lines: tuple[int, ...]


def label_table(
    table: Table,
    keys: Sequence[str] = ("file", "id"),
    findings: Sequence[str] | None = None,
    text: Sequence[str] = ("patient_id", "split", "sex", "age", "view"),
    uncertain: str = "U-Evidential",
) -> LabelTable:
    """Labels by image, from a table of text.

    Args:
        table: the text.
        keys: columns that may name the image; the first that is there is used.
        findings: columns of labels; None takes every column that is neither in `keys` nor in `text`.
        text: columns that are read as text where they are there.
        uncertain: policy for -1, one of `UNCERTAIN`.

    Raises:
        BadTable: if a column is missing, an image named twice or not at all, or a cell is not 1, 0, -1 or blank.
        UnknownName: on an unknown policy.
    """
    key = next((key for key in keys if key in table.header), keys[0])
    names = table.column(key)
    _distinct(table, key, names)
    if findings is None:
        findings = [name for name in table.header if name and name not in keys and name not in text]
    values = read_values(table, findings, uncertain)
    columns = {name: table.column(name) for name in text if name in table.header}
    return LabelTable(table.name, tuple(findings), names, key, values, columns, table.lines)


def read_values(table: Table, findings: Sequence[str], uncertain: str = "U-Evidential") -> NDArray[np.float32]:
    """Labels of a table.

    Args:
        table: the text.
        findings: (L) columns.
        uncertain: policy for -1.

    Returns:
        (n, L) float32.

    Raises:
        BadTable: on another cell than 1, 0, -1 or blank, with its line and how many more there are.
        UnknownName: on an unknown policy.

    Example:
        >>> table = Table("t.csv", ("file", "Edema"), (("a", "1"), ("b", "-1"), ("c", "")), (2, 3, 4))
        >>> read_values(table, ["Edema"], "U-Zeros").ravel().tolist()
        [1.0, 0.0, nan]
    """
    if uncertain not in UNCERTAIN:
        raise UnknownName.near("policy for uncertain labels", uncertain, UNCERTAIN)
    cells = {**_CELLS, **dict.fromkeys(_STATED, UNCERTAIN[uncertain])}
    out = np.empty((len(table.rows), len(findings)), dtype=np.float32)
    wrong: list[tuple[int, str, str]] = []
    for j, name in enumerate(findings):
        for i, cell in enumerate(table.column(name)):
            value = cells.get(cell)
            if value is None:
                wrong.append((table.lines[i], name, cell))
            else:
                out[i, j] = value
    if wrong:
        line, name, cell = min(wrong)
        raise BadTable(
            f"{table.name}, line {line}, column {name!r}: {_shown(cell)}, expected 1, 0, -1 or blank"
            f"{_more(len(wrong) - 1)}; correct the cell, or name the columns of findings"
        )
    return out


def _distinct(table: Table, key: str, names: Iterable[str]) -> None:
    first: dict[str, int] = {}
    doubles = []
    for name, line in zip(names, table.lines, strict=True):
        if not name:
            raise BadTable(f"{table.name}, line {line}: the column {key!r} is blank; every row must name an image")
        if first.setdefault(name, line) != line:
            doubles.append((first[name], line))
    if doubles:
        several = bool({"reader", "annotator"} & set(table.header))
        raise BadTable(
            f"{table.name}: lines {doubles[0][0]} and {doubles[0][1]} name the same image"
            f"{_more(len(doubles) - 1)}; keep one"
            f"{', and bring in the labels of a second reader with `medal tell`' if several else ''}"
        )


def _more(count: int) -> str:
    return f" (and {count} more)" if count else ""


def _shown(cell: str) -> str:
    """Numbers and short answers as they are; other text may identify somebody and is only described."""
    plain = cell.lower() in ("yes", "no", "true", "false", "positive", "negative", "nan", "none", "na", "n/a", "x", "?")
    number = len(cell) <= 4 and cell.strip("+-.,0123456789eE") == ""
    return repr(cell) if plain or number else f"a text of {len(cell)} characters"
