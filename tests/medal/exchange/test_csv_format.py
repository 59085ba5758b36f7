"""The core's format: what is written can be read, and what people write wrongly is said with its line."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import pytest
from PIL import Image

from medal.errors import BadTable
from medal.exchange import AnswerRow, ExchangeFormat, Item, WorkList
from medal.exchange.csv_format import CsvFormat

LABELS = ("Edema", "Pleural Effusion")
ITEMS = (
    Item(1, "Ia", "E1", "at random, for measuring"),
    Item(2, "Ib", "E1", "unsure about Edema (score .31, 98th percentile)", {"Edema": 0.314, "Pleural Effusion": 0.5}),
)
LIST = WorkList("ask_001", LABELS, ITEMS)


def previews() -> dict[str, bytes]:
    buffer = io.BytesIO()
    Image.new("L", (40, 30), 128).save(buffer, "PNG")
    return {item.id: buffer.getvalue() for item in ITEMS}


def read(folder: Path, content: str, labels: tuple[str, ...] = LABELS):
    path = folder / "a.csv"
    path.write_text(content, encoding="utf-8")
    return CsvFormat().read(path, labels)


def test_it_is_a_format() -> None:
    assert isinstance(CsvFormat(), ExchangeFormat)


def test_what_is_written_is_read_as_blank_and_then_as_filled(tmp_path: Path) -> None:
    paths = CsvFormat().write(LIST, previews(), tmp_path)
    assert [path.name for path in paths] == ["worklist.csv", "worklist.html", "contact_sheet.png"]
    blank = CsvFormat().read(paths[0], LABELS)
    assert [(row.id, row.ask, row.blank) for row in blank.rows] == [("Ia", "ask_001", True), ("Ib", "ask_001", True)]
    assert blank.ignored == ()
    with paths[0].open(newline="", encoding="utf-8-sig") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["predicted Edema"] for row in rows] == ["", "0.31"]
    rows[1] |= {"Edema": "1", "Pleural Effusion": "-1", "reader": "R1", "seconds": "12,5", "comment": "x"}
    with paths[0].open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    row = CsvFormat().read(paths[0], LABELS).rows[1]
    assert row == AnswerRow(3, "Ib", {"Edema": 1.0, "Pleural Effusion": -1.0}, "ask_001", "R1", 12.5, "", "x")


def test_files_that_are_there_stay(tmp_path: Path) -> None:
    paths = CsvFormat().write(LIST, previews(), tmp_path)
    for path in paths:
        path.write_text("somebody's work")
    assert CsvFormat().write(LIST, previews(), tmp_path) == paths
    assert {path.read_text() for path in paths} == {"somebody's work"}


def test_a_plain_table_and_a_list_without_extras(tmp_path: Path) -> None:
    assert len(CsvFormat(contact_sheet=False, page=False).write(LIST, {}, tmp_path)) == 1
    reading = read(tmp_path, "id;Edema;date\nIa;1;2024\nIb;;2024\n")
    assert reading.ignored == ("date",)
    first, second = reading.rows
    assert (first.values, first.ask, first.reader) == ({"Edema": 1.0}, "", "")
    assert math.isnan(first.seconds)
    assert second.blank


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        ("Ia,2,,,,,", "Edema: '2', expected 1, 0, -1 or blank"),
        ("Ia,ja,,,,,", "Edema: 'ja', expected 1, 0, -1 or blank"),
        ("Ia,0.5,,,,,", "Edema: '0.5', expected 1, 0, -1 or blank"),
        ("Ia,,Jane Roe,,,,", "Pleural Effusion: a text of 8 characters, expected 1, 0, -1 or blank"),
        ("Ia,1,,quality,,,", "has labels and cannot_label; keep one of them"),
        ("Ia,1,,,,soon,", "seconds: a text of 4 characters, expected a time such as 40 or blank"),
        ("Ia,1,,,,-3,", "seconds: '-3', expected a time such as 40 or blank"),
        ("Ia,1,,,,90000,", "seconds: '90000', expected a time such as 40 or blank"),
        (",1,,,,,", "the column 'id' is blank"),
        (f"Ia,1,,,{'R' * 41},,", "reader: more than 40 characters, expected a short name such as R1"),
        ("Ia,1", "not 7 cells as in the header"),
    ],
)
def test_one_bad_row_beside_a_good_one(tmp_path: Path, cells: str, problem: str) -> None:
    header = "id,Edema,Pleural Effusion,cannot_label,reader,seconds,comment"
    reading = read(tmp_path, f"{header}\n{cells}\nIb,0,1,,R1,1.5,\n")
    bad, good = reading.rows
    assert (bad.line, bad.problems) == (2, (problem,))
    assert (good.line, good.problems, good.values) == (3, (), {"Edema": 0.0, "Pleural Effusion": 1.0})


def test_cannot_label(tmp_path: Path) -> None:
    reading = read(tmp_path, "id,Edema,cannot_label\nIa,,quality\nIb,1,0\nIc,,no\n")
    assert [(row.cannot_label, row.blank) for row in reading.rows] == [("quality", False), ("", False), ("", True)]


def test_doubled_rows(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        "id,Edema,reader\nIa,1,R1\nIa,1,R1\nIa,0,R2\nIb,1,R1\nIb,0,R1\nIb,0,R2\nIc,,R1\nIc,1,R1\n",
    )
    told = "lines 5, 6 answer differently about one image; keep one"
    assert [(row.line, row.problems) for row in reading.rows if not row.blank] == [
        (2, ()), (4, ()), (5, (told,)), (6, (told,)), (7, ()), (9, ()),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("Id,Edema", "has no column 'id'; rename 'id'"),
        ("file,Edema", "has no column 'id'; take the ids from the work list"),
        ("id,Edma", "unknown finding 'Edma'; did you mean 'Edema'?"),
        ("id,pleural effusion", "unknown finding 'pleural effusion'; did you mean 'Pleural Effusion'?"),
        ("id,Nodule", "unknown finding 'Nodule'; the study asks about Edema, Pleural Effusion; take the column out"),
        ("id,reader", "has no column of a finding; the study asks about Edema, Pleural Effusion"),
    ],
)
def test_wrong_columns_refuse_the_file(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(BadTable) as error:
        read(tmp_path, f"{header}\nIa,1\n")
    assert message in str(error.value)


def test_one_finding_of_an_image(tmp_path: Path) -> None:
    item = Item(1, "Ia", "", "unsure about Edema", {"Edema": 0.4, "Pleural Effusion": 0.2}, ("Edema",))
    (path,) = CsvFormat(False, False).write(WorkList("ask_002", LABELS, (item,)), {}, tmp_path)
    with path.open(newline="", encoding="utf-8-sig") as handle:
        (row,) = csv.DictReader(handle)
    assert row["asked"] == "Edema"
    assert (row["predicted Edema"], row["predicted Pleural Effusion"]) == ("0.40", "")


@pytest.mark.parametrize(("header", "own"), [("Reader", "reader"), ("Cannot label", "cannot_label")])
def test_a_column_of_ours_in_other_letters_is_not_passed_over(tmp_path: Path, header: str, own: str) -> None:
    with pytest.raises(BadTable, match=f"the column {header!r} is not read; rename it {own!r}"):
        read(tmp_path, f"id,Edema,{header}\nIa,1,R2\n")
