from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medal.metrics import holm


def test_by_hand():
    # sorted .005, .01, .03, .04 times 4, 3, 2, 1: .02, .03, .06, .04 -> the last may not fall below the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))


def test_at_most_one_and_alone_unchanged():
    assert holm([0.6, 0.7]) == (1.0, 1.0)
    assert holm([0.2]) == (0.2,)
    assert holm([]) == ()


def test_untested_methods_count_for_nothing():
    found = holm([math.nan, 0.02, 0.5])
    assert math.isnan(found[0])
    assert found[1:] == holm([0.02, 0.5])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_between_the_value_and_bonferroni(ps):
    found = holm(ps)
    for p, adjusted in zip(ps, found, strict=True):
        assert p <= adjusted <= min(1, len(ps) * p) + 1e-12
    assert min(found) == pytest.approx(min(1, len(ps) * min(ps)))
    order = sorted(range(len(ps)), key=lambda k: ps[k])
    assert all(found[a] <= found[b] for a, b in itertools.pairwise(order))
