"""A table as plain values: the same rows as CSV for programs and as Markdown for people."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Value = str | int | float | None
DIGITS = 6
"""Decimals in CSV: more than any measure is good for, few enough to be the same bytes on another machine."""
GAP = "-"
"""What stands where there is no value."""


@dataclass(frozen=True)
class Table:
    """Named columns and rows.

    Args:
        name: of its file.
        columns: names, the same in every row.
        rows: values in the order of the columns.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]

    def csv(self) -> bytes:
        """Comma-separated, floats with six decimals, nothing where there is no value."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([_plain(value) for value in row] for row in self.rows)
        return text.getvalue().encode()


def table_of(name: str, columns: Sequence[str], rows: Sequence[Mapping[str, Value]]) -> Table:
    """A table from rows as mappings; a column that a row lacks is empty.

    Example:
        >>> table_of("t", ["a", "b"], [{"a": 1, "b": 0.5}, {"a": 2}]).csv().split()
        [b'a,b', b'1,0.500000', b'2,']
    """
    return Table(name, tuple(columns), tuple(tuple(row.get(column) for column in columns) for row in rows))


def _plain(value: Value) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, float):
        text = f"{value:.{DIGITS}f}"
        return text.lstrip("-") if float(text) == 0 else text
    return str(value)


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are set to the right.

    Example:
        >>> print(markdown(["arm", "AUROC"], [["random", "0.71"]]))
        | arm | AUROC |
        | --- | ---: |
        | random | 0.71 |
    """
    lines = ["| " + " | ".join(columns) + " |", "| --- |" + " ---: |" * (len(columns) - 1)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def number(value: float | None, digits: int = 3) -> str:
    """A number as people read it.

    Example:
        >>> number(0.71234), number(float("nan")), number(-0.00001)
        ('0.712', '-', '0.000')
    """
    if value is None or not math.isfinite(value):
        return GAP
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text


def signed(value: float | None, digits: int = 3) -> str:
    """A difference with its sign.

    Example:
        >>> signed(0.0123), signed(-0.0004), signed(None)
        ('+0.012', '0.000', '-')
    """
    text = number(value, digits)
    return text if text == GAP or text.startswith("-") or float(text) == 0 else f"+{text}"


def interval(low: float, high: float, digits: int = 3) -> str:
    """Both ends of an interval.

    Example:
        >>> interval(-0.01, 0.02)
        '-0.010 to +0.020'
    """
    return (
        GAP if not (math.isfinite(low) and math.isfinite(high)) else f"{signed(low, digits)} to {signed(high, digits)}"
    )
