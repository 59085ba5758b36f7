from __future__ import annotations

import math
from dataclasses import replace

from medal.report.history import Answer, Batch, Pick, RunHistory, StudyHistory
from medal.report.selection import label_comparison
from medal.report.selection_tables import asked_table, label_share_table, spread_table

UNITS = {u: {"id": u, "group": "P1" if u in "ab" else u, "split": "pool"} for u in "abcd"}


def study(arm: str, units: str, present: float) -> StudyHistory:
    batch = Batch(1, "query", arm, tuple(Pick(u, 0.5) for u in units), len(units), 1.0)
    answers = tuple(Answer(u, 1, "query", (present,), 60.0, "A") for u in units)
    return StudyHistory(arm, 0, {"data": {"labels": ["Mass"]}}, batches=(batch,), answers=answers, units=UNITS)


RUN = RunHistory("r", (study("epistemic", "ab", 1.0), study("random", "cd", 0.0)))


def test_shares_stand_beside_the_estimate_and_its_interval():
    comparison = label_comparison(RUN)
    assert comparison is not None
    table = label_share_table(RUN, comparison)
    assert table.columns == ("Label", "Pool (estimate)", "random", "epistemic")
    (row,) = table.rows
    # 0 of 2: the upper Wilson end is z^2 / (2 + z^2) = 0.6576
    assert [(cell.text, cell.note) for cell in row[1:]] == [("0 %", "0 % to 66 %"), ("0 %", ""), ("100 %", "")]
    assert "2 units drawn at random" in table.caption


def test_spread_counts_patients_and_tells_what_is_usual():
    table = spread_table(RUN)
    assert table is not None
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["random", "2", "2", "1.00", "1", "0.00"],
        ["epistemic", "2", "1", "0.50", "2", "1.00"],
    ]
    assert "Units drawn at random have 0.00 findings per image." in table.caption
    assert spread_table(RunHistory("r", (StudyHistory("random", 0),))) is None


def test_what_people_were_asked_names_the_strategy_of_each_batch():
    batches = (
        Batch(0, "validation", "random", (Pick("v", math.nan),), 1, 1),
        Batch(1, "query", "beta_epistemic", (Pick("a", 1.0), Pick("b", 0.9)), 2, 2),
        Batch(2, "query", "entropy", (Pick("c", 0.5),), 1, 1),
    )
    answers = (Answer("v", 0, "validation", (1.0,), 9.0, "R"), Answer("a", 1, "query", (0.0,), 9.0, "R"))
    study = StudyHistory("beta_epistemic", 0, batches=batches, answers=answers, people=True)
    table = asked_table(RunHistory("r", (study,)))
    assert table is not None
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["0", "to measure", "random", "1", "1"],
        ["1", "to learn from", "beta_epistemic", "2", "1"],
        ["2", "to learn from", "entropy", "1", "0"],
    ]
    assert asked_table(RunHistory("r", (replace(study, people=False),))) is None
