"""Ranking of methods over several settings: mean ranks, whether they differ, and how far.

A setting is a data set with its regime, or one block where the stability over blocks is asked. Ranks do not need the
settings' numbers to be comparable (Demšar, "Statistical comparisons of classifiers over multiple data sets", JMLR
2006: Friedman's test and Nemenyi's critical difference). Kendall's W says how far the settings agree on the order, from
0 to 1. Saturated settings tell nothing about the methods and are left out (`saturated_from`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from medal.errors import ConfigError

SATURATED_AT = 0.99
"""Share of the full-data value at which a setting has nothing left to gain."""


@dataclass(frozen=True)
class Ranking:
    """Methods over settings; rank 1 is the best.

    Args:
        methods: names, in the order given.
        mean_ranks: (M) mean over settings.
        settings: that went in.
        friedman: Friedman's chi-square statistic, corrected for ties; NaN with fewer than two settings or methods.
        p: its p-value with M - 1 degrees of freedom, which is approximate below about ten settings.
        critical_difference: mean ranks that lie closer are not told apart (Nemenyi).
        kendall_w: agreement of the settings, in [0, 1].
    """

    methods: tuple[str, ...]
    mean_ranks: tuple[float, ...]
    settings: int
    friedman: float
    p: float
    critical_difference: float
    kendall_w: float

    @property
    def order(self) -> tuple[str, ...]:
        """Methods from the best mean rank on; ties in the order given."""
        return tuple(self.methods[k] for k in np.argsort(self.mean_ranks, kind="stable"))


def rank_methods(table: ArrayLike, methods: Sequence[str], alpha: float = 0.05) -> Ranking:
    """Ranks methods within each setting and summarises over the settings.

    Args:
        table: (S, M) one number for each setting and method, bigger is better, such as the mean area under the curve.
        methods: (M) names.
        alpha: level of the critical difference.

    Returns:
        The ranking; ties share the mean of their ranks.

    Raises:
        ConfigError: when the table is not finite or does not fit the names.

    Example:
        >>> found = rank_methods([[0.7, 0.8, 0.9], [0.6, 0.7, 0.8]], ["random", "entropy", "badge"])
        >>> found.order, found.mean_ranks, found.kendall_w
        (('badge', 'entropy', 'random'), (3.0, 2.0, 1.0), 1.0)
    """
    ranks = ranks_within(table)
    if ranks.shape[1] != len(methods) or len(set(methods)) != len(methods):
        raise ConfigError(f"ranking: found {ranks.shape[1]} columns and {len(methods)} names; expected one name each")
    statistic, p, w = friedman(ranks)
    return Ranking(
        methods=tuple(methods),
        mean_ranks=tuple(ranks.mean(0).tolist()),
        settings=len(ranks),
        friedman=statistic,
        p=p,
        critical_difference=critical_difference(len(methods), len(ranks), alpha),
        kendall_w=w,
    )


def ranks_within(table: ArrayLike) -> np.ndarray:
    """Ranks within each row, 1 for the biggest value, ties sharing their mean.

    Args:
        table: (S, M) finite.

    Returns:
        (S, M).

    Raises:
        ConfigError: when the table is not finite, or empty.

    Example:
        >>> ranks_within([[0.5, 0.9, 0.5]])
        array([[2.5, 1. , 2.5]])
    """
    from scipy.stats import rankdata

    values = np.asarray(table, dtype=np.float64)
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise ConfigError(
            f"ranking: found a table of shape {values.shape}; expected (settings, methods) finite numbers"
        )
    return np.asarray(rankdata(-values, axis=1))


def friedman(ranks: ArrayLike) -> tuple[float, float, float]:
    """Friedman's test and Kendall's W, both corrected for ties.

    Args:
        ranks: (S, M), see `ranks_within`.

    Returns:
        Statistic, p-value and W; NaN with fewer than two settings or methods, or where every rank is tied.

    Example:
        >>> friedman([[1, 2, 3], [1, 2, 3]])[::2]
        (4.0, 1.0)
    """
    from scipy.stats import chi2

    r = np.asarray(ranks, dtype=np.float64)
    settings, methods = r.shape
    # within a setting without ties the squared deviations of the ranks sum to M (M^2 - 1) / 12; ties make it less
    most = settings * np.square(r - r.mean(1, keepdims=True)).sum()
    if settings < 2 or methods < 2 or most == 0:
        return math.nan, math.nan, math.nan
    w = float(np.square(r.sum(0) - r.sum(0).mean()).sum() / most)
    statistic = settings * (methods - 1) * w
    return statistic, float(chi2.sf(statistic, methods - 1)), w


def critical_difference(methods: int, settings: int, alpha: float = 0.05) -> float:
    """Nemenyi's critical difference of mean ranks.

    Args:
        methods: M, at least 2 for a difference.
        settings: S.
        alpha: level, in (0, 1).

    Returns:
        In ranks; NaN with fewer than two methods or settings.

    Example:
        >>> round(critical_difference(4, 14), 2)  # Demšar's example: 2.569 sqrt(4 * 5 / (6 * 14))
        1.25
    """
    from scipy.stats import studentized_range

    if methods < 2 or settings < 2:
        return math.nan
    quantile = float(studentized_range.ppf(1 - alpha, methods, np.inf)) / math.sqrt(2)
    return quantile * math.sqrt(methods * (methods + 1) / (6 * settings))


def saturated_from(baseline: ArrayLike, full: float, share: float = SATURATED_AT) -> int | None:
    """The first budget at which random already reaches nearly what all the data give.

    Args:
        baseline: (P) the random arm's mean measure at each budget, bigger is better.
        full: measure with all of the pool labelled.
        share: of `full` that counts as reached.

    Returns:
        Position of the budget; None where the setting still has room.

    Example:
        >>> saturated_from([0.80, 0.85, 0.90], full=0.90), saturated_from([0.80, 0.85], full=0.90)
        (2, None)
    """
    reached = np.flatnonzero(np.asarray(baseline, dtype=np.float64) >= share * full)
    return int(reached[0]) if len(reached) else None


def saturated(baseline: ArrayLike, full: float, share: float = SATURATED_AT) -> bool:
    """Whether a setting is flagged and left out of rankings: random reaches the share of the full-data line.

    Args:
        baseline: (P) the random arm's mean measure at each budget.
        full: measure with all of the pool labelled.
        share: of `full` that counts as reached.

    Example:
        >>> saturated([0.80, 0.895], full=0.90)
        True
    """
    return saturated_from(baseline, full, share) is not None
