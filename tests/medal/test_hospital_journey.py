"""The whole journey of a hospital study through the command line, on a folder as an archive exports it.

One study is played from `init` to the exported model; the tests look at it from several sides. Images that the archive
sends later, wrong files, second readers and corrections are all in it, and nothing that identifies anybody comes out.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from clinic import fill
from hospital_folder import Hospital, make_hospital
from typer.testing import CliRunner

from medal.cli import app
from medal.errors import AwaitingAnnotation, BadTable, ConfigError, StudyError, StudyLocked
from medal.study import Study

FINDINGS = ("Cardiomegaly", "Effusion", "Edema")
SMALL = ("data.size=32", "learner.network.width=4", "learner.steps=12", "learner.batch=8")
LATER = 3
"""Patients whose images come after the study has begun."""
runner = CliRunner()


@dataclass
class Journey:
    """What was played, and what every command said."""

    hospital: Hospital
    folder: Path
    study: Path
    private: Path
    said: dict[str, str] = field(default_factory=dict)
    rejected: str = ""

    def run(self, name: str, *words: str | Path, code: int = 0) -> str:
        result = runner.invoke(app, [str(word) for word in words], catch_exceptions=False)
        assert result.exit_code == code, result.output
        self.said[name] = result.output
        return result.output

    @property
    def answers(self) -> dict[str, dict[str, int]]:
        return {i: {n: values[n] for n in FINDINGS} for i, values in self.hospital.answers().items()}

    def list(self, number: int) -> Path:
        return self.study / "worklists" / f"ask_{number:03d}" / "worklist.csv"

    def fill(self, number: int, reader: str = "R1", change: Callable[..., None] | None = None, to: str = "") -> Path:
        return fill(self.list(number), self.answers, reader, change, self.folder.parent / to if to else None)

    def rows(self, number: int) -> list[dict[str, str]]:
        with self.list(number).open(newline="", encoding="utf-8-sig") as handle:
            return list(csv.DictReader(handle))

    def events(self, kind: str) -> list[dict]:
        with Study.open(self.study, write=False) as study:
            return [e.content for e in study.ledger.events(kind)]


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory):
    base = tmp_path_factory.mktemp("hospital")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDAL_PRIVATE", str(base / "private"))
        (base / "private").mkdir(mode=0o700)
        # another key gives other pseudonyms, another split and other lists
        (base / "private" / "pseudonym.key").write_bytes(bytes(range(32)))
        played = Journey(make_hospital(base / "archive", 44), base / "archive", base / "study", base / "private")
        play(played, base / "later")
        yield played


def play(j: Journey, later: Path) -> None:
    """Everything, in the order of a real study."""
    late = sorted(path for path in j.folder.iterdir() if path.is_dir())[-LATER:]
    later.mkdir()
    for path in late:
        shutil.move(path, later / path.name)
    j.run("init", "init", j.folder, "-o", j.study, "--findings", ",".join(FINDINGS), *SMALL)
    j.run("ask 1", "ask", j.study, "-n", "16")
    j.run("ask again", "ask", j.study, "-n", "16")
    answers = j.fill(1, change=spoil, to="answers.csv")
    j.run("tell spoilt", "tell", answers, j.study, code=1)
    j.rejected = answers.with_name("answers.rejected.csv").read_text(encoding="utf-8-sig")
    j.fill(1, change=give_up, to="answers.csv")
    j.run("tell mended", "tell", answers, j.study)
    j.run("tell twice", "tell", answers, j.study)
    j.run("second reader", "tell", j.fill(1, "R2", disagree, "second.csv"), j.study)
    j.run("correction", "tell", j.fill(1, "R1", disagree, "corrected.csv"), j.study)
    j.run("train 1", "train", j.study)
    j.run("ask 2", "ask", j.study, "-n", "10", "--relabel", "2")
    for path in late:
        shutil.move(later / path.name, path)
    j.run("ask while open", "ask", j.study)
    j.fill(2)
    j.run("tell 2", "tell", j.list(2), j.study)
    j.run("ask 3", "ask", j.study, "--minutes", "9", "--strategy", "random")
    j.fill(3)
    j.run("tell 3", "tell", j.list(3), j.study, "--reader", "R3")
    j.run("train 2", "train", j.study)
    j.run("train again", "train", j.study)
    j.run("status", "status", j.study)
    j.run("report", "report", j.study)
    j.run("explain", "explain", j.rows(2)[-1]["id"], j.study)
    j.run("predict", "predict", j.study, "-d", f"data.root={j.folder}", "-o", j.study / "predictions.csv")
    j.run("export", "export", j.study, "-o", j.study / "exported")
    j.run("verify", "ledger", "verify", j.study)


def spoil(row: dict[str, str], number: int) -> None:
    if number == 2:
        row["Effusion"] = "2"
    elif number == 5:
        row["id"] = "Zyxwold"
    elif number == 9:
        row["Edema"] = "ja"
    elif number >= 12:
        row.update(dict.fromkeys(FINDINGS, ""))


def give_up(row: dict[str, str], number: int) -> None:
    if number == 15:
        row.update(dict.fromkeys(FINDINGS, ""), cannot_label="Zyxwold moved", comment="ask Dr. Quixley")


def disagree(row: dict[str, str], number: int) -> None:
    if number == 15:
        row.update(dict.fromkeys(FINDINGS, ""))
    elif number in (9, 10) and row["reader"] == "R2":
        row["Edema"] = str(1 - int(row["Edema"]))
    elif number == 11 and row["reader"] == "R1":
        row["Effusion"] = str(1 - int(row["Effusion"]))


def test_init_says_what_it_found(journey: Journey) -> None:
    said, counts = journey.said["init"], journey.hospital.counts
    with Study.open(journey.study, write=False) as study:
        began = study.opened["data"]["rows"]
    assert f"{began} images of " in said
    assert began < counts["frontals"]
    assert "left out" in said
    assert "lateral view" in said
    assert "not used" in said
    assert "have labels of yours" in said
    assert "note: " in said
    (imported,) = [e for e in journey.events("answered") if e["purpose"] == "imported"]
    assert f"{len(imported['ids'])} images have labels of yours" in said


def test_the_first_list_has_a_random_part_and_a_cold_start(journey: Journey) -> None:
    first, second = journey.events("asked")[:2]
    assert (first["purpose"], second["purpose"], second["strategy"]) == ("validation", "start", "cold start")
    assert first["cost"]["items"] + second["cost"]["items"] == 16
    assert "8 at random, for measuring: 8 of " in journey.said["ask 1"]
    rows = journey.rows(1)
    assert {row["reason"] for row in rows[:8]} == {"at random, for measuring"}
    exams = [row["exam"] for row in rows]
    assert exams == sorted(exams, key=exams.index)
    for name in ("worklist.html", "contact_sheet.png"):
        assert journey.list(1).with_name(name).stat().st_size > 10_000
    assert "16 images still open" in journey.said["ask again"]
    assert len({e["round"] for e in journey.events("asked")[:2]}) == 1
    key = next(line.rpartition(" ")[2] for line in journey.said["ask 1"].splitlines() if "private, keep" in line)
    with Path(key).open(newline="") as handle:
        files = {row["id"]: row["file"] for row in csv.DictReader(handle)}
    assert set(files) == {row["id"] for row in rows}
    assert all(Path(file).is_relative_to(journey.folder) for file in files.values())


def test_bad_rows_are_listed_and_good_ones_kept(journey: Journey) -> None:
    said = journey.said["tell spoilt"]
    assert "9 answered" in said
    assert "4 rows are blank and stay open" in said
    assert "line 4: Effusion: '2', expected 1, 0, -1 or blank" in said
    assert "line 7: unknown id" in said
    assert "line 11: Edema: 'ja', expected 1, 0, -1 or blank" in said
    assert "3 rows were not taken" in said
    assert "6 answered" not in said
    mended = journey.said["tell mended"]
    assert "6 answered" in mended
    assert "1 cannot label" in mended
    assert "0 images open" in mended
    lines = list(csv.DictReader(journey.rejected.splitlines()))
    known = [row["id"] for row in journey.rows(1)]
    assert [(row["line"], row["id"]) for row in lines] == [("4", known[2]), ("7", ""), ("11", known[9])]
    assert not list(journey.folder.parent.glob("*.rejected.csv")), "nothing is wrong any more"
    assert "nothing new" in journey.said["tell twice"]


def test_second_opinions_and_corrections(journey: Journey) -> None:
    assert "15 second opinion" in journey.said["second reader"]
    assert "1 corrected" in journey.said["correction"]
    readers = [(e["annotator"], e["purpose"]) for e in journey.events("answered")]
    assert {reader for reader, _ in readers} == {"clinic", "R1", "R2"}
    assert ("R2", "validation") in readers
    (retired,) = journey.events("retired")
    assert (retired["reason"], retired["annotator"]) == ("other", "R1")


def test_training_measures_on_the_arm_alone(journey: Journey) -> None:
    assert "measured on 8 random ones" in journey.said["train 1"]
    evaluated = journey.events("evaluated")
    assert [e["round"] for e in evaluated] == [0, 1]
    assert set(evaluated[-1]["validation"]["labels"]) == set(FINDINGS)
    assert set(evaluated[-1]["predictions"]) == {"validation"}
    assert "nothing was labelled since the last training" in journey.said["train again"]


def test_later_lists_follow_the_model_and_doubt_labels(journey: Journey) -> None:
    reasons = [row["reason"] for row in journey.rows(2)]
    assert any(reason.startswith("unsure about ") for reason in reasons)
    relabel = [e for e in journey.events("asked") if e["purpose"] == "relabel"]
    assert len(relabel) == 1
    assert len(relabel[0]["ids"]) == 2
    assert sum("readers disagree about" in r or "the model says" in r for r in reasons) == 2
    assert journey.events("asked")[-1]["strategy"] == "random"
    predicted = [row["predicted Edema"] for row in journey.rows(2) if row["reason"].startswith("unsure")]
    assert all(0 <= float(value) <= 1 for value in predicted)


def test_images_that_came_later_are_added(journey: Journey) -> None:
    (added,) = journey.events("added")
    assert f"{len(added['ids'])} new images in the folder were added" in journey.said["ask while open"]
    assert added["rows"] == journey.hospital.counts["frontals"]
    with Study.open(journey.study, write=False) as study:
        assert len(study.read_units()) == added["rows"]


def test_the_model_leaves_the_study(journey: Journey) -> None:
    with (journey.study / "predictions.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == journey.hospital.counts["frontals"]
    assert set(FINDINGS) < set(rows[0])
    exported = journey.study / "exported"
    assert json.loads((exported / "labels.json").read_text()) == list(FINDINGS)
    card = (exported / "model_card.md").read_text()
    assert "random validation arm" in card
    assert journey.events("trained")[-1]["weights"] in card
    assert "events, head" in journey.said["verify"]
    assert "(relabel, strategy doubtful labels)" in " ".join(journey.said["explain"].split())
    assert (journey.study / "report" / "report.html").stat().st_size > 10_000


def test_nothing_that_is_shared_names_anybody(journey: Journey) -> None:
    secrets = [word.encode() for word in (*journey.hospital.secrets, *journey.hospital.uids.values())]
    secrets += [str(journey.folder).encode(), journey.folder.parent.name.encode()]
    files = [path for path in journey.study.rglob("*") if path.is_file()]
    assert len(files) > 30
    for path in files:
        content = path.read_bytes()
        found = [
            secret for secret in secrets if secret in content or secret in str(path.relative_to(journey.study)).encode()
        ]
        assert not found, f"{path.name} holds {found}"
    # the private folder holds the way back, and may be read by its owner alone
    private = b"".join(path.read_bytes() for path in journey.private.rglob("*.csv"))
    assert journey.hospital.secrets[0].encode() in private
    assert all(path.stat().st_mode & 0o077 == 0 for path in journey.private.rglob("*.csv"))
    for name, said in journey.said.items():
        shown = [word for word in journey.hospital.secrets if word in said]
        assert not shown, f"{name} says {shown}"


def refused(*words: object) -> Exception:
    result = runner.invoke(app, [str(word) for word in words])
    assert result.exit_code != 0
    assert isinstance(result.exception, Exception)
    return result.exception


def test_one_line_errors(journey: Journey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study, table = journey.study, tmp_path / "answers.csv"
    assert "no study at study; begin one with `medal init FOLDER --out study`" in str(refused("ask"))
    assert "does not exist; give the folder of the images" in str(refused("init", tmp_path / "nowhere"))
    error = refused("init", journey.folder, "-o", study, "--findings", ",".join(FINDINGS), *SMALL)
    assert isinstance(error, StudyError | ConfigError)
    assert "begun with other images" in str(error) or "already holds a study" in str(error)
    table.write_text("id,Efusion\nI1,1\n")
    assert str(refused("tell", table, study)) == "answers.csv: unknown finding 'Efusion'; did you mean 'Effusion'?"
    table.write_text("id,Nodule\nI1,1\n")
    assert "unknown finding 'Nodule'; the study asks about Cardiomegaly" in str(refused("tell", table, study))
    assert isinstance(refused("tell", tmp_path / "none.csv", study), BadTable)
    with Study.open(study):
        assert isinstance(error := refused("tell", table, study), StudyLocked)
        assert "is in use by" in str(error)
        assert "\n" not in str(error)
    assert "give more" in str(refused("ask", study, "--minutes", "0.01"))
    assert "expected one of them" in str(refused("ask", study, "--minutes", "5", "-n", "3"))
    assert "did you mean 'entropy'" in str(refused("ask", study, "-n", "3", "--strategy", "entropi"))
    smoke = ("run", "hospital/chest_xray", "data=phantom", "--smoke", "-o", tmp_path / "run", "resources.processes=1")
    assert isinstance(error := refused(*smoke), AwaitingAnnotation)
    assert "medal init" in str(error)


def test_a_study_on_another_machine_is_told_where_its_images_lie(
    journey: Journey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(journey.study, tmp_path / "study")
    shutil.copytree(journey.folder, tmp_path / "images")
    monkeypatch.setenv("MEDAL_PRIVATE", str(tmp_path / "private"))
    assert "say it once: --data FOLDER" in str(refused("ask", tmp_path / "study"))
    assert "the private key may be another one" in str(
        refused("ask", tmp_path / "study", "--data", tmp_path / "images")
    )
    (tmp_path / "private" / "pseudonym.key").write_bytes((journey.private / "pseudonym.key").read_bytes())
    journey.run("moved", "ask", tmp_path / "study", "-n", "2", "--data", tmp_path / "images")
    assert "ask_004: 2 images to label" in journey.said["moved"]
    journey.run("moved again", "ask", tmp_path / "study")
    assert "ask_004: 2 images to label" in journey.said["moved again"]
