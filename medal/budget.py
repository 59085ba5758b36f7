"""Budget: what a round may cost, in items or in expert minutes, and the model that turns units into minutes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from medal.errors import BudgetError
from medal.units import Units, kind_of

BUDGET_UNITS = ("items", "minutes")
SLACK = 1e-6
"""Items or minutes that rounding may take: the prices of thousands of units are added up."""


@dataclass(frozen=True)
class CostModel:
    """Expert minutes for one unit of each kind.

    Args:
        minutes: kind -> minutes stated in the recipe; a kind that is not listed costs its registered default.
        prior: how many measured units the stated value is worth when it is refitted, at least 0.

    Raises:
        UnknownName: on a kind that nobody registered.
        BudgetError: on a price or a prior that makes no sense.

    Example:
        >>> CostModel({"image": 1.0}, prior=2).refit([("image", 120.0), ("image", 120.0)]).of("image")
        1.5
    """

    minutes: Mapping[str, float] = field(default_factory=dict)
    prior: float = 20.0

    def __post_init__(self) -> None:
        for kind, value in self.minutes.items():
            kind_of(kind)
            if not (math.isfinite(value) and value > 0):
                raise BudgetError(f"cost.{kind}: found {value}, expected minutes above 0")
        if not (math.isfinite(self.prior) and self.prior >= 0):
            raise BudgetError(f"cost.prior: found {self.prior}, expected a number of units, at least 0")

    def of(self, kind: str) -> float:
        """Minutes for one unit of a kind."""
        return float(self.minutes.get(kind, kind_of(kind).minutes))

    def refit(self, measured: Sequence[tuple[str, float]]) -> CostModel:
        """The model after measured (kind, seconds): the stated value counts as `prior` measurements.

        Times that were not measured (NaN) and times that are not positive are left out.
        """
        fitted = dict(self.minutes)
        for kind in sorted({k for k, _ in measured}):
            seconds = [s for k, s in measured if k == kind and math.isfinite(s) and s > 0]
            if seconds:
                fitted[kind] = (self.prior * self.of(kind) + math.fsum(seconds) / 60) / (self.prior + len(seconds))
        return CostModel(fitted, self.prior)


def _check_unit(unit: str) -> None:
    if unit not in BUDGET_UNITS:
        raise BudgetError(f"budget.unit: found {unit!r}, expected one of {', '.join(BUDGET_UNITS)}")


@dataclass(frozen=True)
class Budget:
    """What each round may cost.

    Args:
        per_round: amount for one query.
        rounds: number of queries after the start set.
        unit: "items" or "minutes".
    """

    per_round: float
    rounds: int
    unit: str = "items"

    def __post_init__(self) -> None:
        _check_unit(self.unit)
        if not (math.isfinite(self.per_round) and self.per_round > 0) or self.rounds < 0:
            raise BudgetError(f"budget: found {self.per_round} for each of {self.rounds} rounds; expected > 0 and >= 0")
        if self.unit == "items" and self.per_round != int(self.per_round):
            raise BudgetError(f"budget.per_round: found {self.per_round} items, expected a whole number")


@dataclass(frozen=True)
class Allowance:
    """What one query may spend, with the price of every unit.

    Args:
        amount: in `unit`.
        unit: "items" or "minutes".
        units: the pool's units.
        cost: minutes for each kind.

    Raises:
        BudgetError: on another unit.
    """

    amount: float
    unit: str
    units: Units
    cost: CostModel

    def __post_init__(self) -> None:
        _check_unit(self.unit)

    def prices(self, positions: Tensor) -> Tensor:
        """Price of each unit in the allowance's own unit, (U,) float64."""
        price = 1.0 if self.unit == "items" else self.cost.of(self.units.kind)
        return torch.full((len(positions),), price, dtype=torch.float64)

    def take(self, order: Tensor) -> Tensor:
        """Units along an order of preference, as many as can be paid; one that is too dear is passed over.

        Args:
            order: positions, best first.
        """
        prices = self.prices(order)
        cheapest = float(prices.min()) if len(prices) else 0.0
        left, chosen = self.amount + SLACK, []
        for position, price in zip(order.tolist(), prices.tolist(), strict=True):
            if left < cheapest:
                break
            if price <= left:
                chosen.append(position)
                left -= price
        return torch.tensor(chosen, dtype=torch.long)

    def spent(self, positions: Tensor) -> float:
        """Price of all of them."""
        return float(self.prices(positions).sum())

    def minutes(self, positions: Tensor) -> float:
        """Expert minutes for all of them, whatever the allowance's unit."""
        return self.cost.of(self.units.kind) * len(positions)
