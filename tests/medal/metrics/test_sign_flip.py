from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from medal.errors import ConfigError
from medal.metrics import sign_flip_p
from medal.metrics.sign_flip import EXACT_UP_TO, SIGN_PATTERNS
from medal.seeding import Seed


@pytest.mark.parametrize("n", range(1, 13))
def test_the_smallest_value_is_two_to_the_one_minus_n(n):
    assert sign_flip_p(np.linspace(0.01, 0.02, n), Seed(0)) == 2.0 ** (1 - n)


def test_the_table_of_what_can_be_claimed():
    # five blocks never fall below .05, six do, ten reach .002
    assert sign_flip_p([0.1] * 5, Seed(0)) == 0.0625
    assert sign_flip_p([0.1] * 6, Seed(0)) == 0.03125
    assert sign_flip_p([0.1] * 10, Seed(0)) == pytest.approx(0.00195, abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_exact_values_agree_with_scipy(seed):
    differences = np.random.default_rng(seed).normal(0.3, 1, 9)
    found = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=10_000, alternative="two-sided"
    )
    assert sign_flip_p(differences, Seed(0)) == pytest.approx(found.pvalue)


def test_by_hand():
    # |sum| of the 8 patterns of 1, 2, 3: 6 twice, 4 twice, 2 twice, 0 twice; observed 1 + 2 - 3 = 0 and 3 + 2 - 1 = 4
    assert sign_flip_p([1, 2, -3], Seed(0)) == 1.0
    assert sign_flip_p([-1, 2, 3], Seed(0)) == 0.5


def test_ties_count_whatever_the_rounding():
    # 0.1 + 0.2 - 0.3 is not 0 in binary; the patterns + + - and - - + must still tie with it
    assert sign_flip_p([0.1, 0.2, -0.3], Seed(0)) == 1.0
    assert sign_flip_p(np.array([0.3, 0.1, 0.2]) * 1e-9, Seed(0)) == 0.25


def test_zeros_change_nothing():
    assert sign_flip_p([0.1, 0.2, 0, 0], Seed(0)) == sign_flip_p([0.1, 0.2], Seed(0)) == 0.5
    assert sign_flip_p([0, 0], Seed(0)) == 1.0
    # nor do they make a test drawn that can be counted
    d = np.concatenate([np.random.default_rng(0).normal(0.3, 1, 12), np.zeros(30)])
    assert sign_flip_p(d, Seed(0)) == sign_flip_p(d, Seed(1)) == sign_flip_p(d[:12], Seed(0))


def test_scale_sign_and_order_do_not_matter():
    d = np.random.default_rng(1).normal(0.2, 1, 11)
    p = sign_flip_p(d, Seed(0))
    assert p == sign_flip_p(-d, Seed(0)) == sign_flip_p(d[::-1] * 1e6, Seed(0))


def test_beyond_twenty_patterns_are_drawn_and_come_close():
    d = np.random.default_rng(2).normal(0.35, 1, EXACT_UP_TO)
    exact = sign_flip_p(d, Seed(0))
    doubled = np.concatenate([d, np.full(3, 1e-7)])  # three tiny differences more: nearly the same question
    drawn = sign_flip_p(doubled, Seed(0))
    assert drawn == sign_flip_p(doubled, Seed(0)) != sign_flip_p(doubled, Seed(1))
    assert drawn == pytest.approx(exact, abs=5 * math.sqrt(exact / SIGN_PATTERNS))
    # never 0: the observed pattern itself is one of the possible ones
    assert sign_flip_p(np.ones(40), Seed(0)) == 1 / (1 + SIGN_PATTERNS)


def test_nothing_to_test():
    assert math.isnan(sign_flip_p([], Seed(0)))
    with pytest.raises(ConfigError, match="finite numbers"):
        sign_flip_p([math.nan], Seed(0))
