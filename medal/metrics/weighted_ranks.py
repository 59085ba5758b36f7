"""Rank measures with weights: area under the receiver operating characteristic and average precision, vectorised.

A bootstrap needs a measure a thousand times on the same scores with other weights. The scores are sorted once, equal
scores are made one threshold, and all weightings are cumulated together.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike


def weighted_auroc(scores: ArrayLike, targets: ArrayLike, weights: ArrayLike) -> np.ndarray:
    """Area under the receiver operating characteristic for many weightings at once, ties counting half.

    Args:
        scores: (n) bigger = more likely positive.
        targets: (n) of 1 and 0; other values take no part.
        weights: (B, n) at least 0, one row for each weighting.

    Returns:
        (B) in [0, 1]; NaN where one class has no weight.

    Example:
        >>> weighted_auroc([0.9, 0.8, 0.1], [1, 0, 0], [[1, 1, 1], [1, 0, 0]])
        array([ 1., nan])
    """
    positive, negative = _by_score(scores, targets, weights)
    below = np.cumsum(negative, axis=1) - negative
    won = (positive * (below + negative / 2)).sum(1)
    pairs = positive.sum(1) * negative.sum(1)
    return np.divide(won, pairs, out=np.full(len(won), math.nan), where=pairs > 0)


def weighted_auprc(scores: ArrayLike, targets: ArrayLike, weights: ArrayLike) -> np.ndarray:
    """Average precision for many weightings at once; equal scores are one threshold.

    Args:
        scores: (n) bigger = more likely positive.
        targets: (n) of 1 and 0; other values take no part.
        weights: (B, n) at least 0.

    Returns:
        (B) in [0, 1]; NaN where one class has no weight, as `medal.metrics.auprc` is None there.

    Example:
        >>> weighted_auprc([0.9, 0.8, 0.1], [0, 1, 0], [[1, 1, 1]])
        array([0.5])
    """
    positive, negative = _by_score(scores, targets, weights)
    positive, negative = positive[:, ::-1], negative[:, ::-1]
    hits = np.cumsum(positive, axis=1)
    shown = hits + np.cumsum(negative, axis=1)
    precision = np.divide(hits, shown, out=np.zeros_like(hits), where=shown > 0)
    total = positive.sum(1)
    defined = (total > 0) & (negative.sum(1) > 0)
    return np.divide((positive * precision).sum(1), total, out=np.full(len(total), math.nan), where=defined)


def concordance(scores: ArrayLike, targets: ArrayLike) -> np.ndarray:
    """Which positive is ranked above which negative: the area is the weighted mean of these.

    The area under the receiver operating characteristic is linear in it, so that areas of several rounds, and the
    difference of two runs, are added up here before any weighting.

    Args:
        scores: (n) bigger = more likely positive.
        targets: (n) of 1 and 0; other values take no part.

    Returns:
        (positives, negatives) of 1, 0, and one half for a tie.

    Example:
        >>> concordance([0.9, 0.9, 0.1], [1, 0, 0])
        array([[0.5, 1. ]])
    """
    s, y = np.asarray(scores, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    higher, lower = s[y == 1][:, None], s[y == 0][None]
    return (higher > lower) + 0.5 * (higher == lower)


def _by_score(scores: ArrayLike, targets: ArrayLike, weights: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Weight of positives and of negatives at each distinct score, ascending: (B, distinct) twice."""
    s, y = np.asarray(scores, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    w = np.asarray(weights, dtype=np.float64)
    known = np.flatnonzero((y == 0) | (y == 1))
    order = known[np.argsort(s[known], kind="stable")]
    if not len(order):
        return np.zeros((len(w), 1)), np.zeros((len(w), 1))
    starts = np.flatnonzero(np.r_[True, np.diff(s[order]) != 0])
    sorted_weights = w[:, order]
    positive = np.add.reduceat(sorted_weights * y[order], starts, axis=1)
    return positive, np.add.reduceat(sorted_weights, starts, axis=1) - positive
