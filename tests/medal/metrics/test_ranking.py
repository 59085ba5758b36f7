from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from medal.errors import ConfigError
from medal.metrics import rank_methods, saturated, saturated_from
from medal.metrics.ranking import critical_difference, friedman, ranks_within

TABLE = np.random.default_rng(0).normal(size=(9, 4))


def test_rank_one_is_the_biggest_and_ties_share():
    np.testing.assert_array_equal(ranks_within([[0.1, 0.3, 0.2], [1, 1, 0]]), [[3, 1, 2], [1.5, 1.5, 3]])


def test_friedman_agrees_with_scipy_with_and_without_ties():
    for table in (TABLE, TABLE.round(0)):
        expected = stats.friedmanchisquare(*table.T)
        statistic, p, w = friedman(ranks_within(table))
        assert (statistic, p) == pytest.approx((expected.statistic, expected.pvalue))
        assert statistic == pytest.approx(len(table) * 3 * w)


def test_concordance_is_one_for_one_order_and_zero_for_opposed_orders():
    assert friedman(ranks_within([[1, 2, 3]] * 5))[2] == pytest.approx(1)
    assert friedman(ranks_within([[1, 2, 3], [3, 2, 1]]))[2] == pytest.approx(0)


@pytest.mark.parametrize(("methods", "quantile"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_critical_differences_use_the_published_quantiles(methods, quantile):
    # Demšar 2006, table 5(a), alpha = 0.05
    found = critical_difference(methods, 14) / math.sqrt(methods * (methods + 1) / (6 * 14))
    assert found == pytest.approx(quantile, abs=1e-3)


def test_the_ranking_as_a_whole():
    found = rank_methods(TABLE, ["a", "b", "c", "d"])
    np.testing.assert_allclose(found.mean_ranks, ranks_within(TABLE).mean(0))
    assert found.order[0] == "abcd"[int(np.argmin(found.mean_ranks))]
    assert found.settings == 9
    assert sum(found.mean_ranks) == pytest.approx(10)


def test_any_growing_change_of_a_setting_leaves_the_ranking():
    stretched = TABLE * np.arange(1, 10)[:, None] + np.arange(9)[:, None]
    assert rank_methods(TABLE, list("abcd")) == rank_methods(stretched, list("abcd"))


def test_ties_in_the_order_go_to_the_first():
    assert rank_methods([[1, 2], [2, 1]], ["b", "a"]).order == ("b", "a")


def test_one_setting_or_method_tells_nothing():
    found = rank_methods([[0.1, 0.2]], ["a", "b"])
    assert found.mean_ranks == (2.0, 1.0)
    assert all(math.isnan(v) for v in (found.friedman, found.p, found.critical_difference, found.kendall_w))
    assert math.isnan(rank_methods([[1, 1], [1, 1]], ["a", "b"]).kendall_w)


def test_bad_tables_are_refused():
    with pytest.raises(ConfigError, match="expected one name each"):
        rank_methods(TABLE, ["a", "b", "c"])
    with pytest.raises(ConfigError, match="finite numbers"):
        rank_methods([[math.nan, 1]], ["a", "b"])


def test_a_setting_is_saturated_once_random_reaches_the_line():
    assert saturated_from([0.7, 0.80, 0.891], full=0.9) == 2
    assert saturated_from([0.7, 0.80, 0.890], full=0.9) is None
    assert saturated([0.9, 0.7], full=0.9)  # reached once is reached
    assert not saturated([0.7, 0.8], full=0.9)
    assert saturated([0.7, 0.8], full=0.9, share=0.85)
