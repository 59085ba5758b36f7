from __future__ import annotations

from dataclasses import replace

import pytest

from medal.errors import UnitError
from medal.explain import explain, explain_history
from medal.report.history import Answer, Batch, Pick, Retired, RunHistory, StudyHistory
from medal.study import Study

UNITS = {
    name: {"id": name, "group": f"P{k}", "split": "pool", "sex": "F", "body_part": "CHEST", "view": ""}
    for k, name in enumerate(["Iaaa", "Ibbb", "Iccc"])
}
OPENED = {"data": {"labels": ["Effusion", "Mass"]}}


@pytest.fixture
def run() -> RunHistory:
    terms = {"score": 0.143, "percentile": 99.2, "candidates": 412, "label:Effusion": 0.18, "label:Mass": 0.21}
    picks = (Pick("Ibbb", 0.2), Pick("Iaaa", 0.143, terms))
    active = StudyHistory(
        "epistemic",
        0,
        OPENED,
        batches=(Batch(3, "query", "beta_epistemic", picks, 2, 2.6),),
        answers=(Answer("Iaaa", 3, "query", (1.0, 0.0), 42.0, "reader 1"),),
        units=UNITS,
        quarantined={"Izzz": "the file ends early"},
    )
    start = Batch(0, "start", "random", (Pick("Iaaa", float("nan"), {"probability": 0.1, "candidates": 400}),), 1, 1.0)
    return RunHistory(
        "r", (active, StudyHistory("random", 0, OPENED, batches=(start,), units=UNITS), StudyHistory("random", 1))
    )


def test_a_pick_is_explained_in_every_study(run):
    assert explain_history(run, "Iaaa").splitlines() == [
        "Iaaa (patient P0, split pool, sex F, body part CHEST)",
        "",
        "epistemic, seed 0",
        "  round 3: asked as Iaaa, pick 2 of 2 (query, strategy beta_epistemic)",
        "    why: beta_epistemic 0.143 (99th percentile of 412 candidates)",
        "    by finding: Mass 0.210, Effusion 0.180",
        "    answer: present: Effusion; absent: 1 other; by reader 1 in 42 s",
        "    cost of the batch: 2 items, 2.6 planned minutes",
        "",
        "random, seed 0",
        "  round 0: asked as Iaaa, pick 1 of 1 (start, strategy random)",
        "    why: drawn at random with probability 0.100 from 400 candidates",
        "    answer: not answered yet",
        "    cost of the batch: 1 item, 1.0 planned minutes",
        "",
        "random, seed 1: never asked",
    ]


def test_a_known_unit_that_was_never_asked(run):
    text = explain_history(run, "Iccc")
    assert text.count("never asked") == 3


def test_a_quarantined_file_gives_its_reason(run):
    assert "epistemic, seed 0: not used, the file ends early" in explain_history(run, "Izzz")


def test_an_image_gathers_the_findings_that_were_asked_about_it():
    picks = (Pick("Iaaa#Mass", 0.4), Pick("Ibbb#Mass", 0.3), Pick("Iaaa#Effusion", 0.2))
    study = StudyHistory("a", 0, OPENED, batches=(Batch(1, "query", "a", picks, 3, 0.6),), units=UNITS)
    run = RunHistory("r", (study,))
    assert [line for line in explain_history(run, "Iaaa").splitlines() if "asked as" in line] == [
        "  round 1: asked as Iaaa#Mass, pick 1 of 3 (query, strategy a)",
        "  round 1: asked as Iaaa#Effusion, pick 3 of 3 (query, strategy a)",
    ]
    assert explain_history(run, "Iaaa#Mass").count("asked as") == 1
    assert "never asked" in explain_history(run, "Iccc#Mass")


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        ("Iaab", "unit 'Iaab' is not in this study; did you mean 'Iaaa' or 'Ibbb'?"),
        ("Ibb#Mas", "did you mean 'Ibbb#Mass'?"),
        ("Iaaa#Masss", "did you mean 'Iaaa#Mass'?"),
        ("nothing like it", "ids stand in units.csv"),
    ],
)
def test_an_unknown_unit_names_the_nearest(run, unit, message):
    with pytest.raises(UnitError) as error:
        explain_history(run, unit)
    assert message in str(error.value)


def test_a_study_folder_is_read(tmp_path):
    asked = {"round": 0, "purpose": "start", "strategy": "random", "ids": ["Iaaa"], "scores": [None], "terms": [{}]}
    with Study.create(tmp_path / "s", {"arm": "random", "seed": 0, **OPENED}, list(UNITS.values())) as study:
        study.ledger.append("asked", {**asked, "cost": {"items": 1.0, "minutes": 1.0}})
    assert "round 0: asked as Iaaa, pick 1 of 1" in explain(tmp_path / "s", "Iaaa")


def test_a_retired_unit_says_by_whom_and_why(run):
    gone = replace(run.studies[0], answers=(), retired=(Retired("Iaaa", "rotated", "R2"), Retired("Iccc", "", "")))
    lines = explain_history(replace(run, studies=(gone,)), "Iaaa").splitlines()
    assert "    retired by R2: cannot be labelled, rotated" in lines
    assert "    answer: not answered yet" not in lines
    lines = explain_history(replace(run, studies=(gone,)), "Iccc").splitlines()
    assert lines[-2:] == ["epistemic, seed 0", "    retired by an unnamed reader: cannot be labelled"]


def test_what_nobody_asked_for_says_who_brought_it(run):
    answers = (Answer("Iccc", 0, "imported", (1.0, 0.0), float("nan"), "clinic"),)
    answers += (Answer("Iccc", 1, "imported", (0.0, 0.0), float("nan"), "R1"),)
    text = explain_history(replace(run, studies=(replace(run.studies[0], answers=answers),)), "Iccc")
    assert "    label that was there before: present: Effusion; absent: 1 other; by clinic" in text
    assert "    volunteered: none of the 2 findings; by R1" in text
