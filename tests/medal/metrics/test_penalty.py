from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from medal.errors import ConfigError
from medal.metrics import penalty_by_area, penalty_by_budget
from medal.seeding import Seed

RNG = np.random.default_rng(0)


def test_the_classical_matrix_is_a_paired_t_test_at_every_budget():
    curves = {f"s{k}": {m: RNG.normal(0.02 * i, 0.03, (5, 6)) for i, m in enumerate("abc")} for k in range(3)}
    found = penalty_by_budget(curves)
    expected = np.zeros((3, 3))
    for setting in curves.values():
        for i, a in enumerate("abc"):
            for j, b in enumerate("abc"):
                test = stats.ttest_rel(setting[a], setting[b]) if a != b else None
                if test is not None:
                    expected[i, j] += np.mean((test.pvalue < 0.05) & (test.statistic > 0))
    np.testing.assert_allclose(found.wins, expected)
    assert expected.max() > 0.3
    assert found.settings == 3


def test_the_published_threshold_of_five_runs():
    # BADGE: t above 2.776 with five seeds; t = mean / (sd / sqrt 5)
    pattern = np.array([-2, -1, 0, 1, 2.0])
    error = pattern.std(ddof=1) / math.sqrt(5)
    for t, win in ((2.75, 0.0), (2.80, 1.0)):
        curves = {"s": {"a": (pattern + t * error)[:, None], "b": np.zeros((5, 1))}}
        assert penalty_by_budget(curves).wins[0][1] == win


def test_the_area_form_needs_the_sign_flip_test():
    base = RNG.normal(0.7, 0.05, 10)
    found = penalty_by_area({"s": {"a": base + 0.01, "b": base, "c": base + RNG.permutation([1, -1] * 5)}}, Seed(0))
    assert found.wins == ((0, 1, 0), (0, 0, 0), (0, 0, 0))
    # five blocks cannot reach .05, however clear
    assert penalty_by_area({"s": {"a": base[:5] + 1, "b": base[:5]}}, Seed(0)).wins == ((0, 0), (0, 0))


def test_pairing_matters():
    base = RNG.normal(0.7, 0.2, 8)
    paired = {"s": {"a": base + 0.01 + 1e-4 * RNG.normal(size=8), "b": base}}
    torn = {"s": {"a": paired["s"]["a"][::-1], "b": base}}
    assert penalty_by_area(paired, Seed(0)).wins[0][1] == 1
    assert penalty_by_area(torn, Seed(0)).wins[0][1] == 0


def test_sums_of_rows_and_columns():
    base = RNG.normal(0.7, 0.05, 10)
    found = penalty_by_area({k: {"a": base + 0.02, "b": base + 0.01, "c": base} for k in "st"}, Seed(0))
    assert found.wins == ((0, 2, 2), (0, 0, 2), (0, 0, 0))
    assert found.won == (2, 1, 0)
    assert found.lost == (0, 1, 2)


def test_equal_runs_and_single_blocks_win_nothing():
    same = np.full((4, 2), 0.5)
    assert penalty_by_budget({"s": {"a": same, "b": same}}).wins == ((0, 0), (0, 0))
    assert penalty_by_budget({"s": {"a": [[0.9]], "b": [[0.1]]}}).wins == ((0, 0), (0, 0))


def test_bad_settings_are_refused():
    with pytest.raises(ConfigError, match="t has methods a; expected a, b"):
        penalty_by_area({"s": {"a": [1], "b": [1]}, "t": {"a": [1]}}, Seed(0))
    with pytest.raises(ConfigError, match="one shape of 2 axes"):
        penalty_by_budget({"s": {"a": [1, 2], "b": [1, 2]}})
    with pytest.raises(ConfigError, match="finite"):
        penalty_by_area({"s": {"a": [math.nan], "b": [1]}}, Seed(0))
