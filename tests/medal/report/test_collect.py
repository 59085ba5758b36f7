from __future__ import annotations

import math
import sqlite3

import numpy as np
import pytest
from people_study import PeopleStudy

from medal.errors import LedgerBroken, StudyError
from medal.report.collect import collect, collect_study, whole_row
from medal.report.history import Retired, Subgroup
from medal.study import Study


def write(folder, *events, labels=("Effusion", "Mass")):
    opened = {"arm": "epistemic", "seed": 3, "task": "toy", "data": {"labels": list(labels)}}
    with Study.create(folder, opened, [{"id": "u1", "group": "P1", "split": "pool", "sex": "F"}]) as study:
        for kind, content, *aside in events:
            study.ledger.append(kind, content, *aside)
    return folder


ASKED = {"round": 1, "purpose": "query", "strategy": "epistemic", "ids": ["u1"], "scores": [0.5]}
ASKED |= {"terms": [{"score": 0.5, "label:Mass": 0.7}], "cost": {"items": 1.0, "minutes": 0.2}}
ANSWERED = {"round": 1, "purpose": "query", "kind": "image", "ids": ["u1"], "annotator": "A"}
EVALUATED = {"round": 1, "spent": {"items": 5, "minutes": 6.5}, "labelled": {"items": 5, "rows": 5}}


def test_a_run_is_read_in_the_order_of_its_index(tmp_path, make_run):
    run = collect(make_run(tmp_path / "run", seeds=(0, 1), rounds=2, batch=5, images=400, stop={("random", 1): -1}))
    assert [(s.arm, s.seed) for s in run.studies] == [
        ("beta_epistemic", 0),
        ("random", 0),
        ("beta_epistemic", 1),
        ("random", 1),
    ]
    first, last = run.studies[0], run.studies[-1]
    assert (len(first.rounds), len(first.queries()), first.closed) == (3, 2, "2 rounds were played")
    assert first.rounds[-1].items == 130
    assert len(first.units) == 400
    assert (last.opened, last.rounds, last.closed, last.head) == ({}, (), None, "")


def test_every_event_is_taken_over(tmp_path):
    labels = {
        "Mass": {
            "auroc": 0.7,
            "auprc": None,
            "ece": 0.1,
            "brier": 0.2,
            "positives": 21,
            "negatives": 30,
            "estimable": True,
        }
    }
    folder = write(
        tmp_path / "s",
        ("quarantined", {"items": {"u9": "torn"}}),
        ("asked", ASKED, {"seconds": 1.5}),
        ("answered", {**ANSWERED, "target": [[1.0, math.nan]], "seconds": [math.nan]}),
        ("trained", {"round": 1, "weights": "0"}, {"seconds": 20.0}),
        (
            "evaluated",
            {**EVALUATED, "labels": labels, "macro": {"auroc": 0.7, "auprc": None, "ece": 0.1, "estimable": 1}},
        ),
        ("closed", {"reason": "done"}),
    )
    run = collect(folder)
    (study,) = run.studies
    assert (run.name, study.arm, study.seed, study.closed, study.quarantined) == (
        "toy",
        "epistemic",
        3,
        "done",
        {"u9": "torn"},
    )
    (batch,), (answer,), (measured,) = study.batches, study.answers, study.rounds
    assert (batch.items, batch.minutes, batch.seconds, batch.picks[0].score) == (1, 0.2, 1.5, 0.5)
    assert batch.picks[0].terms == {"score": 0.5, "label:Mass": 0.7}
    assert answer.target[0] == 1
    assert math.isnan(answer.target[1])
    assert math.isnan(answer.seconds)
    assert (measured.items, measured.minutes, measured.macro["auroc"]) == (5, 6.5, 0.7)
    assert math.isnan(measured.macro["auprc"])
    assert measured.labels["Mass"].positives == 21
    assert study.training_seconds == {1: 20.0}
    assert study.row("u1")["sex"] == "F"
    with Study.open(folder, write=False) as opened:
        assert study.head == opened.ledger.head()


def test_reading_changes_nothing_and_needs_no_lock(tmp_path):
    folder = write(tmp_path / "s", ("asked", ASKED))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with Study.open(folder):
        assert len(collect(folder).studies[0].batches) == 1
    assert all(path.read_bytes() == content for path, content in before.items() if path.name != "lock")


def test_an_evaluation_without_measures_has_none(tmp_path):
    (study,) = collect(write(tmp_path / "s", ("evaluated", {**EVALUATED, "labels": {}, "macro": {}}))).studies
    assert study.rounds[0].labels == {}
    assert math.isnan(study.rounds[0].macro["auroc"])


