"""The practice hospital: untidy, learnable, and answered by readers who know what was drawn."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from medal.errors import BadTable, ConfigError, StudyError
from modalities.chest_xray import Folder
from modalities.chest_xray.practice import KEY, answer, write

NAMES = ("Cardiomegaly", "Effusion")


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory):
    base = tmp_path_factory.mktemp("practice")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDAL_PRIVATE", str(base / "private"))
        said = write(base / "hospital", 10)
        found = Folder(base / "hospital", size=32, findings=NAMES, workers=1).open(base / "cache")
        yield base, said, found.source, found.truth


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as handle:
        return list(csv.DictReader(handle))


def test_the_folder(opened) -> None:
    base, said, source, truth = opened
    files = list((base / "hospital").rglob("*.dcm"))
    assert said.startswith(f"{len(files) - 1} radiographs of 10 drawn patients and one torn file")
    assert len(source.ids) == len(files) - 1
    assert len(source.quarantined) == 1
    assert len(set(source.groups)) == 10
    exams = list(source.meta["exam"])
    assert max(exams.count(exam) for exam in exams) == 2
    assert truth is not None
    known = (~truth.values.isnan()).all(1)
    assert int(known.sum()) == len(rows(base / "hospital" / "labels.csv")) < len(source.ids)


def test_a_reader_fills_in_what_was_drawn(opened, tmp_path: Path) -> None:
    base, _, source, _ = opened
    path = tmp_path / "worklist.csv"
    path.write_text(
        "ask,no,id,Effusion,cannot_label,reader,seconds\n" + "".join(f"ask_001,1,{i},,,,\n" for i in source.ids)
    )
    assert answer(path).startswith(f"R1 filled in {len(source.ids)} of {len(source.ids)} rows")
    key = {row["file"]: row["Effusion"] for row in rows(base / "hospital" / KEY)}
    filled = rows(path)
    assert sorted(row["Effusion"] for row in filled) == sorted(key.values())
    assert all(row["reader"] == "R1" and 15 <= float(row["seconds"]) <= 70 for row in filled)
    assert answer(path).startswith("R1 filled in 0 of")
    other = tmp_path / "other.csv"
    answer(path, "R2", 0.3, other)
    wrong = sum(a["Effusion"] != b["Effusion"] for a, b in zip(filled, rows(other), strict=True))
    assert 0 < wrong < 0.6 * len(filled)
    assert {row["reader"] for row in rows(other)} == {"R2"}
    assert {row["reader"] for row in rows(path)} == {"R1"}


def test_what_makes_no_sense(opened, tmp_path: Path) -> None:
    base, *_ = opened
    with pytest.raises(ConfigError, match="holds something already"):
        write(base / "hospital")
    with pytest.raises(ConfigError, match="at least 8"):
        write(tmp_path / "new", 2)
    path = tmp_path / "list.csv"
    path.write_text("id,Effusion\nInobody,\n")
    with pytest.raises(StudyError, match="Inobody is none of a practice folder"):
        answer(path)
    path.write_text("id,Scar\nInobody,\n")
    with pytest.raises(BadTable, match="no finding of the practice folder"):
        answer(path)
    with pytest.raises(ConfigError, match="share from 0 to below 1"):
        answer(path, errors=1.0)
