"""Ramps of a weight over a training."""

from __future__ import annotations

import math

import pytest

from medal.errors import ConfigError
from medal.semi_supervised.ramps import check_share, check_weight, linear_ramp, sigmoid_ramp


@pytest.mark.parametrize(("t", "height"), [(0, 0), (0.19, 0), (0.2, 0), (0.3, 0.25), (0.6, 1), (1, 1)])
def test_linear_ramp(t: float, height: float):
    assert linear_ramp(t, 0.2, 0.6) == pytest.approx(height)


def test_linear_ramp_can_be_a_step():
    assert [linear_ramp(t, 0.5, 0.5) for t in (0.0, 0.49, 0.5, 1.0)] == [0, 0, 1, 1]
    assert linear_ramp(0.0, 0.0, 0.0) == 1


@pytest.mark.parametrize(("t", "height"), [(0, math.exp(-5)), (0.2, math.exp(-1.25)), (0.4, 1), (0.9, 1)])
def test_sigmoid_ramp(t: float, height: float):
    assert sigmoid_ramp(t, 0.4) == pytest.approx(height)


def test_no_ramp():
    assert sigmoid_ramp(0.0, 0.0) == 1


@pytest.mark.parametrize("weight", [-0.1, math.inf, math.nan])
def test_weights_that_are_none(weight: float):
    with pytest.raises(ConfigError, match=r"VAT\.weight: found .*, expected a number of at least 0"):
        check_weight("VAT", weight)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_shares_that_are_none(share: float):
    with pytest.raises(ConfigError, match=r"x\.ramp: found .*, expected a share of the training in \[0, 1\]"):
        check_share("x.ramp", share)
