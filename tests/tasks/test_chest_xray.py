"""The main job on real input: drawn DICOM, a hospital's folder with planted identities, the real subset."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pydicom
import pytest
from typer.testing import CliRunner

from medal import storage
from medal.cli import app
from medal.errors import EmptySource, StorageFull
from medal.recipe import load
from medal.run import Run, execute, load_run, plan
from medal.source import Opened
from medal.study import Study
from modalities.chest_xray import Phantom

ONE = "resources.processes=1"
TINY = [
    ONE,
    "seeds=1",
    "learner.steps=4",
    "learner.batch=4",
    "learner.network.width=4",
    "validation.items=6",
    "start.items=6",
    "budget.per_round=4",
    "budget.rounds=1",
]
PLANTED = {"PatientName": "Zyxwold^Quentin", "AccessionNumber": "ACC998877", "InstitutionName": "Saint Elsewhere"}
runner = CliRunner()


def play(folder: Path, *overrides: str) -> Run:
    run = plan("chest_xray", load("chest_xray", overrides), folder)
    execute(run)
    return run


@pytest.fixture
def hospital(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of DICOM whose tags, folders and files name patients."""
    monkeypatch.setenv("MEDAL_PRIVATE", str(tmp_path / "private"))
    drawn = Phantom(patients=40, images=1, size=32, pixels=64).write(tmp_path / "drawn")
    root = tmp_path / "images"
    lines = (drawn / "labels.csv").read_text().splitlines()
    table = [lines[0].replace("sex,age,view,", "")]
    for number, line in enumerate(lines[1:]):
        file, _, _, _, _, *findings = line.split(",")
        header = pydicom.dcmread(drawn / file)
        for tag, value in PLANTED.items():
            setattr(header, tag, f"{value}{number}")
        header.PatientID = f"MRN77345{number:02d}"
        name = f"Zyxwold_{number}/MRN77345{number:02d}.dcm"
        (root / name).parent.mkdir(parents=True)
        header.save_as(root / name)
        table.append(",".join([name, header.PatientID, *findings]))
    (root / "labels.csv").write_text("\n".join(table) + "\n")
    broken = root / "Zyxwold_0" / "MRN7734500_torn.dcm"
    broken.write_bytes((root / "Zyxwold_0" / "MRN7734500.dcm").read_bytes()[:700])
    return root


def test_no_identity_in_any_output_of_a_whole_run(hospital: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    where = [f"data.root={hospital}", f"data.labels={hospital / 'labels.csv'}"]
    words = ["run", "chest_xray", "data=folder", *where, "data.size=32", *TINY, "-o", str(folder)]
    done = runner.invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0
    for command in (
        ["predict", str(folder), "-o", str(tmp_path / "p.csv")],
        ["export", str(folder), "-o", str(tmp_path / "m")],
    ):
        assert runner.invoke(app, command, catch_exceptions=False).exit_code == 0

    secrets = [b"Zyxwold", b"Quentin", b"MRN77345", b"ACC998877", b"Elsewhere"]
    written = [p for top in (folder, tmp_path / "m") for p in top.rglob("*") if p.is_file()] + [tmp_path / "p.csv"]
    assert len(written) > 15
    for path in written:
        content = path.read_bytes()
        for secret in secrets:
            assert secret not in content, f"{secret!r} stands in {path.relative_to(tmp_path)}"
            assert secret.decode() not in str(path.relative_to(tmp_path))
    for secret in secrets:
        assert secret.decode() not in done.output
    # the way back lies apart, for its owner alone
    tables = [p for p in (tmp_path / "private").glob("*.csv") if b"MRN77345" in p.read_bytes()]
    assert tables
    assert all(p.stat().st_mode & 0o077 == 0 for p in tables)
    # and the torn file was set aside while the rest went on
    with Study.open(folder / "studies" / "random-seed0", write=False) as study:
        event = study.ledger.last("quarantined")
        assert event is not None
        assert len(event.content["items"]) == 1
        assert study.opened["data"]["rows"] == 40
    # where the files lie stands in the private folder alone, so that the run can be resumed and shared
    assert [path.name for path in written if str(hospital).encode() in path.read_bytes()] == []
    places = list((tmp_path / "private" / "places").iterdir())
    assert [path.stat().st_mode & 0o077 for path in places] == [0]
    assert str(hospital) in places[0].read_text()


def test_an_empty_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(EmptySource):
        play(tmp_path / "run", "data=folder", f"data.root={tmp_path / 'empty'}", "data.findings=[Edema]", *TINY)


def test_a_disk_that_fills_up_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load("chest_xray", [ONE], smoke=True)
    whole = plan("chest_xray", recipe, tmp_path / "whole")
    execute(whole)
    run = plan("chest_xray", recipe, tmp_path / "full")
    real, calls = os.fsync, []

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) in (9, 23):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(storage.os, "fsync", full)
    stopped = 0
    for _ in range(6):
        try:
            execute(run)
            break
        except StorageFull:
            stopped += 1
    assert stopped >= 1
    for entry in whole.studies:
        with Study.open(whole.path(entry), write=False) as a, Study.open(run.path(entry), write=False) as b:
            assert a.ledger.head() == b.ledger.head()


