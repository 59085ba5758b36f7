from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from pydicom.multival import MultiValue

from medal.errors import ConfigError
from medal.seeding import Seed
from modalities.chest_xray import Phantom
from modalities.chest_xray.anatomy import Body, Pose, place
from modalities.chest_xray.cohort import visits
from modalities.chest_xray.dicom_file import WINDOWS, Tags, write_radiograph
from modalities.chest_xray.findings import DRAWN, FINDINGS
from modalities.chest_xray.radiograph import radiograph
from modalities.chest_xray.reader import read_xray

SMALL = Phantom(patients=6, size=32, pixels=64)


@pytest.fixture(autouse=True)
def private(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("private")
    monkeypatch.setenv("MEDAL_PRIVATE", str(folder))
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.*"))}


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path):
    first, second = files(SMALL.write(tmp_path / "one")), files(SMALL.write(tmp_path / "two"))
    assert first == second
    assert len(first) > 6
    other = files(Phantom(patients=6, size=32, pixels=64, seed=1).write(tmp_path / "one"))
    assert not set(first.values()) & set(other.values())


def test_more_patients_keep_the_first_ones(tmp_path: Path):
    few = SMALL.open(tmp_path).source
    many = Phantom(patients=9, size=32, pixels=64).open(tmp_path).source
    assert set(few.ids) < set(many.ids)
    assert set(few.groups) < set(many.groups)


def test_opening_gives_pixels_truth_and_patients(tmp_path: Path, private: Path):
    opened = SMALL.open(tmp_path)
    source, truth = opened.source, opened.truth
    assert truth is not None
    assert source.labels == truth.labels == FINDINGS
    assert len(set(source.groups)) == 6
    assert 6 <= len(source.ids) <= 18
    assert not source.quarantined
    assert source.splits is None
    images = source.images(range(len(source.ids)))
    assert tuple(images.shape[1:]) == (1, 32, 32)
    assert 0 <= images.min() < 0.1
    assert 0.9 < images.max() <= 1
    assert images.std(dim=(1, 2, 3)).min() > 0.1
    assert set(source.meta["view"]) <= {"PA", "AP"}
    assert all(18 <= int(age) <= 95 for age in source.meta["age"])
    assert not list(private.iterdir()), "there is nothing to hide and nothing to lead back to"


