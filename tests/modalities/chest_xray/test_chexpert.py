from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from medal.errors import BadTable, ConfigError, EmptySource, UnknownName
from modalities.chest_xray import CheXpert
from modalities.chest_xray.chexpert import OBSERVATIONS

COLUMNS = ("No Finding", *OBSERVATIONS)
LABELS = [["1.0", "", "", ""], ["", "1.0", "-1.0", ""], ["", "0.0", "1.0", "-1.0"]]


@pytest.fixture(autouse=True)
def private(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDAL_PRIVATE", str(tmp_path_factory.mktemp("private")))


def write(root: Path, table: str, folder: str, patients: range) -> None:
    rng = np.random.default_rng(patients.start)
    lines = ["Path,Sex,Age,Frontal/Lateral,AP/PA," + ",".join(COLUMNS)]
    for patient in patients:
        labels = [*LABELS[patient % 3], *[""] * 10]
        for view, kind, ap in (("view1_frontal", "Frontal", "AP"), ("view2_lateral", "Lateral", "")):
            name = f"{folder}/patient{patient:05d}/study1/{view}.jpg"
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (20, 24), dtype=np.uint8)).save(root / name)
            lines.append(f"CheXpert-v1.0-small/{name},{'Female'},{50 + patient},{kind},{ap}," + ",".join(labels))
    (root / table).write_text("\n".join(lines) + "\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "chexpert"
    folder.mkdir()
    write(folder, "train.csv", "train", range(1, 31))
    write(folder, "valid.csv", "valid", range(64541, 64547))
    return folder


def test_the_layout_is_read(root: Path, tmp_path: Path):
    opened = CheXpert(root, size=16, validation=0.2).open(tmp_path / "cache")
    source, truth = opened.source, opened.truth
    assert truth is not None
    assert truth.labels == source.labels == OBSERVATIONS
    assert (len(source.ids), len(set(source.groups))) == (36, 36)
    counts = Counter(source.splits or ())
    assert counts["test"] == 6
    assert 0 < counts["validation"] < 15
    assert set(source.meta["view"]) == {"AP"}
    assert set(source.meta["sex"]) == {"F"}
    assert set(source.meta["followup"]) == {"1"}


def test_lateral_images_can_be_kept_with_their_patient(root: Path, tmp_path: Path):
    source = CheXpert(root, size=16, frontal_only=False, validation=0.2).open(tmp_path / "cache").source
    assert (len(source.ids), len(set(source.groups))) == (72, 36)
    assert Counter(source.meta["view"]) == {"AP": 36, "LATERAL": 36}
    assert len(set(zip(source.groups, source.splits or (), strict=True))) == 36


@pytest.mark.parametrize(
    ("policy", "value"), [("U-Ignore", math.nan), ("U-Zeros", 0.0), ("U-Ones", 1.0), ("U-Evidential", -1.0)]
)
def test_policies_for_uncertain_labels(root: Path, tmp_path: Path, policy: str, value: float):
    data = CheXpert(root, size=16, uncertain=policy, findings=["Cardiomegaly", "Enlarged Cardiomediastinum"])
    truth = data.open(tmp_path / "cache").truth
    assert truth is not None
    found = Counter(str(row) for row in truth.values.tolist())
    assert found[str([value, 1.0])] == 12, "stated as uncertain beside a stated finding"
    assert found[str([1.0, 0.0])] == 12
    assert found[str([math.nan, math.nan])] == 12, "blank is unknown"


def test_blank_can_mean_absent(root: Path, tmp_path: Path):
    truth = CheXpert(root, size=16, blank="negative").open(tmp_path / "cache").truth
    assert truth is not None
    assert not torch.isnan(truth.values).any()


def test_no_finding_can_be_asked_for(root: Path, tmp_path: Path):
    truth = CheXpert(root, size=16, findings=["No Finding"], blank="negative").open(tmp_path / "cache").truth
    assert truth is not None
    assert truth.values.sum() == 12


def test_rows_without_a_file_are_counted_and_left_out(root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (root / "train/patient00001/study1/view1_frontal.jpg").unlink()
    assert len(CheXpert(root, size=16).open(tmp_path / "cache").source.ids) == 35
    assert "1 of 36 rows match no file and are left out" in caplog.text


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"findings": ["Pleural Efusion"]}, UnknownName, "did you mean 'Pleural Effusion'"),
        ({"uncertain": "U-Zero"}, UnknownName, "did you mean 'U-Zeros'"),
        ({"blank": "absent"}, ConfigError, "expected 'unknown' or 'negative'"),
        ({"root": "nowhere"}, ConfigError, "does not exist; set data.root to the CheXpert download"),
    ],
)
def test_wrong_arguments_are_refused(root: Path, tmp_path: Path, change: dict, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        CheXpert(**{"root": root, "size": 16, **change}).open(tmp_path / "cache")


@pytest.mark.parametrize(
    "path", ["a.jpg", "x/../../patient1/study1/a.jpg", "patient1/study1/a.jpg", "train/patient1/a.jpg"]
)
def test_paths_of_another_form_are_told_by_line(root: Path, tmp_path: Path, path: str):
    with (root / "valid.csv").open("a") as handle:
        handle.write(f"{path},Male,50,Frontal,AP" + "," * 14 + "\n")
    with pytest.raises(BadTable, match=r"valid\.csv, line 14: the path is not like train/patient00001"):
        CheXpert(root, size=16).open(tmp_path / "cache")


def test_a_missing_table_or_column_is_refused(root: Path, tmp_path: Path):
    (root / "valid.csv").write_text((root / "valid.csv").read_text().replace("AP/PA", "View"))
    with pytest.raises(BadTable, match=r"valid\.csv has no column 'AP/PA'"):
        CheXpert(root, size=16).open(tmp_path / "cache")
    (root / "train.csv").unlink()
    with pytest.raises(BadTable, match=r"the table train\.csv cannot be read"):
        CheXpert(root, size=16).open(tmp_path / "cache")


def test_tables_without_images_are_an_error(root: Path, tmp_path: Path):
    for path in root.rglob("*.jpg"):
        path.unlink()
    with pytest.raises(EmptySource, match="none of 36 rows has a file"):
        CheXpert(root, size=16).open(tmp_path / "cache")
