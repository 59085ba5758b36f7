from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medal.errors import BadTable, ConfigError, EmptySource, UnknownName
from modalities.chest_xray import NIH
from modalities.chest_xray.nih import NIH_FINDINGS

HEADER = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position\n"


@pytest.fixture(autouse=True)
def private(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDAL_PRIVATE", str(tmp_path_factory.mktemp("private")))


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """The official layout with 40 patients of two images each; patients 30 and later are the test set."""
    root, rng = tmp_path / "nih", np.random.default_rng(0)
    rows, test = [HEADER], []
    for patient in range(40):
        for visit in range(2):
            name = f"{patient:08d}_{visit:03d}.png"
            folder = root / f"images_{1 + patient % 2:03d}" / "images"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (20, 20), dtype=np.uint8)).save(folder / name)
            found = ["No Finding", "Effusion|Edema", "Hernia"][patient % 3]
            view = "AP" if visit else "PA"
            rows.append(f"{name},{found},{visit},{patient},{40 + patient:03d}Y,{'MF'[patient % 2]},{view}\n")
            if patient >= 30:
                test.append(name)
    (root / "Data_Entry_2017_v2020.csv").write_text("".join(rows))
    (root / "test_list.txt").write_text("\n".join(test))
    (root / "train_val_list.txt").write_text("")
    return root


def test_the_subset_has_the_counts_of_its_readme(real_data: Path, tmp_path: Path):
    opened = NIH(real_data / "chest_xray" / "nih_chestxray14_subset", size=8).open(tmp_path / "cache")
    source, truth = opened.source, opened.truth
    assert truth is not None
    assert (len(source.ids), len(set(source.groups))) == (1000, 682)
    assert Counter(source.splits or ()) == {"pool": 581, "validation": 198, "test": 221}
    assert Counter(source.meta["view"]) == {"AP": 567, "PA": 433}
    assert not source.quarantined
    counts = dict(zip(truth.labels, truth.values.sum(0).int().tolist(), strict=True))
    assert counts == {
        "Atelectasis": 113,
        "Cardiomegaly": 16,
        "Consolidation": 33,
        "Edema": 96,
        "Effusion": 90,
        "Emphysema": 10,
        "Fibrosis": 8,
        "Hernia": 3,
        "Infiltration": 187,
        "Mass": 19,
        "Nodule": 20,
        "Pleural_Thickening": 27,
        "Pneumonia": 500,
        "Pneumothorax": 12,
    }
    parts: dict[str, set[str]] = {}
    for group, part in zip(source.groups, source.splits or (), strict=True):
        parts.setdefault(group, set()).add(part)
    assert all(len(of) == 1 for of in parts.values()), "no patient stands in two splits"
    assert int((truth.values.sum(1) >= 2).sum()) == 384


def test_the_official_layout_is_read(official: Path, tmp_path: Path):
    opened = NIH(official, size=16).open(tmp_path / "cache")
    source, truth = opened.source, opened.truth
    assert truth is not None
    assert source.labels == truth.labels == NIH_FINDINGS
    assert (len(source.ids), len(set(source.groups))) == (80, 40)
    counts = dict(zip(truth.labels, truth.values.sum(0).int().tolist(), strict=True))
    assert {name: n for name, n in counts.items() if n} == {"Effusion": 26, "Edema": 26, "Hernia": 26}
    assert Counter(source.meta["followup"]) == {"0": 40, "1": 40}
    assert set(source.meta["age"]) == {str(40 + i) for i in range(40)}
    assert Counter(source.meta["sex"]) == {"M": 40, "F": 40}


def test_the_official_test_list_is_kept_and_validation_is_by_patient(official: Path, tmp_path: Path):
    source = NIH(official, size=16, validation=0.3).open(tmp_path / "cache").source
    counts = Counter(source.splits or ())
    assert counts["test"] == 20
    assert 0 < counts["validation"] < 40
    assert len(set(zip(source.groups, source.splits or (), strict=True))) == 40, "one split for each patient"
    none = NIH(official, size=16, validation=0.0).open(tmp_path / "cache").source
    assert Counter(none.splits or ()) == {"pool": 60, "test": 20}


