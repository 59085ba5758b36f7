"""Whether a ranking hangs on a single data set or block: each is left out once and the ranking made again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from medal.errors import ConfigError
from medal.metrics.ranking import ranks_within


@dataclass(frozen=True)
class LeftOut:
    """The ranking without one setting.

    Args:
        setting: that was left out.
        order: methods from the best mean rank on.
        tau: Kendall's rank correlation (tau-b) of the mean ranks with those of all settings; NaN when all are tied.
    """

    setting: str
    order: tuple[str, ...]
    tau: float


@dataclass(frozen=True)
class RankStability:
    """How far a ranking depends on single settings.

    Args:
        order: with all settings.
        without: one for each setting.
    """

    order: tuple[str, ...]
    without: tuple[LeftOut, ...]

    @property
    def same_best(self) -> int:
        """Settings that can be left out without another method coming first."""
        return sum(left.order[0] == self.order[0] for left in self.without)

    @property
    def same_order(self) -> int:
        """Settings that can be left out without any change of the order."""
        return sum(left.order == self.order for left in self.without)

    @property
    def lowest_tau(self) -> float:
        """The smallest rank correlation; NaN without any."""
        return min((left.tau for left in self.without if math.isfinite(left.tau)), default=math.nan)


def leave_one_out(table: ArrayLike, methods: Sequence[str], settings: Sequence[str]) -> RankStability:
    """Ranks the methods again without each setting in turn.

    Args:
        table: (S, M) one number for each setting and method, bigger is better. Settings are data sets
            (leave-one-set-out) or blocks (leave-one-block-out).
        methods: (M) names.
        settings: (S) names.

    Returns:
        The order with all settings and without each; ties stay in the order given.

    Raises:
        ConfigError: with fewer than two settings, or when names and table do not fit.

    Example:
        >>> table = [[0.7, 0.8], [0.7, 0.8], [0.9, 0.5], [0.9, 0.5], [0.6, 0.7]]
        >>> found = leave_one_out(table, ["random", "entropy"], ["a", "b", "c", "d", "e"])
        >>> found.order, found.same_best
        (('entropy', 'random'), 2)
    """
    ranks = ranks_within(table)
    if ranks.shape != (len(settings), len(methods)) or len(settings) < 2:
        raise ConfigError(
            f"leave-one-out: found a table {ranks.shape} for {len(settings)} settings and {len(methods)} methods; "
            "expected one row a setting, one column a method, at least two rows"
        )
    whole = ranks.mean(0)
    without = []
    for position, name in enumerate(settings):
        rest = np.delete(ranks, position, axis=0).mean(0)
        without.append(LeftOut(str(name), _order(rest, methods), kendall_tau(whole, rest)))
    return RankStability(_order(whole, methods), tuple(without))


def kendall_tau(first: ArrayLike, second: ArrayLike) -> float:
    """Kendall's tau-b of two lists.

    Args:
        first: (M).
        second: (M).

    Returns:
        In [-1, 1]; NaN when one of them is constant.

    Example:
        >>> kendall_tau([1, 2, 3], [1, 3, 2])
        0.3333333333333333
    """
    a, b = (np.sign(np.subtract.outer(np.asarray(x, dtype=np.float64), np.asarray(x))) for x in (first, second))
    size = math.sqrt(float(np.square(a).sum() * np.square(b).sum()))
    return float((a * b).sum() / size) if size else math.nan


def _order(mean_ranks: np.ndarray, methods: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(methods[k]) for k in np.argsort(mean_ranks, kind="stable"))
