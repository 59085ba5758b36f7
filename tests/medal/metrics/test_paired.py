from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from medal.errors import ConfigError
from medal.metrics import compare_with_baseline, paired_difference
from medal.metrics.paired import BLOCKS_FOR_A_CLAIM, bootstrap_mean
from medal.seeding import Seed

RNG = np.random.default_rng(5)
BASE = RNG.normal(0.7, 0.03, 12)
OURS = BASE + RNG.normal(0.01, 0.01, 12)


def test_differences_are_taken_block_by_block():
    found = paired_difference([0.72, 0.75, 0.71, 0.70], [0.70, 0.72, 0.72, 0.70], Seed(0))
    np.testing.assert_allclose(found.differences, (0.02, 0.03, -0.01, 0.0), atol=1e-12)
    assert found.mean == pytest.approx(0.01)
    assert (found.blocks, found.worse, found.left_out) == (4, 1, 0)
    assert found.worst == pytest.approx(-0.01)


def test_a_method_that_is_never_worse_has_no_worst_loss():
    found = paired_difference([0.8, 0.7], [0.7, 0.7], Seed(0))
    assert (found.worse, found.worst) == (0, 0.0)


def test_blocks_without_a_value_are_left_out_and_counted():
    found = paired_difference([0.8, math.nan, 0.9], [0.7, 0.7, math.nan], Seed(0))
    assert (found.blocks, found.left_out) == (1, 2)
    assert found.mean == pytest.approx(0.1)
    assert math.isnan(found.low)


def test_no_blocks_give_no_numbers():
    found = paired_difference([math.nan], [0.5], Seed(0))
    assert found.blocks == 0
    assert all(math.isnan(value) for value in (found.mean, found.low, found.high, found.p))


def test_underpowered_below_ten_blocks():
    assert BLOCKS_FOR_A_CLAIM == 10
    assert paired_difference(OURS[:9], BASE[:9], Seed(0)).underpowered
    assert not paired_difference(OURS[:10], BASE[:10], Seed(0)).underpowered


def test_swapping_the_sides_mirrors_everything():
    forth, back = paired_difference(OURS, BASE, Seed(0)), paired_difference(BASE, OURS, Seed(0))
    assert forth.mean == pytest.approx(-back.mean)
    assert forth.p == back.p
    # the same draws from mirrored values: close, not equal
    assert forth.low == pytest.approx(-back.high, abs=1e-3)


def test_the_bootstrap_agrees_with_an_independent_one():
    differences = OURS - BASE
    low, high = bootstrap_mean(differences, Seed(1))
    other = stats.bootstrap(
        (differences,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(3)
    )
    np.testing.assert_allclose((low, high), other.confidence_interval, atol=2e-4)


def test_the_order_of_the_blocks_does_not_matter():
    order = np.random.default_rng(0).permutation(len(OURS))
    one, two = paired_difference(OURS, BASE, Seed(0)), paired_difference(OURS[order], BASE[order], Seed(0))
    assert (one.low, one.high, one.p) == pytest.approx((two.low, two.high, two.p), abs=1e-12)


def test_the_same_seed_gives_the_same_interval_and_another_another():
    first = bootstrap_mean(OURS, Seed(0))
    assert first == bootstrap_mean(OURS, Seed(0))
    assert first != bootstrap_mean(OURS, Seed(1))


def test_a_higher_level_is_wider():
    narrow, wide = bootstrap_mean(OURS, Seed(0), level=0.5), bootstrap_mean(OURS, Seed(0), level=0.99)
    assert wide[0] < narrow[0] < OURS.mean() < narrow[1] < wide[1]


def test_methods_are_compared_together_and_adjusted():
    values = {"random": BASE, "a": OURS, "b": BASE + 0.001 * RNG.normal(size=12)}
    found = compare_with_baseline(values, Seed(0))
    assert list(found) == ["a", "b"]
    assert found["a"].adjusted == pytest.approx(min(1, 2 * found["a"].p))
    assert found["b"].adjusted >= found["b"].p
    alone = compare_with_baseline({"random": BASE, "a": OURS}, Seed(0))["a"]
    assert (alone.low, alone.p) == (found["a"].low, found["a"].p)
    assert alone.adjusted == alone.p


def test_another_baseline_may_be_named():
    found = compare_with_baseline({"full": OURS, "a": BASE}, Seed(0), baseline="full")
    assert found["a"].mean == pytest.approx(float((BASE - OURS).mean()))


def test_what_does_not_pair_is_refused():
    with pytest.raises(ConfigError, match=r"shapes \(2,\) and \(3,\); expected \(B\) twice"):
        paired_difference([1, 2], [1, 2, 3], Seed(0))
    with pytest.raises(ConfigError, match="no values of 'random', found a"):
        compare_with_baseline({"a": [1.0]}, Seed(0))
    with pytest.raises(ConfigError, match=r"level 1\.5"):
        bootstrap_mean([1, 2], Seed(0), level=1.5)
    with pytest.raises(ConfigError, match="finite numbers"):
        bootstrap_mean([1, math.nan], Seed(0))