def test_without_lists_the_split_is_left_to_the_study(official: Path, tmp_path: Path):
    (official / "test_list.txt").unlink()
    assert NIH(official, size=16).open(tmp_path / "cache").source.splits is None


def test_one_view_and_some_findings_can_be_chosen(official: Path, tmp_path: Path):
    opened = NIH(official, size=16, view="PA", findings=["Hernia", "Edema"]).open(tmp_path / "cache")
    assert set(opened.source.meta["view"]) == {"PA"}
    assert opened.truth is not None
    assert opened.truth.labels == ("Hernia", "Edema")
    assert opened.truth.values.sum(0).tolist() == [13.0, 13.0]


def test_rows_without_a_file_are_counted_and_left_out(official: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    for path in (official / "images_001").rglob("*.png"):
        path.unlink()
    assert len(NIH(official, size=16).open(tmp_path / "cache").source.ids) == 40
    assert "40 of 80 rows match no file and are left out" in caplog.text


def test_ids_depend_on_the_image_index_alone(official: Path, tmp_path: Path):
    """The subset's JPEG and the official PNG of one image are the same unit."""
    opened = NIH(official, size=16).open(tmp_path / "one").source
    subset = tmp_path / "subset"
    (subset / "images").mkdir(parents=True)
    lines = ["file,source_name,patient_id," + ",".join(NIH_FINDINGS)]
    for path in sorted(official.rglob("*.png")):
        Image.open(path).save(subset / "images" / f"{path.stem}.jpg")
        lines.append(f"images/{path.stem}.jpg,{path.name},{int(path.stem[:8])}" + ",0" * 14)
    (subset / "labels.csv").write_text("\n".join(lines))
    other = NIH(subset, size=16).open(tmp_path / "two").source
    assert (other.ids, other.groups) == (opened.ids, opened.groups)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"findings": ["Efusion"]}, UnknownName, "did you mean 'Effusion'"),
        ({"findings": ["No Finding"]}, UnknownName, "unknown finding 'No Finding'"),
        ({"view": "LL"}, ConfigError, "view 'LL': expected 'PA', 'AP' or null"),
        ({"root": "nowhere"}, ConfigError, "does not exist; set data.root to the ChestX-ray14 download"),
    ],
)
def test_wrong_arguments_are_refused(
    official: Path, tmp_path: Path, change: dict, error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        NIH(**{"root": official, "size": 16, **change}).open(tmp_path / "cache")


def test_wrong_tables_are_refused(official: Path, tmp_path: Path):
    table = official / "Data_Entry_2017_v2020.csv"
    text = table.read_text()
    table.write_text(text.replace("Hernia", "Hernja", 1))
    with pytest.raises(BadTable, match="line 6: unknown finding 'Hernja'; did you mean 'Hernia'"):
        NIH(official, size=16).open(tmp_path / "cache")
    table.write_text(text + text.splitlines()[1] + "\n")
    with pytest.raises(BadTable, match="line 82: this image stands in the table twice"):
        NIH(official, size=16).open(tmp_path / "cache")
    table.write_text(text.replace("Patient ID", "Patient"))
    with pytest.raises(BadTable, match="no column 'Patient ID'; did you mean 'Patient"):
        NIH(official, size=16).open(tmp_path / "cache")
    table.unlink()
    with pytest.raises(BadTable, match=r"neither Data_Entry_2017\*.csv nor labels.csv"):
        NIH(official, size=16).open(tmp_path / "cache")


def test_no_image_is_an_error(official: Path, tmp_path: Path):
    for path in official.rglob("*.png"):
        path.unlink()
    with pytest.raises(EmptySource, match="none of 80 rows has a file"):
        NIH(official, size=16).open(tmp_path / "cache")


@pytest.mark.parametrize("file", ["../secret.png", "/etc/secret.png", "images/../../secret.png"])
def test_a_table_cannot_point_outside_its_folder(tmp_path: Path, file: str) -> None:
    head = "file,source_name,patient_id,follow_up,age,sex,view,split,findings,Edema"
    (tmp_path / "labels.csv").write_text(f"{head}\n{file},a.png,1,0,50,M,PA,train,Edema,1\n")
    with pytest.raises(BadTable, match=r"line 2: the file lies outside data\.root"):
        NIH(tmp_path, findings=["Edema"]).open(tmp_path / "cache")
