"""Work lists as CSV tables: one row an image, one column a label; beside them contact sheets and a page to read on.

Cells are 1 (present), 0 (absent), -1 (uncertain) or blank (not answered). Any CSV with a column `id` and columns named
after labels is understood, from Excel too.
"""

from __future__ import annotations

import csv
import difflib
import io
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medal.errors import BadTable
from medal.exchange.contact_sheet import contact_sheets
from medal.exchange.page import page
from medal.exchange.table import Table, read_table
from medal.exchange.worklist import AnswerRow, Item, Reading, WorkList
from medal.storage import write_bytes

WORKLIST = "worklist.csv"
PAGE = "worklist.html"
PREDICTED = "predicted "
"""Begins the names of columns with probabilities; they are for the reader's eyes and are not read back."""
SHOWN = ("ask", "no", "id", "exam", "reason", "asked")
FILLED = ("cannot_label", "reader", "seconds", "comment")
_VALUES: Mapping[str, float] = {
    **dict.fromkeys(("1", "1.0", "1,0"), 1.0),
    **dict.fromkeys(("0", "0.0", "0,0"), 0.0),
    **dict.fromkeys(("-1", "-1.0", "-1,0", "−1"), -1.0),
}
_LONGEST = 24 * 3600.0
"""Seconds for one image above which a time is a slip."""


@dataclass(frozen=True)
class CsvFormat:
    """The format of the core: a table to fill in, contact sheets to print, and a page to read and fill in offline.

    Args:
        contact_sheet: write contact sheets.
        page: write the page.
    """

    contact_sheet: bool = True
    page: bool = True

    def write(self, worklist: WorkList, previews: Mapping[str, bytes], folder: Path) -> list[Path]:
        """Writes what is missing; see `ExchangeFormat.write`."""
        makers: dict[str, Callable[[], bytes]] = {WORKLIST: lambda: _table(worklist)}
        if self.page:
            makers[PAGE] = lambda: page(worklist, previews).encode()
        paths = [folder / name for name in makers]
        for path, make in zip(paths, makers.values(), strict=True):
            if not path.exists():
                write_bytes(path, make())
        if self.contact_sheet:
            paths += contact_sheets(worklist, previews, folder)
        return paths

    def read(self, path: Path, labels: Sequence[str]) -> Reading:
        """Reads a table; see `ExchangeFormat.read`. A row with a problem is kept apart from the good ones.

        Raises:
            BadTable: without a column `id` or of any label, or with a column that is nearly named like a label.
        """
        table = read_table(path, torn=True)
        ignored = _columns(table, labels)
        rows = [_row(table, line, cells, labels) for line, cells in zip(table.lines, table.rows, strict=True)]
        shape = f"not {len(table.header)} cells as in the header"
        rows += [AnswerRow(line, "", problems=(shape,)) for line in table.torn]
        return Reading(table.name, tuple(_distinct(sorted(rows, key=lambda row: row.line))), ignored)


def _table(worklist: WorkList) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    inner = any(item.asked for item in worklist.items)
    shown = [name for name in SHOWN if name != "asked" or inner]
    guessed = any(item.predicted for item in worklist.items)
    predicted = [PREDICTED + name for name in worklist.labels] if guessed else []
    writer.writerow([*shown, *predicted, *worklist.labels, *FILLED])
    for item in worklist.items:
        cells = {"ask": worklist.name, "no": item.number, "id": item.id, "exam": item.exam, "reason": item.reason}
        cells["asked"] = ", ".join(item.asked)
        guesses = [_probability(item, name) for name in worklist.labels] if guessed else []
        writer.writerow([*(cells[name] for name in shown), *guesses, *([""] * (len(worklist.labels) + len(FILLED)))])
    return text.getvalue().encode("utf-8-sig")  # Excel takes a table without the mark for another alphabet


def _probability(item: Item, name: str) -> str:
    value = item.predicted.get(name)
    return "" if value is None or (item.asked and name not in item.asked) else f"{value:.2f}"


