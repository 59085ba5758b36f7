"""Forecast of a learning curve: a power law through the measures of the paid random validation arm.

Learning curves of classifiers fall towards their limit as a power of the number of labels: y = a - b n^(-c) (Cortes et
al., "Learning curves: asymptotic values and rate of convergence", NeurIPS 1993; Figueroa et al., "Predicting sample
size required for classification performance", BMC Medical Informatics and Decision Making, 2012). For a given exponent
the fit is linear; the exponent is searched on a grid, so the fit is deterministic and cannot fail to converge.

Only measures on units that were drawn at random and paid for may go in. The test set must not steer a campaign, and
measures on what a strategy picked stand for nothing but its picks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from medal.errors import BudgetError
from medal.metrics.cluster_bootstrap import RESAMPLES, Interval, percentiles
from medal.seeding import Seed

POINTS_NEEDED = 4
"""Rounds below which three parameters cannot be told from noise."""
EXPONENTS = np.geomspace(0.1, 2.0, 96)
HORIZON = 10
"""Times the labels at hand beyond which a forecast is no number any more."""


@dataclass(frozen=True)
class PowerLaw:
    """y = asymptote - scale n^(-exponent).

    Args:
        asymptote: limit for ever more labels.
        scale: at least 0, so that the curve never falls.
        exponent: in [0.1, 2].
    """

    asymptote: float
    scale: float
    exponent: float

    def at(self, labels: ArrayLike) -> np.ndarray:
        """Value at numbers of labels above 0, the same shape.

        Example:
            >>> PowerLaw(0.9, 1.0, 0.5).at([100, 400]).tolist()
            [0.8, 0.85]
        """
        return self.asymptote - self.scale * np.asarray(labels, dtype=np.float64) ** -self.exponent

    def reach(self, target: float) -> float:
        """Labels at which the curve reaches a value; infinite when it never does.

        Example:
            >>> round(PowerLaw(0.9, 1.0, 0.5).reach(0.85)), PowerLaw(0.9, 1.0, 0.5).reach(0.9)
            (400, inf)
        """
        return float(_reach(np.array([[self.asymptote, self.scale, self.exponent]]), target)[0])


@dataclass(frozen=True)
class More:
    """Labels still needed for a target; infinite where it is not reachable.

    Args:
        labels: by the fitted curve; 0 when the curve is already there.
        low: lower end of the interval.
        high: upper end; infinite when too many resampled curves never reach the target.
        reachable: share of the resampled curves that reach it at all.
    """

    labels: float
    low: float
    high: float
    reachable: float


@dataclass(frozen=True)
class Forecast:
    """A fitted learning curve with its resampled alternatives.

    Args:
        labels: (P) numbers of labels that were measured at.
        values: (P) measures there.
        curve: fitted to them.
        drawn: (B, 3) asymptote, scale and exponent of the resampled curves.
        level: coverage of every interval.
    """

    labels: tuple[float, ...]
    values: tuple[float, ...]
    curve: PowerLaw
    drawn: np.ndarray
    level: float = 0.95

    @property
    def asymptote(self) -> Interval:
        """The limit that this learner approaches."""
        return Interval(self.curve.asymptote, *percentiles(self.drawn[:, 0], self.level))

    def at(self, labels: float) -> Interval:
        """The curve at a number of labels."""
        drawn = self.drawn[:, 0] - self.drawn[:, 1] * labels ** -self.drawn[:, 2]
        return Interval(float(self.curve.at(labels)), *percentiles(drawn, self.level))

    def gain(self, more: float) -> Interval:
        """What more labels add to the curve's value at the last measured number of labels."""
        last = self.labels[-1]
        return Interval(
            float(self.curve.at(last + more) - self.curve.at(last)), *percentiles(self.gains(more), self.level)
        )

    def gains(self, more: float) -> np.ndarray:
        """The same of each resampled curve, (B)."""
        last, (_, scale, exponent) = self.labels[-1], self.drawn.T
        return scale * (last**-exponent - (last + more) ** -exponent)

    def more(self, target: float) -> More:
        """How many more labels reach a target."""
        last = self.labels[-1]
        drawn = np.maximum(_reach(self.drawn, target) - last, 0.0)
        ordered, tail = np.sort(drawn), (1 - self.level) / 2
        # order statistics, not interpolation: between a number and infinity there is nothing
        low, high = (float(ordered[round(share * (len(ordered) - 1))]) for share in (tail, 1 - tail))
        return More(max(self.curve.reach(target) - last, 0.0), low, high, float(np.isfinite(drawn).mean()))


def fit_power_law(labels: ArrayLike, values: ArrayLike, ceiling: float = 1.0) -> PowerLaw:
    """The least-squares power law through a learning curve.

    Args:
        labels: (P) numbers of training labels above 0, ascending, P >= 4.
        values: (P) measures, bigger is better.
        ceiling: largest value that the measure can have; the asymptote stays at or below it.

    Raises:
        BudgetError: with fewer than four points, or when they do not make a curve.

    Example:
        >>> n = [25, 100, 400, 1600]
        >>> found = fit_power_law(n, [0.9 - x**-0.5 for x in n])
        >>> round(found.asymptote, 3), round(found.exponent, 1)
        (0.9, 0.5)
    """
    n, y = _points(labels, values)
    return PowerLaw(*(float(v) for v in _fit(n, y[None], ceiling)[0]))


