from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from medal.metrics import PowerLaw, forecast, prediction_stability, suggest
from medal.metrics.cluster_bootstrap import Interval
from medal.seeding import Seed

N = np.array([50, 100, 200, 400, 800.0])


def ahead(curve: PowerLaw, noise: float = 0.0):
    return forecast(N, curve.at(N) + noise * np.array([1, -1, 0.5, -1, 0.5]), Seed(0))


def test_a_steep_curve_goes_on_and_a_flat_one_stops():
    assert suggest(ahead(PowerLaw(0.95, 2.0, 0.4), 0.001)).verdict == "go on"
    assert suggest(ahead(PowerLaw(0.8, 8.0, 1.5), 0.0005)).verdict == "stop"


def test_noise_leaves_it_open():
    found = suggest(ahead(PowerLaw(0.8, 0.8, 0.5), 0.02))
    assert found.verdict == "cannot tell"
    assert "Another 400 labels are expected to add" in found.reasons[0]


def test_the_least_gain_and_the_look_ahead_decide():
    curve = ahead(PowerLaw(0.9, 2.0, 0.5), 0.0005)  # 400 more labels bring about .013
    assert suggest(curve, least_gain=0.005).verdict == "go on"
    assert suggest(curve, least_gain=0.03).verdict == "stop"
    assert suggest(curve, least_gain=0.03, look_ahead=20).verdict == "go on"


def test_a_target_that_is_surely_reached_stops_whatever_the_curve():
    steep = ahead(PowerLaw(0.95, 2.0, 0.4), 0.001)
    assert suggest(steep, current=Interval(0.84, 0.81, 0.87), target=0.8).verdict == "stop"
    assert suggest(steep, current=Interval(0.84, 0.79, 0.87), target=0.8).verdict == "go on"


def test_a_target_out_of_reach_is_said():
    found = suggest(ahead(PowerLaw(0.8, 8.0, 1.5), 0.0005), target=0.9)
    assert found.verdict == "stop"
    assert found.reasons[1] == "0 % of the resampled curves reach the target of 0.900 at all."


def test_too_few_rounds_cannot_tell():
    found = suggest(None, stability=0.5)
    assert found.verdict == "cannot tell"
    assert "Fewer than 4 rounds" in found.reasons[0]
    assert "still change from round to round (mean kappa 0.50" in found.reasons[1]
    assert "hardly change" in suggest(None, stability=0.995).reasons[1]


def test_stability_is_the_kappa_of_the_last_three_comparisons():
    rng = np.random.default_rng(0)
    rounds = [rng.random((40, 3)) for _ in range(6)]
    decided = [(r >= 0.5).ravel() for r in rounds]
    expected = np.mean([cohen_kappa_score(decided[k], decided[k + 1]) for k in (2, 3, 4)])
    assert prediction_stability(rounds) == pytest.approx(expected)
    assert prediction_stability([rounds[0], rounds[0]]) == 1.0
    assert prediction_stability(rounds[:1]) is None
    assert prediction_stability([np.zeros((4, 1))] * 3) is None  # nothing is ever present: not defined
