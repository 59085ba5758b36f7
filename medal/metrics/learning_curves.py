"""Learning curves: area under the budget curve, labels needed for a target, bands over seeds.

Zhan, Liu, Li, Chan, "A comparative survey: benchmarking for pool-based active learning", IJCAI 2021: area under the
budget curve by the trapezoid rule. Normalised by the span of the budget here, so that it has the unit of the metric.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from medal.errors import BudgetError, ConfigError


@dataclass(frozen=True)
class Band:
    """Mean of curves and a band around it, point by point.

    Args:
        mean: (P).
        low: (P), NaN where a t-interval of a single curve was asked for.
        high: (P), likewise.
        seeds: curves that went in.
    """

    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    seeds: int


def aubc(x: ArrayLike, y: ArrayLike, *, log: bool = False) -> float:
    """Area under the budget curve over its span: the mean metric over the budget.

    Args:
        x: (P) budget, P >= 2, ascending; above 0 when `log`.
        y: (P) metric.
        log: area over log x, which gives each doubling of the budget the same weight.

    Returns:
        Between the smallest and the largest y.

    Raises:
        BudgetError: when the points do not make a curve.

    Example:
        >>> aubc([100, 200, 400], [0.6, 0.7, 0.8])
        0.7166666666666667
        >>> round(aubc([100, 200, 400], [0.6, 0.7, 0.8], log=True), 6)
        0.7
    """
    budget, metric = _curve(x, y)
    if len(budget) < 2:
        raise BudgetError("area under a curve: found 1 point, expected at least 2")
    if log:
        if budget[0] <= 0:
            raise BudgetError(
                f"area over log budget: found a budget of {budget[0]:g}, expected above 0; drop that point"
            )
        budget = np.log(budget)
    return float(np.trapezoid(metric, budget) / (budget[-1] - budget[0]))


def area_between(x: ArrayLike, y: ArrayLike, other_x: ArrayLike, other_y: ArrayLike) -> float:
    """Mean height of one curve above another over the budgets that both cover, linear between points.

    Args:
        x: (P) budget of the first, ascending.
        y: (P) its metric.
        other_x: (Q) budget of the second, ascending.
        other_y: (Q) its metric.

    Returns:
        Positive where the first lies higher; NaN when the curves share less than two budgets.

    Raises:
        BudgetError: when the points do not make curves.

    Example:
        >>> round(area_between([100, 200], [0.6, 0.8], [100, 300], [0.6, 0.8]), 4)
        0.05
    """
    (a, v), (b, w) = _curve(x, y), _curve(other_x, other_y)
    grid = np.union1d(a, b)
    grid = grid[(grid >= max(a[0], b[0])) & (grid <= min(a[-1], b[-1]))]
    if len(grid) < 2:
        return float("nan")
    return aubc(grid, np.interp(grid, a, v) - np.interp(grid, b, w))


def labels_to_reach(x: ArrayLike, y: ArrayLike, target: float) -> float | None:
    """Budget at which the curve first reaches the target, linear between points.

    Args:
        x: (P) budget, ascending.
        y: (P) metric, bigger is better; it may fall again after the target.
        target: value of the metric.

    Returns:
        In [x[0], x[-1]]; None when the target is not reached.

    Raises:
        BudgetError: when the points do not make a curve.

    Example:
        >>> labels_to_reach([100, 200, 300], [0.5, 0.7, 0.8], 0.6)
        150.0
    """
    budget, metric = _curve(x, y)
    reached = np.flatnonzero(metric >= target)
    if not len(reached):
        return None
    after = int(reached[0])
    if after == 0:
        return float(budget[0])
    part = (target - metric[after - 1]) / (metric[after] - metric[after - 1])
    return float(budget[after - 1] + part * (budget[after] - budget[after - 1]))


def band(curves: Sequence[ArrayLike], kind: Literal["range", "t"] = "range", level: float = 0.95) -> Band:
    """Mean of curves over seeds with a band around it.

    Args:
        curves: (seeds, P), one curve a seed at the same budgets; differences of paired curves are curves too.
        kind: "range" from the smallest to the largest, or "t" for the t-interval of the mean.
        level: coverage of the t-interval, in (0, 1).

    Returns:
        One value a point. The t-interval of a single seed is NaN.

    Raises:
        ConfigError: on another kind, on a level outside (0, 1), or on curves of different lengths.

    Example:
        >>> band([[0.5, 0.6], [0.7, 0.6]])
        Band(mean=(0.6, 0.6), low=(0.5, 0.6), high=(0.7, 0.6), seeds=2)
    """
    lengths = {np.size(c) for c in curves}
    if len(lengths) != 1:
        raise ConfigError(f"curves have {sorted(lengths)} points; expected at least one curve, all at the same budgets")
    if kind not in ("range", "t") or not 0 < level < 1:
        raise ConfigError(f"band: found kind {kind!r} and level {level}; expected 'range' or 't' and a level in (0, 1)")
    values = np.asarray(curves, dtype=np.float64)
    seeds, mean = len(values), values.mean(0)
    if kind == "range":
        low, high = values.min(0), values.max(0)
    elif seeds == 1:
        low = high = np.full_like(mean, np.nan)
    else:
        from scipy.stats import t

        half = t.ppf((1 + level) / 2, seeds - 1) * values.std(0, ddof=1) / np.sqrt(seeds)
        low, high = mean - half, mean + half
    return Band(tuple(mean.tolist()), tuple(low.tolist()), tuple(high.tolist()), seeds)


def _curve(x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    budget, metric = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if budget.ndim != 1 or budget.shape != metric.shape or not len(budget):
        raise BudgetError(f"curve: found budgets {budget.shape} and values {metric.shape}, expected (P) twice, P >= 1")
    if not (np.isfinite(budget).all() and np.isfinite(metric).all()):
        raise BudgetError("curve: found a value that is not finite; leave out the rounds whose metric is not defined")
    if not (np.diff(budget) > 0).all():
        raise BudgetError("curve: found budgets that do not ascend; give each round once, in order")
    return budget, metric