def forecast(
    labels: ArrayLike,
    values: ArrayLike,
    seed: Seed,
    *,
    replicates: ArrayLike | None = None,
    ceiling: float = 1.0,
    level: float = 0.95,
    resamples: int = RESAMPLES,
) -> Forecast:
    """Fits a learning curve and resamples it.

    Args:
        labels: (P) numbers of training labels above 0, ascending, P >= 4.
        values: (P) measures on the random validation arm.
        seed: of the resampling.
        replicates: (B, P) the same measures on resamples of the arm's patients, one draw for all rounds (see
            `medal.metrics.macro_replicates`); None when only the points are known.
        ceiling: largest value that the measure can have.
        level: coverage of the intervals.
        resamples: B, where `replicates` is None.

    Returns:
        The forecast. Its curves differ by the patients of the arm and by the scatter of the rounds around the curve,
        drawn from the residuals (enlarged by sqrt(P / (P - 3)) for the three parameters that were fitted). Scatter
        that comes from patients counts twice, so the intervals are rather too wide than too narrow.

    Raises:
        BudgetError: with fewer than four points, or when they do not make a curve.

    Example:
        >>> n = [50, 100, 200, 400, 800]
        >>> found = forecast(n, [0.9 - x**-0.5 for x in n], Seed(0))
        >>> 795 < found.more(0.875).labels < 805, found.more(0.95).labels
        (True, inf)
    """
    n, y = _points(labels, values)
    curve = fit_power_law(n, y, ceiling)
    fitted = curve.at(n)
    residuals = y - fitted
    residuals = (residuals - residuals.mean()) * math.sqrt(len(n) / (len(n) - 3))
    if replicates is None:
        noise = np.zeros((resamples, len(n)))
    else:
        noise = np.asarray(replicates, dtype=np.float64)
        if noise.ndim != 2 or noise.shape[1] != len(n):
            raise BudgetError(f"forecast: found replicates {noise.shape}, expected (B, {len(n)}), one curve a row")
        noise = noise[np.isfinite(noise).all(1)] - y
        if not len(noise):
            raise BudgetError("forecast: found no replicate that is finite in every round; leave such rounds out")
    scatter = residuals[seed.numpy().integers(0, len(n), noise.shape)]
    return Forecast(tuple(n.tolist()), tuple(y.tolist()), curve, _fit(n, fitted + noise + scatter, ceiling), level)


def _points(labels: ArrayLike, values: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    n, y = np.asarray(labels, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if n.ndim != 1 or n.shape != y.shape or not (np.isfinite(n).all() and np.isfinite(y).all()):
        raise BudgetError(f"learning curve: found {n.shape} and {y.shape}, expected (P) finite numbers twice")
    if len(n) < POINTS_NEEDED or n[0] <= 0 or not (np.diff(n) > 0).all():
        raise BudgetError(
            f"learning curve: found {len(n)} points; expected at least {POINTS_NEEDED} at ascending numbers of labels "
            "above 0: play more rounds first"
        )
    return n, y


def _fit(n: np.ndarray, y: np.ndarray, ceiling: float) -> np.ndarray:
    """(B, 3) least-squares asymptote, scale and exponent of B curves (B, P)."""
    z = (n / n[0])[None] ** -EXPONENTS[:, None]  # (G, P), at most 1
    middle, centred = z.mean(1), z - z.mean(1, keepdims=True)
    mean = y.mean(1, keepdims=True)
    scale = np.maximum(-(y - mean) @ centred.T / np.square(centred).sum(1), 0.0)  # (B, G)
    asymptote = mean + scale * middle
    beyond = asymptote > ceiling
    scale = np.where(beyond, np.maximum((ceiling - y) @ z.T / np.square(z).sum(1), 0.0), scale)
    asymptote = np.minimum(asymptote, ceiling)
    # sum over points of (y - a + b z)^2, multiplied out so that no (B, G, P) array is needed
    shifted, points = asymptote - mean, len(n)
    error = np.square(y - mean).sum(1, keepdims=True) + points * np.square(shifted)
    error = error + np.square(scale) * np.square(z).sum(1) + 2 * scale * ((y - mean) @ z.T)
    error = error - 2 * shifted * scale * z.sum(1)
    best = np.argmin(error, axis=1)
    rows = np.arange(len(y))
    exponent = EXPONENTS[best]
    return np.stack([asymptote[rows, best], scale[rows, best] * n[0] ** exponent, exponent], axis=1)


def _reach(curves: np.ndarray, target: float) -> np.ndarray:
    """(B) labels at which curves (B, 3) reach a target; 0 for a flat curve above it, infinite where never."""
    asymptote, scale, exponent = curves.T
    room = asymptote - target
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        labels = (scale / room) ** (1 / exponent)
    labels = np.where((scale == 0) & (room >= 0), 0.0, labels)
    return np.where((room < 0) | ((room == 0) & (scale > 0)), math.inf, labels)