@pytest.mark.parametrize(
    "name", ["random", "stratified", "entropy", "least_confidence", "margin", "bald", "beta_aleatoric", "beta_vacuity"]
)
def test_every_kind_of_work_plays(name: str, tmp_path: Path) -> None:
    recipe = load("chest_xray", [ONE, f"strategy={name}", "baselines=[]"], smoke=True)
    run = plan("chest_xray", recipe, tmp_path / "run")
    execute(run)
    with Study.open(run.path(run.studies[0]), write=False) as study:
        last = [e.content for e in study.ledger.events("asked")][-1]
    assert last["strategy"] == name
    assert len(last["ids"]) == 4


@pytest.mark.parametrize("reducer", ["LabelSum", "LabelMax", "LabelTopMean", "PrevalenceWeighted"])
def test_every_aggregation_over_labels_plays(reducer: str, tmp_path: Path) -> None:
    recipe = load("chest_xray", [ONE, f"strategy.0.reducer.use=medal.reducers.{reducer}", "baselines=[]"], smoke=True)
    execute(plan("chest_xray", recipe, tmp_path / "run"))
    assert len(load_run(tmp_path / "run").studies) == 1


def test_single_findings_are_bought_by_the_minute(tmp_path: Path) -> None:
    recipe = load("chest_xray", [ONE, "unit=finding", "budget.unit=minutes", "budget.per_round=2"], smoke=True)
    run = plan("chest_xray", recipe, tmp_path / "run")
    execute(run)
    with Study.open(run.path(run.studies[0]), write=False) as study:
        last = [e.content for e in study.ledger.events("asked")][-1]
    assert all("#" in unit for unit in last["ids"])
    assert 8 <= len(last["ids"]) <= 12
    assert last["cost"]["minutes"] <= 2.0 + 1e-6


def test_the_real_subset_plays_through_the_command_line(real_data: Path, tmp_path: Path) -> None:
    root = real_data / "chest_xray" / "nih_chestxray14_subset"
    words = ["run", "chest_xray", "data=nih", f"data.root={root}", "data.size=32", *TINY, "-o", str(tmp_path / "run")]
    assert runner.invoke(app, words, catch_exceptions=False).exit_code == 0
    with Study.open(tmp_path / "run" / "studies" / "beta_epistemic-seed0", write=False) as study:
        assert study.opened["split"]["counts"] == {"pool": 581, "validation": 198, "test": 221}
        assert study.opened["data"]["groups"] == 682
        measured = study.ledger.last("evaluated")
        assert measured is not None
        rare = measured.content["labels"]["Hernia"]
    assert rare["estimable"] is False


def test_opening_hands_truth_and_source_apart(tmp_path: Path) -> None:
    opened: Opened = Phantom(patients=6, images=1, size=32, pixels=64).open(tmp_path)
    assert opened.truth is not None
    assert not any("truth" in name or ("label" in name and name != "labels") for name in vars(opened.source))