def _columns(table: Table, labels: Sequence[str]) -> tuple[str, ...]:
    """Names of the columns that are left alone.

    Raises:
        BadTable: where a column is missing, or one was probably meant for a label.
    """
    if "id" not in table.header:
        near = difflib.get_close_matches("id", [name.lower() for name in table.header], n=1, cutoff=0.6)
        hint = f"rename {near[0]!r}" if near else "take the ids from the work list"
        raise BadTable(f"{table.name} has no column 'id'; {hint}")
    known = {*labels, *SHOWN, *FILLED}
    unknown = [n for n in table.header if n and n not in known and not n.startswith(PREDICTED)]
    folded = {name.casefold().replace(" ", ""): name for name in labels}
    for name in unknown:
        if (own := name.casefold().replace(" ", "_")) in FILLED:
            raise BadTable(f"{table.name}: the column {name!r} is not read; rename it {own!r}")
        near = difflib.get_close_matches(name.casefold().replace(" ", ""), folded, n=1, cutoff=0.75)
        if near:
            raise BadTable(f"{table.name}: unknown finding {name!r}; did you mean {folded[near[0]]!r}?")
        cells = [cell for cell in table.column(name) if cell]
        if cells and all(cell in _VALUES for cell in cells):
            raise BadTable(
                f"{table.name}: unknown finding {name!r}; the study asks about {', '.join(labels)}; "
                "take the column out of the table"
            )
    if not any(name in table.header for name in (*labels, "cannot_label")):
        raise BadTable(f"{table.name} has no column of a finding; the study asks about {', '.join(labels)}")
    return tuple(unknown)


def _row(table: Table, line: int, cells: tuple[str, ...], labels: Sequence[str]) -> AnswerRow:
    cell = dict(zip(table.header, cells, strict=True))
    problems, values = [], {}
    for name in labels:
        text = cell.get(name, "")
        if text and text not in _VALUES:
            problems.append(f"{name}: {_shown(text)}, expected 1, 0, -1 or blank")
        elif text:
            values[name] = _VALUES[text]
    seconds, wrong = _seconds(cell.get("seconds", ""))
    problems += wrong
    reader = cell.get("reader", "")
    if len(reader) > 40 or not reader.isprintable():
        problems.append("reader: more than 40 characters, expected a short name such as R1")
        reader = ""
    cannot = cell.get("cannot_label", "")
    if cannot in ("0", "no", "No"):
        cannot = ""
    if cannot and values:
        problems.append("has labels and cannot_label; keep one of them")
    if not cell["id"] and (values or cannot):
        problems.append("the column 'id' is blank")
    ask, comment = cell.get("ask", ""), cell.get("comment", "")
    return AnswerRow(line, cell["id"], values, ask, reader, seconds, cannot, comment, tuple(problems))


def _seconds(text: str) -> tuple[float, list[str]]:
    if not text:
        return math.nan, []
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = math.nan
    if math.isfinite(value) and 0 <= value <= _LONGEST:
        return value, []
    return math.nan, [f"seconds: {_shown(text)}, expected a time such as 40 or blank"]


def _distinct(rows: Sequence[AnswerRow]) -> list[AnswerRow]:
    """One row an image and reader: of equal rows the first stands, of differing ones none can be taken."""
    same: dict[tuple[str, str], list[AnswerRow]] = defaultdict(list)
    for row in rows:
        if row.id and not row.blank:
            same[row.id, row.reader].append(row)
    out = []
    for row in rows:
        others = same.get((row.id, row.reader), [row])
        if not row.blank and len({(tuple(sorted(r.values.items())), r.cannot_label) for r in others}) > 1:
            lines = ", ".join(str(other.line) for other in others)
            row = replace(row, problems=(*row.problems, f"lines {lines} answer differently about one image; keep one"))
        elif not row.blank and not row.problems and row is not others[0]:
            continue
        out.append(row)
    return out


def _shown(cell: str) -> str:
    """Numbers and short answers as they are; other text may identify somebody and is only described."""
    plain = cell.lower() in ("yes", "no", "ja", "nein", "true", "false", "positive", "negative", "nan", "na", "x", "?")
    number = len(cell) <= 6 and cell.strip("+-.,0123456789eE") == ""
    return repr(cell) if plain or number else f"a text of {len(cell)} characters"
