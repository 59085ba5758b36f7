from __future__ import annotations

import math

import pytest

from medal.errors import BudgetError
from medal.metrics import UnitCurve, aubc, cost_stability

PRICES = {"image": 1.0, "finding": 0.2}
IMAGES = UnitCurve({"image": [20, 30, 40]}, [0.60, 0.70, 0.80])
FINDINGS = UnitCurve({"image": [20, 20, 20], "finding": [0, 50, 100]}, [0.60, 0.69, 0.79])


def test_minutes_are_counts_times_prices():
    assert FINDINGS.minutes(PRICES).tolist() == [20, 30, 40]


def test_the_stated_prices_give_the_plain_area_over_minutes():
    found = cost_stability({"images": [IMAGES], "findings": [FINDINGS]}, PRICES)
    assert found.stated.areas["images"] == pytest.approx(aubc([20, 30, 40], IMAGES.values))
    assert found.stated.areas["findings"] == pytest.approx(aubc([20, 30, 40], FINDINGS.values))
    assert found.stated.order == ("images", "findings")


def test_every_price_is_halved_and_doubled_and_a_turned_order_is_seen():
    found = cost_stability({"images": [IMAGES], "findings": [FINDINGS]}, PRICES)
    assert [(s.kind, s.factor) for s in found.changed] == [
        ("finding", 0.5),
        ("finding", 2.0),
        ("image", 0.5),
        ("image", 2.0),
    ]
    # findings at half their price, or images at double theirs, put the other arm first
    assert [(s.kind, s.factor) for s in found.turned] == [("finding", 0.5), ("image", 2.0)]
    assert not found.stable
    # at half price 100 findings cost 10 minutes: .60 to .79 over 20..30 against .60 to .70
    assert found.turned[0].areas == pytest.approx({"images": 0.65, "findings": aubc([20, 25, 30], FINDINGS.values)})


def test_one_kind_alone_cannot_turn_the_order():
    other = UnitCurve({"image": [20, 30, 40]}, [0.60, 0.71, 0.79])
    found = cost_stability({"a": [IMAGES], "b": [other]}, PRICES)
    assert found.stable
    assert all(s.areas == pytest.approx(found.stated.areas) for s in found.changed)


def test_areas_are_means_over_blocks_with_a_common_span():
    short = UnitCurve({"image": [20, 30]}, [0.5, 0.5])
    late = UnitCurve({"image": [50, 60]}, [0.9, 0.9])
    flat = UnitCurve({"image": [20, 40]}, [0.7, 0.7])
    found = cost_stability({"a": [flat, short], "b": [IMAGES, late]}, PRICES)
    assert found.stated.areas == pytest.approx({"a": 0.7, "b": 0.7})  # the second block has no common span
    nothing = cost_stability({"a": [short], "b": [late]}, PRICES)
    assert all(math.isnan(area) for area in nothing.stated.areas.values())
    assert nothing.stable


def test_other_factors():
    found = cost_stability({"images": [IMAGES], "findings": [FINDINGS]}, PRICES, factors=(1.0,))
    assert found.stable
    assert len(found.changed) == 2


def test_bad_input_is_named():
    with pytest.raises(BudgetError, match="no price for units of kind finding"):
        cost_stability({"a": [FINDINGS]}, {"image": 1.0})
    with pytest.raises(BudgetError, match=r"cost\.image: found 0, expected minutes above 0"):
        cost_stability({"a": [IMAGES]}, {"image": 0})
    with pytest.raises(BudgetError, match="different numbers of blocks"):
        cost_stability({"a": [IMAGES], "b": [IMAGES, IMAGES]}, PRICES)
