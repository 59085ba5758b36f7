from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from medal.errors import ConfigError
from medal.metrics import leave_one_out
from medal.metrics.rank_stability import kendall_tau


def test_tau_agrees_with_scipy():
    rng = np.random.default_rng(0)
    for _ in range(10):
        a, b = rng.integers(0, 5, (2, 8))
        assert kendall_tau(a, b) == pytest.approx(stats.kendalltau(a, b)[0])
    assert math.isnan(kendall_tau([1, 1], [1, 2]))


def test_one_order_everywhere_is_stable():
    found = leave_one_out([[1, 2, 3]] * 4, list("abc"), list("wxyz"))
    assert found.order == ("c", "b", "a")
    assert (found.same_best, found.same_order, found.lowest_tau) == (4, 4, 1.0)


def test_a_ranking_that_hangs_on_one_set_shows_it():
    # a leads by mean rank 1.5 to 1.75 and 2.75 thanks to the last setting alone
    table = [[2, 3, 1], [2, 3, 1], [3, 2, 1], [3, 1, 2]]
    found = leave_one_out(table, list("abc"), ["s1", "s2", "s3", "s4"])
    assert found.order == ("a", "b", "c")
    assert [left.order[0] for left in found.without] == ["a", "a", "a", "b"]
    assert (found.same_best, [left.setting for left in found.without]) == (3, ["s1", "s2", "s3", "s4"])
    assert found.lowest_tau == pytest.approx(1 / 3)


def test_bad_tables_are_refused():
    with pytest.raises(ConfigError, match="at least two rows"):
        leave_one_out([[1, 2]], ["a", "b"], ["s"])
    with pytest.raises(ConfigError, match="for 3 settings and 2 methods"):
        leave_one_out([[1, 2], [1, 2]], ["a", "b"], ["s", "t", "u"])
