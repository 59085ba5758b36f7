from __future__ import annotations

import math

import numpy as np
from scipy import stats

from medal.metrics.seed_summary import band_name, summary


def test_the_band_is_min_to_max_below_ten_seeds_and_a_t_interval_from_ten():
    nine = list(np.linspace(0.7, 0.8, 9))
    assert (summary(nine).low, summary(nine).high) == (0.7, 0.8)
    ten = list(np.linspace(0.7, 0.8, 10))
    expected = stats.t.interval(0.95, 9, np.mean(ten), stats.sem(ten))
    np.testing.assert_allclose((summary(ten).low, summary(ten).high), expected)
    assert (band_name(9), band_name(10)) == ("minimum to maximum", "95 % t-interval of the mean")


def test_summary_of_nothing_is_nan_with_count_zero():
    assert summary([math.nan]).count == 0
    assert math.isnan(summary([]).mean)
