"""Pairwise penalty matrix: how often one method beats another significantly.

Ash et al., "Deep batch active learning by diverse, uncertain gradient lower bounds" (BADGE), ICLR 2020, appendix: at
each budget of a setting a two-sided t-test over the seeds; a win adds one over the number of budgets, so that a setting
adds at most 1 to an entry. `penalty_by_budget` is that form, to compare with the literature, with the pairing by block
that theirs assumes. It takes many dependent tests on few runs: `penalty_by_area` tests one number a run instead, the
area under the budget curve, with the exact sign-flip test.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from medal.errors import ConfigError
from medal.metrics.sign_flip import sign_flip_p
from medal.seeding import Seed

Beats = Callable[[np.ndarray], float]


@dataclass(frozen=True)
class PenaltyMatrix:
    """Wins of the row over the column.

    Args:
        methods: (M) names.
        wins: (M, M) entry (i, j) counts settings in which i beats j, in parts of a setting; the diagonal is 0.
        settings: the largest value that an entry can have.
    """

    methods: tuple[str, ...]
    wins: tuple[tuple[float, ...], ...]
    settings: int

    @property
    def won(self) -> tuple[float, ...]:
        """(M) mean over the others of how often each method wins; bigger is better."""
        return self._means(1)

    @property
    def lost(self) -> tuple[float, ...]:
        """(M) mean over the others of how often each method loses; smaller is better (the column of the papers)."""
        return self._means(0)

    def _means(self, axis: int) -> tuple[float, ...]:
        others = max(len(self.methods) - 1, 1)
        return tuple((np.asarray(self.wins).sum(axis) / others).tolist())


def penalty_by_budget(curves: Mapping[str, Mapping[str, ArrayLike]], alpha: float = 0.05) -> PenaltyMatrix:
    """The classical matrix: a paired t-test at every budget.

    Args:
        curves: setting -> method -> (B, P) measure of each block at each budget, bigger is better; the same blocks and
            budgets for all methods of a setting, the same methods in all settings.
        alpha: two-sided level of each test.

    Returns:
        The matrix. With fewer than two blocks nobody wins.

    Raises:
        ConfigError: when methods or shapes differ.

    Example:
        >>> flat, high = [[0.5, 0.6], [0.5, 0.6], [0.6, 0.7]], [[0.5, 0.7], [0.6, 0.7], [0.6, 0.8]]
        >>> penalty_by_budget({"nih": {"random": flat, "badge": high}}).wins  # the second of two budgets
        ((0.0, 0.0), (0.5, 0.0))
    """
    from scipy.stats import t

    def beats(difference: np.ndarray) -> float:
        blocks = len(difference)
        if blocks < 2:
            return 0.0
        mean, error = difference.mean(0), difference.std(0, ddof=1) / math.sqrt(blocks)
        # rounding must not make a constant difference of zero significant
        threshold = t.ppf(1 - alpha / 2, blocks - 1) * error + 1e-12
        return float(np.mean(mean > threshold))

    return _matrix(curves, 2, beats)


def penalty_by_area(areas: Mapping[str, Mapping[str, ArrayLike]], seed: Seed, alpha: float = 0.05) -> PenaltyMatrix:
    """One test a pair and setting: the area under the budget curve, paired by block.

    Args:
        areas: setting -> method -> (B) one number a block, bigger is better; the same blocks for all methods of a
            setting, the same methods in all settings.
        seed: of drawn sign patterns, beyond 20 blocks.
        alpha: two-sided level. With five blocks the smallest p-value is .0625, so nobody can win at .05.

    Returns:
        The matrix, of whole numbers.

    Raises:
        ConfigError: when methods or shapes differ.

    Example:
        >>> areas = {"nih": {"random": [0.5] * 6, "badge": [0.51, 0.52, 0.53, 0.54, 0.55, 0.56]}}
        >>> penalty_by_area(areas, Seed(0)).wins
        ((0.0, 0.0), (1.0, 0.0))
    """
    return _matrix(areas, 1, lambda d: float(d.mean() > 0 and sign_flip_p(d, seed) <= alpha) if len(d) else 0.0)


def _matrix(settings: Mapping[str, Mapping[str, ArrayLike]], axes: int, beats: Beats) -> PenaltyMatrix:
    methods = tuple(next(iter(settings.values()), {}))
    wins = np.zeros((len(methods), len(methods)))
    for name, by_method in settings.items():
        if set(by_method) != set(methods):
            raise ConfigError(
                f"penalty matrix: {name} has methods {', '.join(by_method)}; expected {', '.join(methods)}"
            )
        arrays = [np.asarray(by_method[method], dtype=np.float64) for method in methods]
        shapes = {a.shape for a in arrays}
        if len(shapes) != 1 or arrays[0].ndim != axes or not all(np.isfinite(a).all() for a in arrays):
            raise ConfigError(
                f"penalty matrix: {name} has values of shapes {sorted(shapes)}; expected one shape of {axes} axes, "
                "finite, paired by block"
            )
        wins += [[beats(a - b) if i != j else 0.0 for j, b in enumerate(arrays)] for i, a in enumerate(arrays)]
    return PenaltyMatrix(methods, tuple(tuple(row) for row in wins.tolist()), len(settings))
