"""Agreement between readers beyond chance: Cohen's kappa for two, Fleiss' kappa for more.

Cohen, "A coefficient of agreement for nominal scales", 1960; Fleiss, "Measuring nominal scale agreement among many
raters", 1971. Hospitals have few images read twice, by changing readers, so designs are incomplete. Variant used here:
an item counts when it has at least two ratings; its observed agreement is the share of agreeing pairs among its own
ratings; items weigh the same; chance agreement comes from the ratings of these items pooled. With equally many ratings
for every item this is Fleiss' kappa.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from medal.errors import ConfigError
from medal.metrics.cluster_bootstrap import percentiles
from medal.seeding import Seed

RESAMPLES = 1_000


@dataclass(frozen=True)
class Agreement:
    """Agreement on one label.

    Args:
        kappa: 1 for perfect, 0 for chance; None when it is not defined (nobody or everybody says present).
        low: lower end of the bootstrap interval over items; NaN when it is not defined.
        high: upper end.
        observed: share of agreeing pairs of ratings, in [0, 1]; NaN without items.
        items: with at least two ratings.
        readers: who rated any of them.
        statistic: "Cohen" or "Fleiss".
    """

    kappa: float | None
    low: float
    high: float
    observed: float
    items: int
    readers: int
    statistic: str


def cohen_kappa(first: ArrayLike, second: ArrayLike) -> float | None:
    """Cohen's kappa of two readers.

    Args:
        first: (N) categories as numbers, NaN where not rated.
        second: (N) of the same items.

    Returns:
        In [-1, 1] over the items that both have rated; None when both use one and the same category alone, or
        without such items.

    Raises:
        ConfigError: when the lengths differ.

    Example:
        >>> cohen_kappa([1, 1, 0, 0], [1, 0, 0, 0])
        0.5
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ConfigError(f"kappa: found ratings of shapes {a.shape} and {b.shape}; expected (N) twice")
    both = ~(np.isnan(a) | np.isnan(b))
    a, b = a[both], b[both]
    if not len(a):
        return None
    categories = np.union1d(a, b)
    cells = (a[:, None, None] == categories[:, None]) & (b[:, None, None] == categories)
    return _defined(_cohen(cells.reshape(len(a), -1), np.ones((1, len(a))))[0])


def fleiss_kappa(counts: ArrayLike) -> float | None:
    """Fleiss' kappa, also for items with different numbers of ratings.

    Args:
        counts: (N, C) ratings of each item in each category; items with fewer than two ratings take no part.

    Returns:
        At most 1; None when one category alone is used, or without an item of two ratings.

    Raises:
        ConfigError: when the counts are no table of numbers of at least 0.

    Example:
        >>> round(fleiss_kappa([[3, 0], [0, 3], [2, 1]]), 3)
        0.55
    """
    table = np.asarray(counts, dtype=np.float64)
    if table.ndim != 2 or not (np.isfinite(table).all() and (table >= 0).all()):
        raise ConfigError(f"kappa: found counts of shape {table.shape}; expected (items, categories), at least 0")
    table = table[table.sum(1) >= 2]
    return _defined(_fleiss(table, np.ones((1, len(table))))[0])


def label_agreement(ratings: Mapping[str, ArrayLike], labels: Sequence[str], seed: Seed) -> dict[str, Agreement]:
    """Agreement on every label, from who has rated what.

    Args:
        ratings: reader -> (N, L) of the same items: 1 present, 0 absent; NaN (not rated), -1 (uncertain) and soft
            values take no part.
        labels: (L) names.
        seed: of the bootstrap over items.

    Returns:
        Label -> Cohen's kappa when exactly two readers have rated, Fleiss' otherwise.

    Raises:
        ConfigError: when shapes do not fit.

    Example:
        >>> a, b = [[1], [1], [0], [0]], [[1], [0], [0], [0]]
        >>> found = label_agreement({"A": a, "B": b}, ["Mass"], Seed(0))["Mass"]
        >>> found.kappa, found.observed, found.items, found.statistic
        (0.5, 0.75, 4, 'Cohen')
    """
    arrays = {reader: np.asarray(ratings[reader], dtype=np.float64) for reader in sorted(ratings)}
    shapes = {a.shape for a in arrays.values()}
    if len(shapes) > 1 or any(len(shape) != 2 or shape[1] != len(labels) for shape in shapes):
        raise ConfigError(f"agreement: found ratings of shapes {sorted(shapes)}; expected (N, {len(labels)}) for each")
    if not arrays:
        return {name: Agreement(None, math.nan, math.nan, math.nan, 0, 0, "Fleiss") for name in labels}
    values = np.stack(list(arrays.values()))  # (readers, N, L)
    return {name: _one(values[:, :, k], seed / name) for k, name in enumerate(labels)}


def _one(values: np.ndarray, seed: Seed) -> Agreement:
    """Agreement of (readers, N) ratings of one label."""
    present, absent = values == 1, values == 0
    rated = present | absent
    kept = rated.sum(0) >= 2
    present, absent, rated = present[:, kept], absent[:, kept], rated[:, kept]
    readers = np.flatnonzero(rated.any(1))
    counts = np.stack([absent.sum(0), present.sum(0)], axis=1).astype(np.float64)
    items, two = len(counts), len(readers) == 2
    statistic = "Cohen" if two else "Fleiss"
    if not items:
        return Agreement(None, math.nan, math.nan, math.nan, 0, len(readers), statistic)
    weights = np.concatenate([np.ones((1, items)), seed.numpy().multinomial(items, [1 / items] * items, RESAMPLES)])
    if two:
        (a0, b0), (a1, b1) = absent[readers], present[readers]
        found = _cohen(np.stack([a0 & b0, a0 & b1, a1 & b0, a1 & b1], axis=1), weights)
    else:
        found = _fleiss(counts, weights)
    low, high = percentiles(found[1:])
    return Agreement(_defined(found[0]), low, high, float(_pairs(counts).mean()), items, len(readers), statistic)


def _cohen(cells: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(B) Cohen's kappa of items by cell (N, C * C) under weights (B, N)."""
    size = math.isqrt(cells.shape[1])
    table = (weights @ cells.astype(np.float64)).reshape(len(weights), size, size)
    total = table.sum((1, 2))
    chance = np.divide((table.sum(1) * table.sum(2)).sum(1), np.square(total), out=np.ones(len(table)), where=total > 0)
    observed = np.divide(np.trace(table, axis1=1, axis2=2), total, out=np.zeros(len(table)), where=total > 0)
    return _beyond(observed, chance)


def _fleiss(counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(B) Fleiss' kappa of counts (N, C), each row at least 2 in sum, under weights (B, N)."""
    items = weights.sum(1)
    pooled = weights @ counts
    share = np.divide(
        pooled, pooled.sum(1, keepdims=True), out=np.ones_like(pooled), where=pooled.sum(1, keepdims=True) > 0
    )
    observed = np.divide(weights @ _pairs(counts), items, out=np.zeros(len(items)), where=items > 0)
    return _beyond(observed, np.square(share).sum(1))


def _pairs(counts: np.ndarray) -> np.ndarray:
    """(N) share of agreeing pairs among the ratings of each item."""
    ratings = counts.sum(1)
    return (counts * (counts - 1)).sum(1) / (ratings * (ratings - 1))


def _beyond(observed: np.ndarray, chance: np.ndarray) -> np.ndarray:
    room = 1 - chance
    return np.divide(observed - chance, room, out=np.full(len(room), math.nan), where=room > 1e-12)


def _defined(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
