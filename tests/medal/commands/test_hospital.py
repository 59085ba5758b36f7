"""`medal init`: what is private stays private, and two studies over one folder have nothing in common."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from clinic import fill
from hospital_folder import Hospital, make_hospital
from typer.testing import CliRunner

from medal.cli import app
from medal.errors import ConfigError, StudyError
from medal.study import Study

SMALL = (
    "--findings",
    "Edema,Effusion",
    "data.size=32",
    "learner.network.width=4",
    "learner.steps=3",
    "split.validation=0.3",
)
runner = CliRunner()


@pytest.fixture
def hospital(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hospital:
    monkeypatch.setenv("MEDAL_PRIVATE", str(tmp_path / "private"))
    monkeypatch.chdir(tmp_path)
    return make_hospital(tmp_path / "archive", 14)


def run(*words: str | Path, code: int = 0) -> str:
    result = runner.invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def places(study: str) -> dict[str, str]:
    from medal.exchange.place import study_token

    with Study.open(Path(study), write=False) as reading:
        token = study_token(reading.opened)
    return json.loads(Path("private", "studies", f"{token}.json").read_text())


@pytest.mark.parametrize("how", ["--labels {}", "data.labels={}"])
def test_a_table_named_after_somebody_is_named_in_the_private_folder_alone(
    hospital: Hospital, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    Path("Oddlestone").mkdir()
    shutil.move(hospital.folder / "labels.csv", "Oddlestone/Quixley_1957.csv")
    said = run("init", "archive", "-o", "study", *SMALL, *how.format("Oddlestone/Quixley_1957.csv").split())
    assert "have labels of yours" in said
    assert places("study")["data.labels"] == str(tmp_path / "Oddlestone" / "Quixley_1957.csv")
    monkeypatch.chdir(tmp_path / "study")
    run("ask", ".", "-n", "6")
    answers = fill(Path("worklists", "ask_001", "worklist.csv"), hospital.answers())
    run("tell", answers, ".")
    run("train", ".")
    run("export", ".", "-o", "exported")
    files = [path for path in Path().rglob("*") if path.is_file()]
    assert len(files) > 15
    for word in ("Oddlestone", "Quixley_1957"):
        assert [path for path in files if word.encode() in path.read_bytes()] == []


def test_a_table_below_the_images_moves_with_them(hospital: Hospital, tmp_path: Path) -> None:
    (hospital.folder / "labels.csv").rename(hospital.folder / "Quixley.csv")
    run("init", "archive", "-o", "study", *SMALL, "data.labels=Quixley.csv")
    assert places("study")["data.labels"] == "Quixley.csv"
    hospital.folder.rename(tmp_path / "moved")
    run("ask", "study", "-n", "4", "--data", "moved")


def test_two_studies_over_one_folder_keep_apart(hospital: Hospital) -> None:
    shutil.copy("archive/labels.csv", "one.csv")
    shutil.copy("archive/labels.csv", "two.csv")
    run("init", "archive", "-o", "A", *SMALL, "--labels", "one.csv")
    run("init", "archive", "-o", "B", *SMALL, "--labels", "two.csv", "strategy=random")
    assert [Path(places(name)["data.labels"]).name for name in "AB"] == ["one.csv", "two.csv"]
    run("ask", "A", "-n", "6")
    (key,) = Path("private", "worklists").glob("*.csv")
    before = key.read_bytes()
    Path("two.csv").rename("gone.csv")
    run("ask", "A")
    Path("gone.csv").rename("two.csv")
    run("ask", "B", "-n", "4", "--measure", "0")
    assert key.read_bytes() == before
    assert len(list(Path("private", "worklists").glob("*.csv"))) == 2
    with key.open(newline="") as handle:
        assert len(list(csv.DictReader(handle))) == 6


def test_init_that_was_killed_goes_on(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    from medal.human import HumanCampaign

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(HumanCampaign, "import_labels", killed)
        runner.invoke(app, ["init", "archive", "-o", "study", *SMALL])
    with Study.open(Path("study"), write=False) as study:
        token = study.opened["token"]
    run("init", "archive", "-o", "study", *SMALL)
    with Study.open(Path("study"), write=False) as study:
        assert study.opened["token"] == token
    run("ask", "study", "-n", "4")


def test_a_test_part_is_refused(hospital: Hospital) -> None:
    result = runner.invoke(app, ["init", "archive", "-o", "study", *SMALL, "split.test=0.3"])
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception).endswith("set split.test=0")
    assert not Path("study").exists()


def test_a_second_init_with_other_findings_leaves_the_study_alone(hospital: Hospital) -> None:
    run("init", "archive", "-o", "study", *SMALL)
    with pytest.raises(StudyError, match="asks about Edema, Effusion; give another --out"):
        run("init", "archive", "-o", "study", "--findings", "Edema", *SMALL[2:])
    assert "asks about Edema, Effusion" in run("init", "archive", "-o", "study", *SMALL)  # the same words finish it
    run("ask", "study", "-n", "4")


def test_few_images_to_measure_with_are_told(hospital: Hospital) -> None:
    assert "kept for measuring little can be said about the model" in run("init", "archive", "-o", "study", *SMALL)
