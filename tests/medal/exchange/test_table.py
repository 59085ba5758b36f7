"""Tables as Excel and people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from medal.errors import BadTable
from medal.exchange import read_table


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        "id,Edema\na,1\nb,0\n",
        "\ufeffid,Edema\r\na,1\r\nb,0\r\n",
        "id;Edema\na;1\nb;0\n",
        "id\tEdema\na\t1\n\nb\t0",
        '"id", "Edema"\n"a",1\n b ,0\n,\n',
        "sep=;\r\nid;Edema\r\na;1\r\nb;0\r\n",
    ],
)
def test_every_dialect_says_the_same(tmp_path: Path, content: str) -> None:
    if content.startswith('"id", '):
        content = content.replace(", ", ",")
    table = read_table(write(tmp_path, content))
    assert table.header == ("id", "Edema")
    assert table.column("id") == ("a", "b")
    assert table.column("Edema") == ("1", "0")


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, 'id,note\na,"two\nlines"\n\nb,x\n'))
    assert table.lines == (3, 5)
    assert read_table(write(tmp_path, "sep=,\nid,note\na,x\n")).lines == (3,)


def test_torn_rows_are_refused_or_listed(tmp_path: Path) -> None:
    path = write(tmp_path, "id,Edema\na,1\nb\nc,0,1\nd,0\n")
    with pytest.raises(BadTable, match=r"^t.csv, line 3: not 2 cells as in the header \(and 1 more\)$"):
        read_table(path)
    table = read_table(path, torn=True)
    assert table.torn == (3, 4)
    assert (table.column("id"), table.lines) == (("a", "d"), (2, 5))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no content"),
        (b"id,Edema\n", "has no row below its header"),
        (b"id,Edema,Edema\na,1,1\n", "has the column 'Edema' more than once"),
        (
            "id,Edéma\na,1\n".encode("latin-1"),
            "line 1: byte 0xe9 at position 5 is not UTF-8; save the table as 'CSV UTF-8'",
        ),
        ("id,Edema\na,1\n".encode("utf-16"), "byte 0xff at position 0 is not UTF-8"),
        (b'id,Edema\n"a,1\n', "line 2: unexpected end of data; check the quotes"),
    ],
)
def test_what_is_no_table(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(BadTable) as error:
        read_table(write(tmp_path, content))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_or_nothing(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.csv"):
        with pytest.raises(BadTable, match="cannot be read: "):
            read_table(path)


def test_a_missing_column_names_the_nearest(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "id,Edema\na,1\n"))
    with pytest.raises(BadTable, match="has no column 'Edem'; did you mean 'Edema'"):
        table.column("Edem")
    with pytest.raises(BadTable, match="has no column 'zzz'; its columns: id, Edema"):
        table.column("zzz")