def test_the_truth_is_what_was_drawn(tmp_path: Path):
    folder = SMALL.write(tmp_path)
    with (folder / "labels.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    planned = [v for p in range(6) for v in visits(p, (1, 3), Seed(0) / "phantom")]
    assert [{name for name in FINDINGS if row[name] == "1"} for row in rows] == [set(v.findings) for v in planned]
    truth = SMALL.open(tmp_path).truth
    assert truth is not None
    drawn = Counter(tuple(float(name in v.findings) for name in FINDINGS) for v in planned)
    assert Counter(tuple(row) for row in truth.values.tolist()) == drawn


def test_the_files_are_of_every_kind(tmp_path: Path):
    folder = Phantom(patients=16, size=32, pixels=64).write(tmp_path)
    kinds = Counter()
    for path in folder.rglob("*.dcm"):
        file = pydicom.dcmread(path)
        kinds[file.PhotometricInterpretation] += 1
        kinds["lut" if "VOILUTSequence" in file else file.get("VOILUTFunction", "window")] += 1
        kinds["two windows" if isinstance(file.get("WindowCenter"), MultiValue) else "other"] += 1
        assert (file.BitsAllocated, file.BitsStored, file.pixel_array.max() <= 4095) == (16, 12, True)
    assert {"MONOCHROME1", "MONOCHROME2", "lut", "window", "SIGMOID", "two windows"} <= set(kinds)


@pytest.mark.parametrize("window", WINDOWS)
def test_both_photometric_interpretations_look_alike(tmp_path: Path, window: str):
    pixels = radiograph(*subject(), {}, 64, Seed(0).numpy())
    read = []
    for inverted in (False, True):
        tags = Tags("p", "n", "e", "F", 50, "PA", 0, inverted, window)
        write_radiograph(tmp_path / "a.dcm", pixels, tags)
        read.append(read_xray(tmp_path / "a.dcm", 64).pixels)
    assert np.abs(read[0] - read[1]).max() < 2e-3
    assert read[0].std() > 0.1


def subject(number: int = 0, view: str = "PA") -> tuple[Body, Pose]:
    rng = (Seed(7) / f"subject {number}").numpy()
    return Body.draw(rng), Pose.draw(rng, view)


@pytest.mark.parametrize("name", FINDINGS)
def test_findings_change_the_chest_and_grow_with_severity(name: str):
    changes = []
    for number in range(5):
        body, pose = subject(number)
        healthy = radiograph(body, pose, {}, 96, Seed(1).numpy()).astype(float)
        images = [radiograph(body, pose, {name: s}, 96, Seed(1).numpy()) for s in (0.1, 1.0)]
        changes.append([np.abs(image - healthy).mean() for image in images])
    mild, gross = np.median(changes, axis=0)
    assert gross > 3 * mild > 0


@pytest.mark.parametrize("name", sorted(DRAWN))
def test_findings_stay_inside_their_bounds(name: str):
    body, pose = subject()
    chest = place(body, pose, 96, body.ratio)
    part = DRAWN[name](chest, 0.8, Seed(2).numpy())
    assert part.filled.min() >= 0
    assert part.filled.max() <= 1
    assert part.markings.min() >= 0
    outside = (chest.lung < 1e-3) & (chest.y < chest.body.apex)
    assert np.abs((part.filled * chest.air)[outside]).max() < 1e-3


def test_hearts_are_larger_with_disease_and_in_ap_views():
    def area(number: int, view: str, ratio: float | None = None) -> float:
        body, _ = subject(number, view)
        still = Pose(view, 0.0, (0.0, 0.0), 1.0, 0.0, 0.0)
        return float(place(body, still, 96, ratio or body.ratio).heart.sum())

    for number in range(5):
        assert area(number, "AP") > 1.02 * area(number, "PA")
        assert area(number, "PA", 0.62) > 1.2 * area(number, "PA")


def test_prevalence_and_company_are_those_of_a_ward():
    ward = [v for p in range(250) for v in visits(p, (1, 3), Seed(3))]
    table = np.array([[name in v.findings for name in FINDINGS] for v in ward])
    rates = dict(zip(FINDINGS, table.mean(0), strict=True))
    assert all(0.03 <= rate <= 0.30 for rate in rates.values()), rates
    column = {name: table[:, i] for i, name in enumerate(FINDINGS)}
    for one, other in (("Effusion", "Atelectasis"), ("Edema", "Cardiomegaly"), ("Effusion", "Edema")):
        assert column[one][column[other]].mean() > 1.3 * column[one].mean(), (one, other)
    assert 0.3 < (table.sum(1) == 0).mean() < 0.6, "about half of the images have no finding"
    bedside = np.array([v.pose.view == "AP" for v in ward])
    assert table[bedside].mean() > 1.2 * table[~bedside].mean(), "sick patients are imaged in bed"
    severities = np.array([s for v in ward for s in v.findings.values()])
    assert severities.min() > 0
    assert severities.max() <= 1
    assert (severities < 0.3).mean() > 0.25, "many cases are subtle"


def test_a_killed_drawing_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = files(SMALL.write(tmp_path / "whole"))
    from modalities.chest_xray import phantom

    drawn: list[int] = []

    def limited(*args: object) -> np.ndarray:
        if len(drawn) == 4:
            raise KeyboardInterrupt
        drawn.append(1)
        return radiograph(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(phantom, "radiograph", limited)
    with pytest.raises(KeyboardInterrupt):
        SMALL.write(tmp_path / "cut")
    monkeypatch.setattr(phantom, "radiograph", lambda *args: (drawn.append(1), radiograph(*args))[1])
    assert files(SMALL.write(tmp_path / "cut")) == whole
    assert len(drawn) == len(whole) - 1, "every image was drawn once; the table is the other file"


def test_label_noise_flips_that_share(tmp_path: Path):
    clean = Phantom(patients=40, images=1, size=16, pixels=64).open(tmp_path).truth
    noisy = Phantom(patients=40, images=1, size=16, pixels=64, label_noise=0.2).open(tmp_path).truth
    again = Phantom(patients=40, images=1, size=16, pixels=64, label_noise=0.2).open(tmp_path).truth
    assert clean is not None
    assert noisy is not None
    assert again is not None
    share = float((clean.values != noisy.values).float().mean())
    assert 0.13 < share < 0.27
    assert torch.equal(noisy.values, again.values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patients": 0}, "patients 0, images .*: expected at least one"),
        ({"images": (3, 1)}, r"images \(3, 1\): expected at least one"),
        ({"pixels": 20}, "pixels 20: expected 64 to 2048"),
        ({"label_noise": 0.5}, "label_noise 0.5: expected a share"),
    ],
)
def test_arguments_without_sense_are_refused(tmp_path: Path, change: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        Phantom(**change).open(tmp_path)


def test_the_files_can_lie_outside_the_cache(tmp_path: Path):
    folder = Phantom(patients=1, images=1, pixels=64, root=tmp_path / "elsewhere").write(tmp_path / "cache")
    assert folder.parent == tmp_path / "elsewhere"
    assert len(list(folder.rglob("*.dcm"))) == 1
