from __future__ import annotations

import yaml

from medal.report.history import Batch, Pick, RunHistory, StudyHistory
from medal.report.provenance import facts, quarantine_table, recipes, study_table


def study(arm: str, seed: int, torch: str = "2.13", start: str = "a", **more) -> StudyHistory:
    opened = {
        "medal": "0.1.0",
        "versions": {"torch": torch},
        "split": {"hash": "5a"},
        "recipe": {"arm": arm, "seed": seed},
    }
    return StudyHistory(arm, seed, opened, batches=(Batch(0, "start", "random", (Pick(start, 0.0),), 1, 1),), **more)


def test_what_all_studies_share_is_said_once():
    found = dict(facts(RunHistory("r", (study("a", 0), study("random", 0)))))
    assert found == {
        "Split hash": "5a",
        "medal": "0.1.0",
        "torch": "2.13",
        "Start sets": "the same for all arms with the same seed",
    }


def test_what_differs_names_its_studies():
    found = dict(facts(RunHistory("r", (study("a", 0), study("random", 0, torch="2.12", start="b")))))
    assert found["torch"] == "2.13 (a, seed 0); 2.12 (random, seed 0)"
    assert found["Start sets"] == "differ between arms for seed 0"


def test_heads_and_states_are_listed_for_every_study():
    run = RunHistory("r", (study("a", 0, head="f0" * 32, closed="played"), StudyHistory("random", 0)))
    rows = [[cell.text for cell in row] for row in study_table(run).rows]
    assert rows == [["a, seed 0", "finished (played)", "f0" * 32], ["random, seed 0", "not begun", "–"]]


def test_one_recipe_for_each_arm_that_reads_back():
    found = recipes(RunHistory("r", (study("a", 0), study("a", 1), study("random", 0), StudyHistory("late", 0))))
    assert [recipe.title for recipe in found] == ["random, seed 0", "a, seed 0"]
    assert yaml.safe_load(found[1].text) == {"arm": "a", "seed": 0}


def test_quarantined_files_are_listed_once_with_their_reason():
    broken = {"I2": "torn", "I1": "no pixels"}
    table = quarantine_table(
        RunHistory("r", (study("a", 0, quarantined=broken), study("a", 1, quarantined={"I2": "torn"})))
    )
    assert table is not None
    assert [[c.text for c in row] for row in table.rows] == [
        ["I1", "no pixels", "1 study"],
        ["I2", "torn", "2 studies"],
    ]
    assert quarantine_table(RunHistory("r", (study("a", 0),))) is None
