"""Whether a ranking of arms hangs on the prices: each price is halved and doubled, and the arms ranked again.

Minutes for a unit are an estimate, and the area over minutes moves with them. A ranking that turns when a price is
halved is a statement about the price, not about the arms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medal.errors import BudgetError
from medal.metrics.learning_curves import aubc

FACTORS = (0.5, 2.0)


@dataclass(frozen=True)
class UnitCurve:
    """One run: what was paid for up to each round, and what came out.

    Args:
        counts: kind of unit -> (P) units of that kind paid for so far.
        values: (P) measure, bigger is better.
    """

    counts: Mapping[str, Sequence[float]]
    values: Sequence[float]

    def minutes(self, prices: Mapping[str, float]) -> np.ndarray:
        """(P) expert minutes at given prices for each kind.

        Raises:
            BudgetError: when a kind has no price.
        """
        missing = sorted(set(self.counts) - set(prices))
        if missing:
            raise BudgetError(f"no price for units of kind {', '.join(missing)}; state minutes for each kind")
        spent = [prices[kind] * np.asarray(count, dtype=np.float64) for kind, count in sorted(self.counts.items())]
        return np.sum(spent, axis=0) if spent else np.zeros(len(self.values))


@dataclass(frozen=True)
class Scenario:
    """The arms at other prices.

    Args:
        kind: of unit whose price is changed; "" for the stated prices.
        factor: by which it is multiplied.
        areas: arm -> mean over blocks of the area over minutes; NaN where no block has a common span.
        order: arms from the largest area on, ties in the order given; arms without an area come last.
    """

    kind: str
    factor: float
    areas: Mapping[str, float]
    order: tuple[str, ...]


@dataclass(frozen=True)
class CostStability:
    """The ranking at the stated prices and at every changed one."""

    stated: Scenario
    changed: tuple[Scenario, ...]

    @property
    def turned(self) -> tuple[Scenario, ...]:
        """Scenarios in which the order is another."""
        return tuple(scenario for scenario in self.changed if scenario.order != self.stated.order)

    @property
    def stable(self) -> bool:
        """True when no price turns the order."""
        return not self.turned


def cost_stability(
    runs: Mapping[str, Sequence[UnitCurve]], prices: Mapping[str, float], factors: Sequence[float] = FACTORS
) -> CostStability:
    """Ranks arms by their area over minutes, at the stated prices and with each price changed alone.

    Args:
        runs: arm -> its runs by block, the same blocks in the same order for every arm.
        prices: kind of unit -> minutes, above 0.
        factors: by which each price is multiplied.

    Returns:
        Areas over the span of minutes that all arms of a block cover, linear between rounds; mean over the blocks
        that have one.

    Raises:
        BudgetError: when the arms have different numbers of blocks, or a price is missing or not above 0.

    Example:
        >>> cheap = UnitCurve({"finding": [10, 20, 30]}, [0.6, 0.7, 0.75])
        >>> dear = UnitCurve({"image": [2, 4, 6]}, [0.6, 0.72, 0.78])
        >>> found = cost_stability({"findings": [cheap], "images": [dear]}, {"finding": 0.2, "image": 1.0})
        >>> found.stated.order, [s.kind for s in found.turned]
        (('images', 'findings'), ['finding', 'image'])
    """
    if len({len(curves) for curves in runs.values()}) > 1:
        raise BudgetError("cost stability: found arms with different numbers of blocks; give the same blocks for each")
    wrong = [kind for kind, price in prices.items() if not (math.isfinite(price) and price > 0)]
    if wrong:
        raise BudgetError(f"cost.{wrong[0]}: found {prices[wrong[0]]}, expected minutes above 0")
    kinds = sorted({kind for curves in runs.values() for curve in curves for kind in curve.counts})
    changed = [
        _scenario(runs, {**prices, kind: prices[kind] * factor}, kind, factor)
        for kind in kinds
        if kind in prices
        for factor in factors
    ]
    return CostStability(_scenario(runs, prices, "", 1.0), tuple(changed))


def _scenario(
    runs: Mapping[str, Sequence[UnitCurve]], prices: Mapping[str, float], kind: str, factor: float
) -> Scenario:
    blocks = [_areas(curves, prices) for curves in zip(*runs.values(), strict=True)]
    known = np.array([areas for areas in blocks if areas is not None])
    means = known.mean(0) if len(known) else np.full(len(runs), math.nan)
    areas = dict(zip(runs, means.tolist(), strict=True))
    order = sorted(areas, key=lambda arm: -areas[arm] if math.isfinite(areas[arm]) else math.inf)
    return Scenario(kind, factor, areas, tuple(order))


def _areas(curves: Sequence[UnitCurve], prices: Mapping[str, float]) -> list[float] | None:
    """Areas of the runs of one block over the minutes that all of them cover; None when there is no such span."""
    lines = [(curve.minutes(prices), np.asarray(curve.values, dtype=np.float64)) for curve in curves]
    if any(len(x) == 0 for x, _ in lines):
        return None
    low, high = max(x[0] for x, _ in lines), min(x[-1] for x, _ in lines)
    if high <= low:
        return None
    grid = np.unique(np.concatenate([[low, high], *(x for x, _ in lines)]))
    grid = grid[(grid >= low) & (grid <= high)]
    return [aubc(grid, np.interp(grid, x, y)) for x, y in lines]
