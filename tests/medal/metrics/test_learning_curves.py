from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from medal.errors import BudgetError, ConfigError
from medal.metrics import area_between, aubc, band, labels_to_reach

steps = st.lists(st.tuples(st.floats(0.1, 100), st.floats(0, 1)), min_size=2, max_size=12)


def test_area_by_hand():
    # (100 * .65 + 200 * .75) / 300; over log x both halves weigh the same
    assert aubc([100, 200, 400], [0.6, 0.7, 0.8]) == pytest.approx(215 / 300)
    assert aubc([100, 200, 400], [0.6, 0.7, 0.8], log=True) == pytest.approx(0.7)


@settings(deadline=None, derandomize=True)
@given(steps)
def test_area_lies_between_lowest_and_highest(points: list[tuple[float, float]]):
    x = np.cumsum([step for step, _ in points])
    y = [value for _, value in points]
    for log in (False, True):
        assert min(y) - 1e-9 <= aubc(x, y, log=log) <= max(y) + 1e-9
    assert aubc(7 * x + 3, y) == pytest.approx(aubc(x, y), abs=1e-9)
    assert aubc(7 * x, y, log=True) == pytest.approx(aubc(x, y, log=True), abs=1e-9)


def test_area_of_a_constant_is_the_constant():
    assert aubc([1, 5, 20], [0.8] * 3) == pytest.approx(0.8)
    assert aubc([1, 5, 20], [0.8] * 3, log=True) == pytest.approx(0.8)


def test_points_on_the_curve_change_no_area():
    assert aubc([0, 5, 10], [0, 0.5, 1]) == pytest.approx(aubc([0, 10], [0, 1]))


def test_area_between_curves_counts_the_shared_budgets_alone():
    # 0.55 to 0.65 against 0.5 to 0.6 over 110..130
    assert area_between([100, 140], [0.5, 0.7], [110, 130], [0.5, 0.6]) == pytest.approx(0.05)
    assert area_between([110, 130], [0.5, 0.6], [100, 140], [0.5, 0.7]) == pytest.approx(-0.05)
    assert math.isnan(area_between([1, 2], [0.5, 0.6], [2, 3], [0.5, 0.6]))
    with pytest.raises(BudgetError, match="do not ascend"):
        area_between([2, 1], [0.5, 0.6], [1, 2], [0.5, 0.6])


def test_labels_to_reach_a_target():
    x, y = [100, 200, 300], [0.5, 0.7, 0.8]
    assert labels_to_reach(x, y, 0.6) == pytest.approx(150)
    assert labels_to_reach(x, y, 0.7) == 200
    assert labels_to_reach(x, y, 0.8) == 300
    assert labels_to_reach(x, y, 0.4) == 100
    assert labels_to_reach(x, y, 0.81) is None


def test_the_first_crossing_counts():
    assert labels_to_reach([1, 2, 3, 4], [0.5, 0.8, 0.6, 0.9], 0.8) == 2


def test_range_over_seeds():
    found = band([[0.5, 0.6], [0.7, 0.6], [0.6, 0.9]])
    np.testing.assert_allclose(found.mean, [0.6, 0.7])
    assert (found.low, found.high, found.seeds) == ((0.5, 0.6), (0.7, 0.9), 3)


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_interval_agrees_with_scipy(level: float):
    curves = np.random.default_rng(0).normal(size=(10, 4))
    found = band(list(curves), kind="t", level=level)
    low, high = scipy.stats.t.interval(level, 9, loc=curves.mean(0), scale=scipy.stats.sem(curves))
    np.testing.assert_allclose(found.low, low)
    np.testing.assert_allclose(found.high, high)
    assert found.seeds == 10


def test_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    found = band(list(rng.normal(size=(5, 20_000))), kind="t", level=0.9)
    covered = (np.array(found.low) <= 0) & (np.array(found.high) >= 0)
    assert covered.mean() == pytest.approx(0.9, abs=0.01)


def test_order_of_seeds_does_not_matter():
    curves = np.random.default_rng(1).normal(size=(4, 3))
    first, second = (band(list(c), kind="t") for c in (curves, curves[::-1]))
    np.testing.assert_allclose([first.mean, first.low, first.high], [second.mean, second.low, second.high])


def test_one_seed_has_a_range_but_no_interval():
    assert band([[0.5, 0.6]]).low == (0.5, 0.6)
    found = band([[0.5, 0.6]], kind="t")
    assert found.mean == (0.5, 0.6)
    assert all(math.isnan(v) for v in (*found.low, *found.high))


def test_errors_name_the_mend():
    with pytest.raises(BudgetError, match="found 1 point, expected at least 2"):
        aubc([1], [0.5])
    with pytest.raises(BudgetError, match="found a budget of 0, expected above 0; drop that point"):
        aubc([0, 1], [0.5, 0.6], log=True)
    with pytest.raises(BudgetError, match="do not ascend"):
        aubc([1, 1], [0.5, 0.6])
    with pytest.raises(BudgetError, match="not finite; leave out the rounds"):
        labels_to_reach([1, 2], [0.5, math.nan], 0.5)
    with pytest.raises(BudgetError, match=r"budgets \(2,\) and values \(3,\)"):
        aubc([1, 2], [0.5, 0.6, 0.7])
    with pytest.raises(ConfigError, match=r"curves have \[1, 2\] points"):
        band([[0.5], [0.5, 0.6]])
    with pytest.raises(ConfigError, match=r"curves have \[\] points"):
        band([])


@pytest.mark.skipif(hasattr(band, "__wrapped__"), reason="the run-time type checker refuses it first")
def test_unknown_kind_is_an_error():
    with pytest.raises(ConfigError, match=r"found kind 'sd' and level 0\.95"):
        band([[0.5]], kind="sd")  # pyright: ignore[reportArgumentType]
