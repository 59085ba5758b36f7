import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medal.errors import StudyError
from medal.unit_table import read_unit_table, write_unit_table

ROWS = [
    {"id": "I1", "group": "P1", "split": "pool", "view": "PA", "age": ""},
    {"id": "I2", "group": "P1", "split": "pool", "view": 'says "AP", twice\nor so', "age": "61"},
]


def test_round_trip_in_order(tmp_path):
    write_unit_table(tmp_path / "units.csv", ROWS[::-1])
    assert read_unit_table(tmp_path / "units.csv") == ROWS[::-1]
    assert (tmp_path / "units.csv").read_bytes().startswith(b"id,group,split,view,age\r\nI2,P1,pool,")


def test_no_rows(tmp_path):
    write_unit_table(tmp_path / "units.csv", [])
    assert read_unit_table(tmp_path / "units.csv") == []


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(), st.text(), st.text()), unique_by=lambda t: t[0]))
def test_any_text_survives(tmp_path_factory, cells):
    path = tmp_path_factory.mktemp("table") / "units.csv"
    rows = [{"id": i, "group": g, "split": "pool", "note": n} for i, g, n in cells]
    write_unit_table(path, rows)
    assert read_unit_table(path) == rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": "I1", "split": "pool"}], "has no column 'group'; expected id, group, split"),
        (
            [*ROWS, {"id": "I3", "group": "P", "split": "pool"}],
            "unit 'I3' has columns id, group, split; expected id, group, split, view, age",
        ),
        ([ROWS[0], ROWS[0]], "unit 'I1' stands twice"),
        ([{**ROWS[0], "view": "\ud800"}], "a character that UTF-8 cannot write"),
    ],
)
def test_tables_that_are_refused(tmp_path, rows, message):
    with pytest.raises(StudyError, match=message):
        write_unit_table(tmp_path / "units.csv", rows)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id,group\nI1,P1\n", "has columns id, group; expected id, group, split among them"),
        (b"", "has columns ; expected"),
        (b"id,group,split\nI1,P1,pool\nI2,P1\n", "torn row 2; expected 3 cells"),
        (b"id,group,split\nI1,P1,pool,extra\n", "torn row 1"),
        (b"id,group,split\n\xff,P1,pool\n", "is damaged"),
        (b'id,group,split\n"I1,P1,pool\n', "is damaged"),
    ],
)
def test_damaged_files(tmp_path, content, message):
    (tmp_path / "units.csv").write_bytes(content)
    with pytest.raises(StudyError, match=f"{message}.*restore the study from a backup"):
        read_unit_table(tmp_path / "units.csv")


def test_missing_file(tmp_path):
    with pytest.raises(StudyError, match=r"units\.csv is missing"):
        read_unit_table(tmp_path / "units.csv")
