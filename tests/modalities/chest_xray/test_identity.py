"""Nothing that identifies a patient leaves the reader, except into the private table beside the key."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from medal.source import Opened
from modalities.chest_xray import Folder

PLANTED = {
    "PatientName": "Zyxwold^Quentin",
    "PatientID": "MRN7734512",
    "PatientBirthDate": "19570213",
    "AccessionNumber": "ACC998877",
    "InstitutionName": "Saint Elsewhere Hospital",
    "InstitutionAddress": "12 Nowhere Lane",
    "ReferringPhysicianName": "Hippo^Crates",
    "OperatorsName": "Radio^Grapher",
    "OtherPatientIDs": "SSN078051120",
    "PatientComments": "lives beside the bakery",
    "StudyDescription": "CHEST Zyxwold",
    "StudyInstanceUID": "1.2.840.99.777.1",
    "SOPInstanceUID": "1.2.840.99.777.2",
}
FOLDER, FILE = "Zyxwold_Quentin", "MRN7734512_chest"
SECRETS = [*PLANTED.values(), "Zyxwold", "Quentin", "7734512", "Elsewhere", "Crates", FILE, "1.2.840.99"]


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "private"
    monkeypatch.setenv("MEDAL_PRIVATE", str(folder))
    return folder


@pytest.fixture
def root(tmp_path: Path, write_dicom, film: np.ndarray) -> Path:
    folder = tmp_path / "root" / FOLDER
    folder.mkdir(parents=True)
    write_dicom(film, name=f"root/{FOLDER}/{FILE}.dcm", **PLANTED)
    tags = {**PLANTED, "SOPInstanceUID": "1.2.840.99.777.3"}
    write_dicom(film[::-1], name=f"root/{FOLDER}/{FILE}_2.dcm", **tags)
    write_dicom(film, name=f"root/{FOLDER}/{FILE}_hand.dcm", **{**tags, "BodyPartExamined": "HAND"})
    whole = (folder / f"{FILE}.dcm").read_bytes()
    (folder / f"{FILE}_cut.dcm").write_bytes(whole[:-2000])
    (folder / f"{FILE}_torn.dcm").write_bytes(whole[:400] + b"\xff" * 300)
    (tmp_path / "root" / "labels.csv").write_text(
        f"file,patient_id,split,Edema\n{FOLDER}/{FILE}.dcm,MRN7734512,train,1\n{FOLDER}/MRN7734512_gone.dcm,x,train,1\n"
    )
    return tmp_path / "root"


def shown(opened: Opened) -> str:
    source = opened.source
    return repr((source, source.ids, source.groups, source.splits, source.meta, source.quarantined, source.digest))


def test_nothing_shown_or_stored_names_a_patient(
    root: Path, tmp_path: Path, private: Path, caplog: pytest.LogCaptureFixture
):
    steps: list[str] = []
    with caplog.at_level(logging.DEBUG):
        opened = Folder(root, size=16).open(tmp_path / "cache", lambda what, *_: steps.append(what))
        again = Folder(root, size=16).open(tmp_path / "cache")
    assert len(opened.source.ids) == 2
    assert len(opened.source.quarantined) == 3
    assert "quarantined" in caplog.text
    assert "1 rows match no file" in caplog.text
    everything = "\n".join([shown(opened), shown(again), caplog.text, *steps, *map(repr, caplog.records)])
    for path in (tmp_path / "cache").rglob("*"):
        everything += str(path.name)
        if path.is_file():
            everything += path.read_bytes().decode("latin-1")
    assert [secret for secret in SECRETS if secret in everything] == []
    assert opened.source.ids == again.source.ids


def test_the_private_table_leads_back(root: Path, tmp_path: Path, private: Path):
    opened = Folder(root, size=16).open(tmp_path / "cache")
    (table,) = private.glob("folder-*.csv")
    assert table.stat().st_mode & 0o077 == 0, "readable by its owner alone"
    lines = table.read_text().splitlines()
    (patient,) = set(opened.source.groups)
    assert f"{patient},MRN7734512," in lines
    for name in (*opened.source.ids, *opened.source.quarantined):
        (line,) = [line for line in lines if line.startswith(f"{name},")]
        assert FILE in line
    assert [secret for secret in SECRETS if secret in table.name] == []


def test_another_key_gives_other_pseudonyms(root: Path, tmp_path: Path, private: Path, monkeypatch: pytest.MonkeyPatch):
    first = Folder(root, size=16).open(tmp_path / "one").source
    monkeypatch.setenv("MEDAL_PRIVATE", str(tmp_path / "other"))
    second = Folder(root, size=16).open(tmp_path / "two").source
    assert not set(first.ids) & set(second.ids)
    assert not set(first.groups) & set(second.groups)
    assert first.digest != second.digest, "not even the names of caches can be compared"


def test_public_pseudonyms_agree_between_machines(
    root: Path, tmp_path: Path, private: Path, monkeypatch: pytest.MonkeyPatch
):
    first = Folder(root, size=16, identity="public").open(tmp_path / "one").source
    monkeypatch.setenv("MEDAL_PRIVATE", str(tmp_path / "other"))
    moved = root.rename(tmp_path / "moved")
    second = Folder(moved, size=16, identity="public").open(tmp_path / "two").source
    assert (first.ids, first.groups, first.digest) == (second.ids, second.groups, second.digest)


def test_burned_in_writing_is_flagged_and_not_shown_at_full_size(
    tmp_path: Path, private: Path, write_dicom, film: np.ndarray
):
    (tmp_path / "root").mkdir()
    write_dicom(film, name="root/a.dcm", BurnedInAnnotation="YES")
    source = Folder(tmp_path / "root", findings=["Edema"], size=16).open(tmp_path / "cache").source
    assert source.meta["burned_in"] == ("yes",)
    assert b"IHDR\x00\x00\x00\x10\x00\x00\x00\x10" in source.preview(0), "16 x 16 pixels, too coarse to read"


def test_the_source_has_no_labels(root: Path, tmp_path: Path, private: Path):
    opened = Folder(root, size=16).open(tmp_path / "cache")
    assert opened.truth is not None
    stored = {**vars(opened.source), "_paths": (), "labels": ()}
    assert set(stored) == {
        *("name", "labels", "ids", "groups", "splits", "meta", "quarantined", "left_out", "notes", "shape", "digest"),
        *("_arrays", "_places", "_paths", "_frames", "_maps"),
    }, "a new attribute must not carry the truth"
    assert "Edema" not in repr(stored)
