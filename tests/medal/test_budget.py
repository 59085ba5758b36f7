"""Budget: prices, allowances that are never passed, and the refitted cost model."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medal.budget import SLACK, Allowance, Budget, CostModel
from medal.errors import BudgetError, UnknownName
from medal.units import Units

ROWS = tuple(f"r{i:05d}" for i in range(50))


def allowance(amount: float, unit: str, price: float = 1.0, rows: tuple[str, ...] = ROWS) -> Allowance:
    return Allowance(amount, unit, Units("image", rows, rows), CostModel({"image": price}))


def test_an_unlisted_kind_costs_its_registered_default():
    assert (CostModel().of("image"), CostModel().of("finding")) == (1.0, 0.2)
    assert CostModel({"image": 3.0}).of("image") == 3.0


def test_refit_is_the_mean_of_prior_and_measurements():
    # (20 x 1 min + 2 min + 4 min) / 22
    model = CostModel({"image": 1.0}, prior=20).refit([("image", 120.0), ("image", 240.0)])
    assert model.of("image") == pytest.approx(26 / 22)
    assert model.of("finding") == 0.2


def test_refit_leaves_out_times_that_were_not_measured():
    measured = [("image", 120.0), ("image", math.nan), ("image", 0.0), ("image", -5.0), ("image", math.inf)]
    assert CostModel(prior=1).refit(measured).of("image") == pytest.approx(1.5)
    assert CostModel(prior=0).refit([("image", math.nan)]).of("image") == 1.0
    assert CostModel(prior=0).refit([("image", 90.0), ("image", math.nan)]).of("image") == 1.5


def test_refit_of_nothing_changes_nothing():
    model = CostModel({"image": 2.0})
    assert model.refit([]) == model


def test_refit_does_not_depend_on_the_order_of_measurements():
    measured = [("image", 0.1 * i) for i in range(1, 1000)]
    assert CostModel().refit(measured).of("image") == CostModel().refit(measured[::-1]).of("image")


@pytest.mark.parametrize("minutes", [0.0, -1.0, math.nan, math.inf])
def test_prices_must_be_positive(minutes: float):
    with pytest.raises(BudgetError, match=r"cost\.image: found .*, expected minutes above 0"):
        CostModel({"image": minutes})


@pytest.mark.parametrize("prior", [-1.0, math.nan, math.inf])
def test_prior_must_be_a_number_of_units(prior: float):
    with pytest.raises(BudgetError, match=r"cost\.prior"):
        CostModel(prior=prior)


def test_a_price_for_an_unknown_kind_names_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'image'"):
        CostModel({"imaeg": 1.0})


@pytest.mark.parametrize(
    ("per_round", "rounds", "unit", "message"),
    [
        (0, 1, "items", "expected > 0 and >= 0"),
        (-3, 1, "minutes", "expected > 0 and >= 0"),
        (math.nan, 1, "minutes", "expected > 0 and >= 0"),
        (math.inf, 1, "items", "expected > 0 and >= 0"),
        (1, -1, "items", "expected > 0 and >= 0"),
        (2.5, 1, "items", "expected a whole number"),
        (1, 1, "hours", "found 'hours', expected one of items, minutes"),
    ],
)
def test_budgets_that_make_no_sense(per_round: float, rounds: int, unit: str, message: str):
    with pytest.raises(BudgetError, match=message):
        Budget(per_round, rounds, unit)


def test_an_allowance_in_another_unit_is_refused():
    with pytest.raises(BudgetError, match="found 'hours'"):
        allowance(1, "hours")


def test_items_are_taken_along_the_order_of_preference():
    order = torch.tensor([7, 3, 5, 1])
    assert allowance(3, "items").take(order).tolist() == [7, 3, 5]
    assert allowance(9, "items").take(order).tolist() == [7, 3, 5, 1]
    assert allowance(3, "items").take(torch.empty(0, dtype=torch.long)).tolist() == []


def test_minutes_buy_what_they_pay_for():
    order = torch.arange(50)
    assert len(allowance(10, "minutes", price=0.4).take(order)) == 25
    assert len(allowance(0.39, "minutes", price=0.4).take(order)) == 0
    half = allowance(10, "minutes", price=0.4)
    assert half.spent(order[:3]) == pytest.approx(1.2)
    assert allowance(10, "items", price=0.4).spent(order[:3]) == 3
    assert allowance(10, "items", price=0.4).minutes(order[:3]) == pytest.approx(1.2)


@given(
    amount=st.floats(0.01, 400, allow_nan=False),
    price=st.floats(0.01, 30, allow_nan=False),
    unit=st.sampled_from(["items", "minutes"]),
)
def test_never_above_and_nothing_affordable_left(amount: float, price: float, unit: str):
    given_ = allowance(amount, unit, price)
    order = torch.arange(50).flip(0)
    taken = given_.take(order)
    assert given_.spent(taken) <= amount + 2 * SLACK
    assert taken.tolist() == order[: len(taken)].tolist()
    if len(taken) < 50:
        each = 1.0 if unit == "items" else price
        assert each > amount - given_.spent(taken)


def test_rounding_of_many_prices_costs_no_unit():
    rows = tuple(f"r{i:06d}" for i in range(30_000))
    # in binary, neither 0.2 nor 0.7 is exact, and their sums drift
    for price, amount, count in ((0.2, 4000.0, 20_000), (0.7, 14_000.0, 20_000)):
        assert len(allowance(amount, "minutes", price, rows).take(torch.arange(30_000))) == count
