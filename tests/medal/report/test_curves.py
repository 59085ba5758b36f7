from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from medal.report.curves import area, compared, curve, difference_band, last_common, points
from medal.report.history import Measures, Round, RunHistory, StudyHistory


def test_curve_means_each_round_over_seeds(pair):
    line = curve(pair.of("random"), "auroc", "minutes")
    assert line is not None
    assert line.rounds == (0, 1, 2, 3)
    assert line.x == (150, 180, 210, 240)
    assert line.y[0].mean == pytest.approx((0.70 + 0.72 + 0.71) / 3)
    assert (line.y[0].low, line.y[0].high) == (0.70, 0.72)
    assert line.tails == ()


def test_curve_stops_at_the_slowest_seed_and_keeps_the_rest_as_tails(make_history):
    line = curve([make_history("a", 0, [0.5, 0.6, 0.7]), make_history("a", 1, [0.7, 0.8])], "auroc", "items")
    assert line is not None
    assert line.rounds == (0, 1)
    assert line.y[1].mean == pytest.approx(0.7)
    assert line.tails == (((120, 140), (0.6, 0.7)),)


def test_a_seed_without_evaluations_does_not_shorten_the_curve(make_history):
    line = curve([make_history("a", 0, [0.5, 0.6]), make_history("a", 1, [])], "auroc", "items")
    assert line is not None
    assert (line.seeds, line.rounds) == (1, (0, 1))


def test_rounds_without_a_value_are_left_out(make_history):
    study = make_history("a", 0, [0.5, math.nan, 0.7])
    assert [n for n, _, _ in points(study, "auroc", "items")] == [0, 2]
    assert curve([make_history("a", 0, [math.nan])], "auroc", "items") is None


def test_area_is_the_mean_height_and_needs_two_points():
    assert area([(0, 0.0, 0.5), (1, 10.0, 0.7), (2, 30.0, 0.7)]) == pytest.approx(20 / 30)
    assert math.isnan(area([(0, 5.0, 0.5)]))


def test_paired_differences_are_taken_seed_by_seed(pair):
    result = compared(pair, "auroc")["epistemic"]
    assert result.blocks == 3
    np.testing.assert_allclose(result.differences, (0.01, 0.02, -0.01), atol=1e-12)
    assert result.mean == pytest.approx(0.02 / 3)
    assert result.worse == 1
    assert result.p == 0.75  # of the 8 sign patterns 6 lie as far out
    assert result.underpowered


def test_paired_differences_change_sign_with_the_reference(pair):
    forth, back = compared(pair, "auroc")["epistemic"], compared(pair, "auroc", reference="epistemic")["random"]
    np.testing.assert_allclose(forth.differences, -np.array(back.differences), atol=1e-12)


def test_only_the_common_budget_counts(make_history):
    # random goes on to 160 items, where it is far better; the pair is compared on 100 to 120 items alone
    long, short = make_history("random", 0, [0.5, 0.5, 0.9, 0.9]), make_history("a", 0, [0.6, 0.6])
    assert compared(RunHistory("r", (long, short)), "auroc")["a"].differences == pytest.approx((0.1,))


def test_different_budgets_are_compared_along_the_lines_between_evaluations(make_history):
    # a: 0.5 to 0.7 over 100..140; random: 0.5 to 0.6 over 110..130. On 110..130 a rises from 0.55 to 0.65.
    a = make_history("a", 0, [0.5, 0.7], step=40)
    random = make_history("random", 0, [0.5, 0.6], first=110)
    assert compared(RunHistory("r", (a, random)), "auroc")["a"].differences == pytest.approx((0.05,))


@pytest.mark.parametrize("change", ["seed", "split", "learner", "data"])
def test_studies_that_differ_in_more_than_the_arm_are_no_pair(make_history, change):
    a, random = make_history("a", 0, [0.5, 0.6]), make_history("random", 0, [0.5, 0.6])
    assert compared(RunHistory("r", (a, random)), "auroc")["a"].blocks == 1
    other = {
        "seed": {"seed": 1},
        "split": {"opened": {**random.opened, "split": {"hash": "another"}}},
        "learner": {"opened": {**random.opened, "recipe": {"learner": {"epochs": 3}}}},
        "data": {"opened": {**random.opened, "data": {"digest": "another"}}},
    }[change]
    assert compared(RunHistory("r", (a, replace(random, **other))), "auroc")["a"].blocks == 0


def test_one_common_budget_makes_no_difference(make_history):
    run = RunHistory("r", (make_history("a", 0, [0.5]), make_history("random", 0, [0.4])))
    assert compared(run, "auroc")["a"].blocks == 0


def test_ten_seeds_are_enough_for_a_claim(make_history):
    studies = [make_history(arm, seed, [0.5, 0.6]) for seed in range(10) for arm in ("a", "random")]
    assert not compared(RunHistory("r", tuple(studies)), "auroc")["a"].underpowered


def test_last_common_round_is_the_one_that_all_have_reached(pair, make_history):
    assert last_common(pair, ["epistemic", "random"], "auroc") == 3
    run = RunHistory("r", (*pair.studies, make_history("late", 0, [0.5, 0.6])))
    assert last_common(run, ["late", "random"], "auroc") == 1
    assert last_common(RunHistory("r", ()), ["random"], "auroc") is None


def test_a_handful_of_pairs_shows_its_range_and_ten_a_bootstrap(pair, make_history):
    low, high, name = difference_band(compared(pair, "auroc")["epistemic"])
    assert (low, high) == pytest.approx((-0.01, 0.02))
    assert name == "minimum to maximum"
    studies = [make_history(arm, k, [0.5, 0.6 + 0.01 * k * (arm == "a")]) for k in range(10) for arm in ("a", "random")]
    found = compared(RunHistory("r", tuple(studies)), "auroc")["a"]
    low, high, name = difference_band(found)
    assert (low, high, name) == (found.low, found.high, "95 % bootstrap interval")
    assert min(found.differences) < low < found.mean < high < max(found.differences)


def test_arms_are_adjusted_together(make_history):
    shifts = {"random": 0.0, "a": 0.02, "b": 0.01}
    studies = [make_history(n, k, [0.5, 0.6 + v]) for n, v in shifts.items() for k in range(6)]
    found = compared(RunHistory("r", tuple(studies)), "auroc")
    assert found["a"].p == 2 / 2**6
    assert found["a"].adjusted == found["b"].adjusted == 4 / 2**6


def test_a_round_that_cost_nothing_takes_the_place_of_the_one_before(make_history):
    line = make_history("a", 0, [0.5, 0.6, 0.7], step=0)
    assert points(line, "auroc", "items") == [(2, 100.0, 0.7)]


def test_without_a_test_set_the_validation_arm_is_drawn():
    rounds = tuple(Round(n, 10.0 * (n + 1), 1, {}, {}, validation=Measures({"auroc": 0.6 + n / 10})) for n in range(2))
    study = StudyHistory("a", 0, rounds=rounds)
    assert study.part == "validation"
    assert points(study, "auroc", "items") == [(0, 10.0, 0.6), (1, 20.0, 0.7)]
    both = replace(study, rounds=(replace(rounds[0], macro={"auroc": 0.8}), rounds[1]))
    assert both.part == "test"
    assert points(both, "auroc", "items") == [(0, 10.0, 0.8)]
