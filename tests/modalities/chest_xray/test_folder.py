from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from medal.errors import BadTable, ConfigError, EmptySource, SplitOverlap
from medal.source import Opened
from modalities.chest_xray import Folder


@pytest.fixture(autouse=True)
def private(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("private")
    monkeypatch.setenv("MEDAL_PRIVATE", str(folder))
    return folder


@pytest.fixture
def root(tmp_path: Path, write_dicom, film: np.ndarray) -> Path:
    """Five DICOM files of three patients in two folders."""
    (tmp_path / "root" / "x").mkdir(parents=True)
    (tmp_path / "root" / "y").mkdir()
    for i, (name, patient) in enumerate(
        [("x/a.dcm", "P1"), ("x/b.dcm", "P1"), ("y/a.dcm", "P2"), ("y/c.dcm", "P3"), ("y/d", "P3")]
    ):
        tags = {"PatientID": patient, "SOPInstanceUID": f"1.2.{i + 1}", "PatientSex": "F", "ViewPosition": "PA"}
        write_dicom(np.roll(film, 3 * i, axis=0), name=f"root/{name}", **tags)
    return tmp_path / "root"


def put(root: Path, text: str) -> None:
    (root / "labels.csv").write_text(text, encoding="utf-8")


def values_of(opened: Opened) -> torch.Tensor:
    assert opened.truth is not None
    return opened.truth.values


def by_label(opened: Opened) -> dict[str, str]:
    """Which patient has each pattern of labels; the rows themselves are in the order of pseudonyms."""
    return {str(row): group for row, group in zip(values_of(opened).tolist(), opened.source.groups, strict=True)}


def test_paths_of_the_table_meet_the_files(root: Path, tmp_path: Path):
    put(root, "file,Edema,Mass\nx/a.dcm,1,0\n./x/b.dcm,0,1\ny\\a.dcm,1,1\nc.dcm,0,0\nd,-1,\n")
    opened = Folder(root, size=16).open(tmp_path / "cache")
    assert opened.source.labels == ("Edema", "Mass")
    assert opened.source.ids == tuple(sorted(opened.source.ids))
    assert opened.source.splits is None
    assert len(set(opened.source.groups)) == 3
    patient = by_label(opened)
    assert patient["[1.0, 0.0]"] == patient["[0.0, 1.0]"] != patient["[1.0, 1.0]"]
    assert patient["[0.0, 0.0]"] == patient["[-1.0, nan]"]
    assert set(opened.source.meta["sex"]) == {"F"}


def test_a_bare_name_that_two_files_share_meets_none(root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    put(root, "file,Edema\na.dcm,1\nb.dcm,1\n")
    with caplog.at_level(logging.INFO):
        values = values_of(Folder(root, size=16).open(tmp_path / "cache"))
    assert int(torch.isnan(values).sum()) == 4
    assert "1 rows match no file, 4 files have no row" in caplog.text


def test_unique_identifiers_and_pseudonyms_meet_the_files(root: Path, tmp_path: Path):
    put(root, "id,Edema\n1.2.1,1\n1.2.3,0\n")
    first = Folder(root, size=16).open(tmp_path / "cache")
    known = {name: v for name, v in zip(first.source.ids, values_of(first)[:, 0].tolist(), strict=True) if v == v}
    assert sorted(known.values()) == [0.0, 1.0]
    put(root, "id,Edema\n" + "".join(f"{name},{v:.0f}\n" for name, v in known.items()))
    second = Folder(root, size=16).open(tmp_path / "cache")
    assert torch.equal(values_of(first).nan_to_num(9), values_of(second).nan_to_num(9))


def test_the_order_of_folder_and_table_changes_nothing(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    put(root, "file,Edema\nx/a.dcm,1\nx/b.dcm,0\ny/c.dcm,1\n")
    first = Folder(root, size=16).open(tmp_path / "one")
    put(root, "file,Edema\ny/c.dcm,1\nx/b.dcm,0\nx/a.dcm,1\n")
    from modalities.chest_xray import folder

    walk = folder._walk
    monkeypatch.setattr(folder, "_walk", lambda root: reversed(list(walk(root))))
    second = Folder(root, size=16).open(tmp_path / "two")
    assert (first.source.ids, first.source.groups) == (second.source.ids, second.source.groups)
    assert first.source.digest == second.source.digest
    assert torch.equal(first.source.images(range(5)), second.source.images(range(5)))
    assert torch.equal(values_of(first).nan_to_num(9), values_of(second).nan_to_num(9))


def test_rows_that_meet_the_same_file_are_refused(root: Path, tmp_path: Path):
    put(root, "file,Edema\nx/b.dcm,1\nb.dcm,1\n")
    with pytest.raises(BadTable, match="lines 2 and 3 name the same image"):
        Folder(root, size=16).open(tmp_path / "cache")


def test_a_second_reader_is_sent_to_another_way_in(root: Path, tmp_path: Path):
    put(root, "file,reader,Edema\nx/b.dcm,a,1\nx/b.dcm,b,0\n")
    with pytest.raises(BadTable, match=r"lines 2 and 3 name the same image; keep one, and bring in .* `medal tell`"):
        Folder(root, size=16).open(tmp_path / "cache")


def test_a_table_of_another_folder_is_refused(root: Path, tmp_path: Path):
    put(root, "file,Edema\nDOE1.dcm,1\nDOE2.dcm,1\n")
    with pytest.raises(BadTable, match="none of 2 rows names a file; the column 'file' must hold paths") as caught:
        Folder(root, size=16).open(tmp_path / "cache")
    assert "DOE" not in str(caught.value)


def test_a_folder_without_labels_has_no_truth(root: Path, tmp_path: Path):
    opened = Folder(root, findings=["Edema"], size=16).open(tmp_path / "cache")
    assert opened.truth is None
    assert opened.source.labels == ("Edema",)
    put(root, "file,patient_id,split\nx/a.dcm,P1,train\ny/a.dcm,P2,test\n")
    split = Folder(root, findings=["Edema"], size=16).open(tmp_path / "cache")
    assert split.truth is None
    assert sorted(split.source.splits or ()) == ["pool", "pool", "pool", "pool", "test"]


def test_a_folder_without_labels_and_findings_is_refused(root: Path, tmp_path: Path):
    with pytest.raises(BadTable, match=r"add labels\.csv or set findings"):
        Folder(root).open(tmp_path / "cache")
    put(root, "file,split\nx/a.dcm,train\n")
    with pytest.raises(BadTable, match="no column of findings"):
        Folder(root).open(tmp_path / "cache")


def test_the_split_of_the_table_is_kept_and_follows_the_patient(root: Path, tmp_path: Path):
    put(root, "file,split,Edema\nx/a.dcm,Train,1\nx/b.dcm,,0\ny/a.dcm,val,1\ny/c.dcm,test,1\n")
    source = Folder(root, size=16).open(tmp_path / "cache").source
    assert source.splits is not None
    parts = dict(zip(source.groups, source.splits, strict=True))
    assert sorted(source.splits) == ["pool", "pool", "test", "test", "validation"], "blank rows go with their patient"
    assert sorted(parts.values()) == ["pool", "test", "validation"]


def test_a_patient_in_two_splits_is_refused_without_a_name(root: Path, tmp_path: Path):
    put(root, "file,patient_id,split,Edema\nx/a.dcm,P1,train,1\nx/b.dcm,P1,test,0\n")
    with pytest.raises(SplitOverlap, match=r"1 of 3 patients stand in two splits.*P[a-z0-9]{12}") as caught:
        Folder(root, size=16).open(tmp_path / "cache")
    assert "P1" not in str(caught.value)


def test_an_unknown_split_is_told_by_line(root: Path, tmp_path: Path):
    put(root, "file,split,Edema\nx/a.dcm,train,1\nx/b.dcm,holdout,0\n")
    with pytest.raises(BadTable, match="line 3: unknown split; expected train, validation, test or blank"):
        Folder(root, size=16).open(tmp_path / "cache")


def test_the_table_fills_what_images_lack(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    root = tmp_path / "root"
    root.mkdir()
    rng = np.random.default_rng(1)
    for name in "abc":
        Image.fromarray(rng.integers(0, 255, (40, 40), dtype=np.uint8)).save(root / f"{name}.png")
    put(root, "file,patient_id,sex,age,view,Edema\na.png,7,female,061Y,pa,1\nb.png,7,M,200,AP,0\n")
    with caplog.at_level(logging.INFO):
        source = Folder(root, size=16).open(tmp_path / "cache").source
    assert sorted(source.meta["sex"]) == ["", "F", "M"]
    assert sorted(source.meta["age"]) == ["", "", "61"]
    assert sorted(source.meta["view"]) == ["", "AP", "PA"]
    assert len(set(source.groups)) == 2
    assert "1 of 3 images name no patient" in caplog.text


def test_what_dicom_says_stands(root: Path, tmp_path: Path):
    put(root, "file,patient_id,sex,Edema\nx/a.dcm,other,M,1\n")
    source = Folder(root, size=16).open(tmp_path / "cache").source
    assert set(source.meta["sex"]) == {"F"}
    assert len(set(source.groups)) == 3


def test_broken_files_are_quarantined_and_other_body_parts_too(
    root: Path, tmp_path: Path, write_dicom, film: np.ndarray
):
    (root / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    write_dicom(film, name="root/hand.dcm", BodyPartExamined="HAND", SOPInstanceUID="1.2.9")
    (root / "notes.txt").write_text("no image")
    (root / ".hidden.dcm").write_bytes(b"")
    opened = Folder(root, findings=["Edema"], size=16).open(tmp_path / "cache")
    assert len(opened.source.ids) == 5
    assert len(opened.source.quarantined) == 2
    assert any("HAND" in reason for reason in opened.source.quarantined.values())
    every = Folder(root, findings=["Edema"], size=16, body_parts=None).open(tmp_path / "cache")
    assert len(every.source.quarantined) == 1
    assert every.source.digest != opened.source.digest


def test_only_broken_files_are_an_error(tmp_path: Path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a.dcm").write_bytes(b"")
    with pytest.raises(EmptySource, match="none of 1 files can be used; 1 times: the file is empty"):
        Folder(tmp_path / "root", findings=["Edema"]).open(tmp_path / "cache")


def test_wrong_folders_and_words_are_refused(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(EmptySource, match="holds no DICOM, PNG or JPEG file"):
        Folder(tmp_path / "empty", findings=["Edema"]).open(tmp_path / "cache")
    with pytest.raises(ConfigError, match=r"does not exist; set data\.root"):
        Folder(tmp_path / "none", findings=["Edema"]).open(tmp_path / "cache")
    with pytest.raises(ConfigError, match="expected 'private' or 'public'"):
        Folder(tmp_path / "empty", findings=["Edema"], identity="secret").open(tmp_path / "cache")


def test_one_patient_for_all_images_is_noticed(
    tmp_path: Path, write_dicom, film: np.ndarray, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "root").mkdir()
    for i in range(2):
        write_dicom(np.roll(film, i), name=f"root/{i}.dcm", PatientID="M1", SOPInstanceUID=f"1.2.{i + 1}")
    with caplog.at_level(logging.INFO):
        Folder(tmp_path / "root", findings=["Edema"], size=16).open(tmp_path / "cache")
    assert "all 2 images name the same patient" in caplog.text


def test_real_dicom_files_are_read(real_data: Path, tmp_path: Path):
    opened = Folder(real_data / "chest_xray" / "dicom_cr", findings=["is_chest"], size=32).open(tmp_path / "cache")
    assert len(opened.source.ids) == 3, "four chests, of which two are the same image"
    assert len(opened.source.quarantined) == 3
    assert values_of(opened).ravel().tolist() == [1.0, 1.0, 1.0]


def test_importing_the_package_loads_no_reader():
    heavy = {"pydicom", "monai", "torchvision", "lightning"}
    code = f"import sys, modalities.chest_xray; print(sorted({heavy} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_finding_without_a_column_is_unknown_for_every_image(root: Path, tmp_path: Path):
    put(root, "file,Cardiomegaly,Edema\nx/a.dcm,1,0\nx/b.dcm,0,1\n")
    opened = Folder(root, findings=["Fracture", "Edema"], size=16).open(tmp_path / "cache")
    assert opened.source.labels == ("Fracture", "Edema")
    assert torch.isnan(values_of(opened)[:, 0]).all()
    assert sorted(values_of(opened)[:, 1].nan_to_num(9).tolist()) == [0.0, 1.0, 9.0, 9.0, 9.0]
    notes = opened.source.notes  # type: ignore[attr-defined]
    assert "labels.csv: no column for Fracture: unknown for every image" in notes
    assert not any("Edema" in note for note in notes)


def test_a_misspelled_finding_gets_a_hint(root: Path, tmp_path: Path):
    put(root, "file,Cardiomegaly,Edema\nx/a.dcm,1,0\n")
    opened = Folder(root, findings=["Cardiomegalie"], size=16).open(tmp_path / "cache")
    assert opened.truth is None, "no finding has a column"
    hint = "labels.csv: no column for Cardiomegalie: unknown for every image; did you mean 'Cardiomegaly'?"
    assert hint in opened.source.notes  # type: ignore[attr-defined]


def test_predicting_reads_no_table(root: Path, tmp_path: Path):
    put(root, "file,Mass\nnowhere.dcm,maybe\n")
    opened = Folder(root, labels=None, findings=["Edema"], size=16).open(tmp_path / "cache")
    assert opened.truth is None
    assert len(opened.source.ids) == 5


@pytest.mark.parametrize(("identity", "ages"), [("private", ["89", "90", "90"]), ("public", ["89", "90", "97"])])
def test_ages_of_ninety_and_above_are_one_in_private(
    tmp_path: Path, write_dicom, film: np.ndarray, identity: str, ages: list[str]
):
    (tmp_path / "root").mkdir()
    for i, age in enumerate(("089Y", "090Y", "097Y")):
        write_dicom(np.roll(film, i), name=f"root/{i}.dcm", SOPInstanceUID=f"1.2.{i + 1}", PatientAge=age)
    source = Folder(tmp_path / "root", findings=["Edema"], size=16, identity=identity).open(tmp_path / "cache").source
    assert sorted(source.meta["age"]) == ages


def test_notes_of_a_private_folder_are_no_warnings(root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    put(root, "file,Edema\nx/a.dcm,1\n")
    source = Folder(root, size=16).open(tmp_path / "cache").source
    assert source.notes  # type: ignore[attr-defined]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
