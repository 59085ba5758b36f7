from __future__ import annotations

import math
from dataclasses import replace

from medal.report.costs import cost_of_round, cost_summary, cost_table
from medal.report.history import Answer, Batch, Pick, RunHistory, StudyHistory


def study(seed: int, rounds: int, seconds: float) -> StudyHistory:
    batches, answers = [], []
    for n in range(rounds):
        picks = (Pick("a", 0.1), Pick("b", 0.1))
        batches.append(Batch(n, "query" if n else "start", "epistemic", picks, 2, 3.0, seconds=1.5 if n else math.nan))
        answers += [Answer(u, n, "query", (1.0,), seconds, "A") for u in "ab"]
    return StudyHistory(
        "epistemic", seed, batches=tuple(batches), answers=tuple(answers), training_seconds={0: 10.0, 1: 30.0}
    )


def test_cost_of_a_round_adds_what_was_measured():
    items, planned, expert, selecting, training = cost_of_round(study(0, 2, 60.0), 1)
    assert (items, planned, expert, selecting, training) == (2, 3.0, 2.0, 1.5, 30.0)
    assert math.isnan(cost_of_round(study(0, 2, 60.0), 0)[3])
    assert math.isnan(cost_of_round(study(0, 2, math.nan), 1)[2])


def test_rounds_are_means_over_the_seeds_that_reached_them():
    run = RunHistory("r", (study(0, 2, 60.0), study(1, 1, 120.0)))
    rows = [[cell.text for cell in row] for row in cost_table(run, "epistemic").rows]
    assert rows[0] == ["0 (start set)", "2", "3.0", "3.0", "–", "10 s"]
    assert rows[1] == ["1 (query)", "2", "3.0", "2.0", "1.5 s", "30 s"]
    assert rows[2] == ["All rounds", "4", "6.0", "5.0", "1.5 s", "40 s"]


def test_summary_means_whole_studies():
    run = RunHistory("r", (study(0, 2, 60.0), study(1, 1, 120.0), StudyHistory("idle", 0)))
    (row,) = cost_summary(run).rows
    assert [cell.text for cell in row] == ["epistemic", "2", "3", "4.5", "4.0", "1.5 s", "25 s"]


def test_means_over_seeds_are_only_spoken_of_where_there_are_seeds(pair):
    batch = Batch(0, "start", "random", (), 10, 10)
    several = RunHistory("r", tuple(replace(study, batches=(batch,)) for study in pair.studies))
    one = RunHistory("r", several.studies[:1])
    assert "mean over seeds" in cost_summary(several).caption
    assert "seed" not in cost_summary(one).caption
    assert "seed" not in cost_table(one, one.arms[0]).caption


def test_times_of_answers_told_in_a_round_without_questions_are_counted():
    answers = (Answer("a", 0, "query", (1.0,), 60.0, "R"), Answer("b", 1, "query", (1.0,), 120.0, "R"))
    study = StudyHistory("a", 0, batches=(Batch(0, "query", "a", (), 2, 2),), answers=answers)
    assert cost_summary(RunHistory("r", (study,))).rows[0][4].text == "3.0"
