from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import curve_fit

from medal.errors import BudgetError
from medal.metrics import PowerLaw, fit_power_law, forecast
from medal.seeding import Seed

N = np.array([50, 100, 200, 400, 800.0])


@pytest.mark.parametrize("truth", [PowerLaw(0.9, 2.0, 0.5), PowerLaw(0.8, 5.0, 1.0), PowerLaw(0.95, 0.9, 0.25)])
def test_a_power_law_is_found_again(truth):
    found = fit_power_law(N, truth.at(N))
    np.testing.assert_allclose(found.at(N), truth.at(N), atol=5e-4)
    assert found.asymptote == pytest.approx(truth.asymptote, abs=0.01)
    assert found.exponent == pytest.approx(truth.exponent, rel=0.05)


def test_the_fit_is_as_good_as_a_general_optimiser():
    rng = np.random.default_rng(0)
    for _ in range(10):
        y = PowerLaw(0.88, 1.5, 0.5).at(N) + 0.01 * rng.normal(size=5)
        found = fit_power_law(N, y)
        other, _ = curve_fit(
            lambda n, a, b, c: a - b * (n / 50) ** -c,
            N,
            y,
            p0=(0.85, 0.2, 0.5),
            bounds=([0, 0, 0.1], [1, 9, 2]),
            maxfev=9999,
        )
        theirs = np.square(other[0] - other[1] * (N / 50) ** -other[2] - y).sum()
        assert np.square(found.at(N) - y).sum() <= theirs + 1e-6


def test_a_falling_curve_becomes_flat_and_the_asymptote_keeps_below_the_ceiling():
    falling = fit_power_law(N, [0.8, 0.79, 0.78, 0.77, 0.76])
    assert falling.scale == 0
    assert falling.asymptote == pytest.approx(0.78)
    straight = fit_power_law(N, [0.6, 0.7, 0.8, 0.9, 1.0])
    assert straight.asymptote <= 1.0
    assert fit_power_law(N, [0.6, 0.7, 0.8, 0.9, 1.0], ceiling=2.0).asymptote > 1.0


def test_the_unit_of_the_budget_does_not_matter():
    y = [0.60, 0.66, 0.71, 0.74, 0.75]
    one, two = fit_power_law(N, y), fit_power_law(60 * N, y)
    assert (one.asymptote, one.exponent) == pytest.approx((two.asymptote, two.exponent))
    assert two.reach(0.74) == pytest.approx(60 * one.reach(0.74))


def test_how_many_more_labels():
    truth = PowerLaw(0.9, 2.0, 0.5)
    found = forecast(N, truth.at(N), Seed(0))
    # 0.9 - 2 / sqrt(n) = 0.85 at n = 1600, which is 800 more
    more = found.more(0.85)
    assert more.labels == pytest.approx(800, rel=0.05)
    assert more.low <= more.labels <= more.high
    assert more.reachable == 1.0
    assert found.more(0.7).labels == 0
    beyond = found.more(0.95)
    assert (beyond.labels, beyond.low, beyond.reachable) == (math.inf, math.inf, 0.0)


def test_reach_of_flat_curves():
    assert PowerLaw(0.8, 0.0, 0.5).reach(0.8) == 0
    assert PowerLaw(0.8, 0.0, 0.5).reach(0.81) == math.inf
    assert PowerLaw(0.8, 1.0, 0.5).reach(0.8) == math.inf


def test_noise_widens_the_interval_and_keeps_the_truth_inside():
    truth = PowerLaw(0.9, 2.0, 0.5)
    rng = np.random.default_rng(0)
    n = np.arange(100, 1100, 100.0)
    inside, widths = 0, []
    for trial in range(30):
        found = forecast(n, truth.at(n) + 0.01 * rng.normal(size=10), Seed(trial), resamples=200).at(1500)
        inside += found.low <= truth.at(1500) <= found.high
        widths.append(found.high - found.low)
    assert inside >= 26
    calm = forecast(n, truth.at(n) + 0.001 * rng.normal(size=10), Seed(0), resamples=200).at(1500)
    assert calm.high - calm.low < 0.5 * np.mean(widths)


def test_replicates_of_the_patients_widen_it_further():
    truth = PowerLaw(0.9, 2.0, 0.5).at(N)
    shared = 0.03 * np.random.default_rng(0).normal(size=(500, 1))  # the same patients in all rounds
    alone, with_patients = forecast(N, truth, Seed(0)), forecast(N, truth, Seed(0), replicates=truth + shared)
    for at in (800, 1600):
        a, b = alone.at(at), with_patients.at(at)
        assert b.high - b.low > a.high - a.low + 0.05
    # a shift of the whole curve says nothing about how much is still to gain
    gain = with_patients.gain(800)
    assert gain.high - gain.low < 0.02
    assert gain.value == pytest.approx(2 / math.sqrt(800) - 2 / math.sqrt(1600), abs=2e-3)


def test_replicates_that_are_not_defined_are_left_out():
    truth = PowerLaw(0.9, 2.0, 0.5).at(N)
    replicates = np.tile(truth, (10, 1))
    replicates[0, 2] = math.nan
    assert len(forecast(N, truth, Seed(0), replicates=replicates).drawn) == 9
    with pytest.raises(BudgetError, match="no replicate that is finite"):
        forecast(N, truth, Seed(0), replicates=replicates[:1])


def test_the_same_seed_gives_the_same_forecast():
    y = [0.60, 0.66, 0.70, 0.74, 0.75]
    one, two, other = forecast(N, y, Seed(0)), forecast(N, y, Seed(0)), forecast(N, y, Seed(1))
    np.testing.assert_array_equal(one.drawn, two.drawn)
    assert one.more(0.77) == two.more(0.77)
    assert (one.drawn != other.drawn).any()


def test_the_interval_of_more_labels_may_end_at_infinity():
    y = [0.60, 0.66, 0.70, 0.735, 0.745]
    found = forecast(N, y, Seed(0))
    more = found.more(found.curve.asymptote - 0.005)
    assert math.isfinite(more.low)
    assert more.high == math.inf
    assert 0 < more.reachable < 1


def test_what_is_no_learning_curve():
    with pytest.raises(BudgetError, match="found 3 points; expected at least 4"):
        fit_power_law(N[:3], [0.5, 0.6, 0.7])
    with pytest.raises(BudgetError, match="ascending"):
        fit_power_law([1, 3, 2, 4], [0.5, 0.6, 0.7, 0.8])
    with pytest.raises(BudgetError, match="above 0"):
        fit_power_law([0, 1, 2, 3], [0.5, 0.6, 0.7, 0.8])
    with pytest.raises(BudgetError, match="finite numbers twice"):
        forecast(N, [0.5, 0.6, math.nan, 0.7, 0.8], Seed(0))
    with pytest.raises(BudgetError, match=r"expected \(B, 5\)"):
        forecast(N, [0.5, 0.6, 0.7, 0.7, 0.8], Seed(0), replicates=np.zeros((3, 4)))
