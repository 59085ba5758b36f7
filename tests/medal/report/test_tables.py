from __future__ import annotations

import math
from dataclasses import replace

import pytest

from medal.report.history import LabelMeasures, Round, RunHistory
from medal.report.tables import Cell, banded, comparison_table, curve_table, label_tables, rounds_evaluated

NAN = math.nan


def measures(auroc: float, positives: int = 30, estimable: bool = True) -> LabelMeasures:
    return LabelMeasures(auroc, auroc / 2, 0.05, 0.1, positives, 200, estimable)


@pytest.fixture
def labelled(make_history):
    """Effusion is estimable in both seeds of `a`, Mass in one, Hernia in none."""

    def study(arm: str, seed: int, auroc: float, mass: bool):
        labels = {
            "Effusion": measures(auroc),
            "Mass": measures(auroc, 20 if mass else 19, mass),
            "Hernia": measures(0.9, 2, False),
        }
        opened = {"data": {"labels": list(labels)}}
        return replace(
            make_history(arm, seed, [0.5], opened=opened), rounds=(Round(0, 100, 150, {"auroc": 0.5}, labels),)
        )

    return RunHistory("r", (study("a", 0, 0.7, True), study("a", 1, 0.8, False), study("random", 0, 0.6, True)))


def width(row: tuple[Cell, ...]) -> int:
    return sum(cell.span for cell in row)


def test_banded_notes_the_range_only_for_several_seeds():
    assert banded([0.5]) == Cell("0.500")
    assert banded([0.5, 0.7]) == Cell("0.600", "0.500 to 0.700")


def test_label_table_means_estimable_seeds_and_says_not_estimable(labelled):
    (table,) = label_tables(labelled, 0)
    assert table.columns == ("Label", "Positives", "random", "a", "random", "a", "random", "a")
    rows = {row[0].text: row for row in table.rows}
    assert rows["Effusion"][3] == Cell("0.750", "0.700 to 0.800")
    assert rows["Mass"][1].text == "19 to 20"
    assert rows["Mass"][3] == Cell("0.700", "(1 of 2 seeds)")
    assert [cell.text for cell in rows["Hernia"]] == ["Hernia", "2", "not estimable"]
    assert {width(row) for row in table.rows} == {len(table.columns)} == {sum(span for _, span in table.groups)}


def test_many_arms_get_one_table_for_each_measure(labelled):
    studies = [replace(s, arm=arm) for arm in ("a", "b", "random") for s in labelled.studies[:1]]
    tables = label_tables(RunHistory("r", tuple(studies)), 0)
    assert [table.groups[-1] for table in tables] == [("AUROC", 3), ("AUPRC", 3), ("ECE", 3)]


def test_rounds_are_listed_last_first_and_only_with_measures(labelled, make_history):
    assert rounds_evaluated(labelled) == (0,)
    assert rounds_evaluated(RunHistory("r", (make_history("a", 0, [0.5, 0.6]),))) == ()


def test_comparison_table_holds_area_last_value_and_paired_difference(pair):
    rows = {row[0].text: [cell.text for cell in row] for row in comparison_table(pair).rows}
    # area of 0.71, 0.73, 0.75, 0.77 in equal steps is 0.74; the differences are 0.01, 0.02, -0.01
    assert rows["random"] == ["random", "3", "0 to 3", "0.740", "0.770", "reference", "–", "–", "–"]
    assert rows["epistemic"][5:] == ["+0.007", "3", "0.75", "1 of 3"]
    (row,) = [row for row in comparison_table(pair).rows if row[0].text == "epistemic"]
    assert row[5].note == "−0.010 to +0.020"


def test_a_study_that_lags_behind_is_not_averaged_into_later_rounds(make_history):
    run = RunHistory("r", (make_history("random", 0, [0.5, 0.6, 0.9]), make_history("random", 1, [0.5, 0.6])))
    (row,) = comparison_table(run).rows
    assert [cell.text for cell in row[1:5]] == ["2", "0 to 1", "0.550", "0.600"]


def test_arms_without_values_have_a_row_of_dashes(make_history):
    run = RunHistory("r", (make_history("random", 0, []), make_history("a", 0, [NAN])))
    table = comparison_table(run)
    assert {width(row) for row in table.rows} == {len(table.columns)}
    assert table.rows[1][1:5] == (Cell("0"), Cell("–"), Cell("–"), Cell("–"))


def test_curve_table_lists_every_point(pair):
    table = curve_table(pair)
    assert len(table.rows) == 8
    assert [cell.text for cell in table.rows[1]] == ["random, round 1", "120", "180.0", "0.730", "0.365", "0.100"]
    assert table.rows[1][3].note == "0.720 to 0.740"