def test_a_study_of_people_is_taken_over(tmp_path):
    PeopleStudy(tmp_path / "study", rounds=3, target=0.9)
    (study,) = collect(tmp_path / "study").studies
    assert (study.part, study.people, study.target) == ("validation", True, 0.9)
    assert study.retired == (Retired("I0033", "lateral view <b>", "Dr A"),)
    assert study.added == ((2, 2),)
    assert sorted(study.arm_predictions) == [0, 1, 2]
    assert study.arm_predictions[0].probabilities.shape == (40, 4)
    assert {a.purpose for a in study.answers} == {"imported", "validation", "start", "query"}
    # people's times stand beside the content
    assert {a.seconds for a in study.answers} == {30.0}
    first = study.rounds[0]
    assert (first.labels, first.trained_on) == ({}, 33)
    assert first.validation.macro["auroc"] == pytest.approx(
        np.mean([m.auroc for m in first.validation.labels.values() if m.estimable])
    )


def test_a_later_answer_brings_a_retired_unit_back(tmp_path):
    out = {"ids": ["u1"], "reason": "blurred", "annotator": "A"}
    answered = {**ANSWERED, "target": [[1.0, 0.0]], "seconds": [None]}
    back = collect(write(tmp_path / "a", ("asked", ASKED), ("retired", out), ("answered", answered)))
    assert back.studies[0].retired == ()
    gone = collect(write(tmp_path / "b", ("asked", ASKED), ("answered", answered), ("retired", out)))
    assert gone.studies[0].retired == (Retired("u1", "blurred", "A"),)


def test_subgroups_of_an_evaluation_name_their_labels(tmp_path):
    found = {"patients": 30, "auroc": 0.7, "low": 0.6, "high": 0.8, "labels": 1, "which": [1]}
    few = {"patients": 3, "auroc": None, "low": None, "high": None, "labels": 0, "which": []}
    content = {**EVALUATED, "labels": {}, "macro": {}, "subgroups": {"sex": {"F": found, "M": few}}}
    (study,) = collect(write(tmp_path / "s", ("evaluated", content))).studies
    women, men = (study.rounds[0].subgroups["sex"][s] for s in "FM")
    assert women == Subgroup(30, 0.7, 0.6, 0.8, ("Mass",), 1)
    assert (men.patients, men.labels) == (3, ())
    assert math.isnan(men.auroc)


def test_a_query_is_read_in_the_kind_of_its_answers(tmp_path):
    answered = {**ANSWERED, "kind": "finding", "target": [[1.0]], "seconds": [1.0]}
    (study,) = collect(write(tmp_path / "s", ("asked", ASKED), ("answered", answered))).studies
    assert study.batches[0].kind == "finding"
    (other,) = collect(write(tmp_path / "t", ("asked", {**ASKED, "purpose": "start"}))).studies
    assert other.batches[0].kind == "image"


def test_lost_predictions_are_left_out(tmp_path):
    PeopleStudy(tmp_path / "study", rounds=2)
    (tmp_path / "study" / "predictions" / "validation_000.npz").write_bytes(b"torn")
    (study,) = collect(tmp_path / "study").studies
    assert sorted(study.arm_predictions) == [1]


def test_answers_about_findings_become_whole_rows():
    assert whole_row("u1#Mass", [1.0], ["Effusion", "Mass"])[1] == 1
    assert math.isnan(whole_row("u1#Mass", [1.0], ["Effusion", "Mass"])[0])
    assert whole_row("u1", [0.0], ["Mass"]) == (0.0,)
    assert whole_row("u1#Mass", [0.0, 1.0], ["Effusion", "Mass"]) == (0.0, 1.0)


def test_a_changed_journal_is_not_reported(tmp_path):
    folder = write(tmp_path / "s", ("asked", ASKED), ("closed", {"reason": "done"}))
    with sqlite3.connect(folder / "ledger.db") as db:
        for (trigger,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {trigger}")
        db.execute("UPDATE event SET content = replace(content, '0.5', '0.9') WHERE kind = 'asked'")
    db.close()
    with pytest.raises(LedgerBroken, match="event 2 was changed"):
        collect(folder)


def test_a_folder_that_is_neither_is_refused(tmp_path):
    with pytest.raises(StudyError, match=r"found neither run\.json nor ledger\.db"):
        collect(tmp_path)


@pytest.mark.parametrize("text", ["{", '{"recipe": "r"}', '{"recipe": "r", "studies": [{"arm": "a"}]}', "[]"])
def test_a_damaged_index_is_refused(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(StudyError, match="index of the run cannot be read"):
        collect(tmp_path)


def test_images_that_came_later_are_in_the_numbers(tmp_path):
    PeopleStudy(tmp_path / "study", rounds=3)
    study = collect_study(tmp_path / "study")
    data = study.opened["data"]
    assert (data["rows"], data["later"], data["groups"]) == (482, 2, len({u["group"] for u in study.units.values()}))


def test_a_study_with_people_is_known_before_the_first_question(tmp_path):
    opened = {"task": "tasks.chest_xray", "token": "a" * 16, "data": {"labels": ["Mass"]}}
    with Study.create(tmp_path / "study", opened, []):
        pass
    run = collect(tmp_path / "study")
    assert (run.by_people, run.part, run.name) == (True, "validation", "chest X-ray")
