from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from medal.report.curves import area, curve, last_common, paired, points, summary
from medal.report.history import RunHistory


def test_the_band_is_min_to_max_below_ten_seeds_and_a_t_interval_from_ten():
    nine = list(np.linspace(0.7, 0.8, 9))
    assert (summary(nine).low, summary(nine).high) == (0.7, 0.8)
    ten = list(np.linspace(0.7, 0.8, 10))
    expected = stats.t.interval(0.95, 9, np.mean(ten), stats.sem(ten))
    np.testing.assert_allclose((summary(ten).low, summary(ten).high), expected)


def test_summary_of_nothing_is_nan_with_count_zero():
    assert summary([math.nan]).count == 0
    assert math.isnan(summary([]).mean)


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
    result = paired(pair, "epistemic", "auroc")
    assert result.seeds == (0, 1, 2)
    np.testing.assert_allclose(result.differences, (0.01, 0.02, -0.01), atol=1e-12)
    assert result.summary.mean == pytest.approx(0.02 / 3)
    assert result.worse == 1
    assert result.underpowered


def test_paired_differences_change_sign_with_the_reference(pair):
    forth, back = paired(pair, "epistemic", "auroc"), paired(pair, "random", "auroc", reference="epistemic")
    np.testing.assert_allclose(forth.differences, -np.array(back.differences), atol=1e-12)


def test_only_the_common_budget_counts(make_history):
    # random goes on to 160 items, where it is far better; the pair is compared on 100 to 120 items alone
    long, short = make_history("random", 0, [0.5, 0.5, 0.9, 0.9]), make_history("a", 0, [0.6, 0.6])
    assert paired(RunHistory("r", (long, short)), "a", "auroc").differences == pytest.approx((0.1,))


def test_different_budgets_are_compared_along_the_lines_between_evaluations(make_history):
    # a: 0.5 to 0.7 over 100..140; random: 0.5 to 0.6 over 110..130. On 110..130 a rises from 0.55 to 0.65.
    a = make_history("a", 0, [0.5, 0.7], step=40)
    random = make_history("random", 0, [0.5, 0.6], first=110)
    assert paired(RunHistory("r", (a, random)), "a", "auroc").differences == pytest.approx((0.05,))


@pytest.mark.parametrize("change", ["seed", "split", "learner", "data"])
def test_studies_that_differ_in_more_than_the_arm_are_no_pair(make_history, change):
    a, random = make_history("a", 0, [0.5, 0.6]), make_history("random", 0, [0.5, 0.6])
    assert paired(RunHistory("r", (a, random)), "a", "auroc").seeds == (0,)
    other = {
        "seed": {"seed": 1},
        "split": {"opened": {**random.opened, "split": {"hash": "another"}}},
        "learner": {"opened": {**random.opened, "recipe": {"learner": {"epochs": 3}}}},
        "data": {"opened": {**random.opened, "data": {"digest": "another"}}},
    }[change]
    assert paired(RunHistory("r", (a, replace(random, **other))), "a", "auroc").seeds == ()


def test_one_common_budget_makes_no_difference(make_history):
    run = RunHistory("r", (make_history("a", 0, [0.5]), make_history("random", 0, [0.4])))
    assert paired(run, "a", "auroc").seeds == ()


def test_ten_seeds_are_enough_for_a_claim(make_history):
    studies = [make_history(arm, seed, [0.5, 0.6]) for seed in range(10) for arm in ("a", "random")]
    assert not paired(RunHistory("r", tuple(studies)), "a", "auroc").underpowered


def test_last_common_round_is_the_one_that_all_have_reached(pair, make_history):
    assert last_common(pair, ["epistemic", "random"], "auroc") == 3
    run = RunHistory("r", (*pair.studies, make_history("late", 0, [0.5, 0.6])))
    assert last_common(run, ["late", "random"], "auroc") == 1
    assert last_common(RunHistory("r", ()), ["random"], "auroc") is None
