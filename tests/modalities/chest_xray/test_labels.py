from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from medal.errors import BadTable, UnknownName
from modalities.chest_xray.labels import label_table, read_table, read_values


def table(tmp_path: Path, text: str | bytes):
    path = tmp_path / "labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(path)


def test_cells_are_read_as_stated(tmp_path: Path):
    read = label_table(table(tmp_path, "file,sex,Edema,Mass\na.dcm,F,1,0.0\nb.dcm,M, -1 ,\n"))
    assert read.findings == ("Edema", "Mass")
    assert read.keys == ("a.dcm", "b.dcm")
    assert read.text == {"sex": ("F", "M")}
    assert read.values.dtype == np.float32
    np.testing.assert_equal(read.values, np.array([[1, 0], [-1, math.nan]], dtype=np.float32))


@pytest.mark.parametrize(
    ("policy", "value"), [("U-Ignore", math.nan), ("U-Zeros", 0.0), ("U-Ones", 1.0), ("U-Evidential", -1.0)]
)
def test_policies_change_uncertain_cells_alone(tmp_path: Path, policy: str, value: float):
    text = table(tmp_path, "file,Edema\na,1\nb,0\nc,-1.0\nd,\n")
    np.testing.assert_equal(read_values(text, ["Edema"], policy).ravel(), [1, 0, value, math.nan])


def test_an_unknown_policy_names_the_nearest(tmp_path: Path):
    with pytest.raises(UnknownName, match="did you mean 'U-Zeros'"):
        read_values(table(tmp_path, "file,Edema\na,1\n"), ["Edema"], "U-Zero")


@pytest.mark.parametrize("text", ["file;Edema\na;1\n", "file\tEdema\na\t1\n", "\ufefffile,Edema\r\na,1\r\n\r\n"])
def test_what_spreadsheets_export_is_read(tmp_path: Path, text: str):
    read = label_table(table(tmp_path, text))
    assert (read.keys, read.findings, read.values.tolist()) == (("a",), ("Edema",), [[1.0]])


def test_blank_columns_of_a_spreadsheet_are_no_findings(tmp_path: Path):
    assert label_table(table(tmp_path, "file,Edema,,\na,1,,\n")).findings == ("Edema",)


def test_a_missing_column_names_the_nearest(tmp_path: Path):
    text = table(tmp_path, "file,Efusion\na,1\n")
    with pytest.raises(BadTable, match="has no column 'Effusion'; did you mean 'Efusion'"):
        label_table(text, findings=["Effusion"])
    with pytest.raises(BadTable, match="no column 'Hernia'; its columns: file, Efusion"):
        label_table(text, findings=["Hernia"])


def test_a_table_without_a_column_of_names_is_refused(tmp_path: Path):
    with pytest.raises(BadTable, match="no column 'file'; did you mean 'files'"):
        label_table(table(tmp_path, "files,Edema\na,1\n"))


def test_images_named_twice_are_told_by_line_and_not_by_name(tmp_path: Path):
    text = table(tmp_path, "file,Edema\nDOE.dcm,1\nx,0\nDOE.dcm,0\nx,1\n")
    with pytest.raises(BadTable, match=r"lines 2 and 4 name the same image \(and 1 more\); keep one") as caught:
        label_table(text)
    assert "DOE" not in str(caught.value)


def test_a_row_without_a_name_is_refused(tmp_path: Path):
    with pytest.raises(BadTable, match="line 3: the column 'file' is blank"):
        label_table(table(tmp_path, "file,Edema\na,1\n,0\n"))


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_another_encoding_is_told_by_line_and_byte(tmp_path: Path, encoding: str):
    content = "file,Ödem\na,1\n".encode(encoding)
    with pytest.raises(BadTable, match="line 1: byte 0xd6 at position 5 is not UTF-8; save the table as 'CSV UTF-8'"):
        table(tmp_path, content)
    with pytest.raises(BadTable, match="line 3: byte 0xfc"):
        table(tmp_path, b"file,Edema\na,1\nM\xfcller,0\n")


def test_wrong_cells_are_told_by_line_and_counted(tmp_path: Path):
    text = table(tmp_path, "file,Edema,Mass\na,1,0\nb,2,0\nc,0,yes\nd,1,1\n")
    with pytest.raises(BadTable, match=r"line 3, column 'Edema': '2', expected 1, 0, -1 or blank \(and 1 more\)"):
        label_table(text)


def test_text_in_a_wrong_cell_is_described_and_not_repeated(tmp_path: Path):
    text = table(tmp_path, "file,PatientName,mrn\na,Doe^Jane,12345678\n")
    with pytest.raises(BadTable, match="column 'PatientName': a text of 8 characters") as caught:
        label_table(text)
    assert "Doe" not in str(caught.value)
    with pytest.raises(BadTable, match="column 'mrn': a text of 8 characters"):
        label_table(text, findings=["mrn"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no content"),
        ("\n\n", "has no content"),
        ("file,Edema\n", "no row below its header"),
        ("file,Edema,Edema\na,1,1\n", "column 'Edema' more than once"),
        ("file,Edema\na,1\nb,1,0\nc\n", r"line 3: not 2 cells as in the header \(and 1 more\)"),
        ('file,Edema\n"a,1\n', "line 2: .*check the quotes"),
    ],
)
def test_broken_tables_say_where(tmp_path: Path, text: str, message: str):
    with pytest.raises(BadTable, match=message):
        table(tmp_path, text)


def test_a_missing_table_is_a_typed_error(tmp_path: Path):
    with pytest.raises(BadTable, match=r"the table none\.csv cannot be read: No such file"):
        read_table(tmp_path / "none.csv")
