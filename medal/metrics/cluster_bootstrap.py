"""Bootstrap over patients of multi-label measures.

Images of one patient are alike, so patients are drawn with replacement and all their images go along (cluster
bootstrap: Davison and Hinkley, "Bootstrap methods and their application", 1997, section 3.8). A resample is a weight
for each image, the number of times that its patient was drawn; see `medal.metrics.weighted_ranks`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from medal.errors import ConfigError, OutputError
from medal.metrics.weighted_ranks import weighted_auprc, weighted_auroc
from medal.seeding import Seed

RESAMPLES = 1_000
BYTES = 64 * 2**20
"""Largest array of weights that is held at once."""
Weighted = Callable[[ArrayLike, ArrayLike, ArrayLike], np.ndarray]
MEASURES: dict[str, Weighted] = {"auroc": weighted_auroc, "auprc": weighted_auprc}


@dataclass(frozen=True)
class Interval:
    """A value with its percentile bootstrap interval; NaN where it is not defined.

    Args:
        value: on the data as they are.
        low: lower end.
        high: upper end.
        labels: labels that went into the mean.
    """

    value: float
    low: float
    high: float
    labels: int = 1


def patient_weights(patients: Sequence[Hashable], seed: Seed, resamples: int = RESAMPLES) -> np.ndarray:
    """How often each image counts in each resample of the patients.

    Args:
        patients: (n) who each image is of.
        seed: of the draws.
        resamples: B.

    Returns:
        (B, n) float64 counts, equal for images of one patient. Sorted names are drawn, so the order of the images
        does not matter.

    Example:
        >>> weights = patient_weights(["p", "q", "p"], Seed(0), 5)
        >>> bool((weights[:, 0] == weights[:, 2]).all()), weights[:, :2].sum(1).tolist()
        (True, [2.0, 2.0, 2.0, 2.0, 2.0])
    """
    names = sorted({str(p) for p in patients})
    if not names or resamples < 1:
        raise ConfigError(f"bootstrap: found {len(names)} patients, {resamples} resamples; expected at least 1 of each")
    place = {name: position for position, name in enumerate(names)}
    counts = seed.numpy().multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    return counts[:, [place[str(p)] for p in patients]].astype(np.float64)


def interval_seed(labels: Sequence[str]) -> Seed:
    """Seed of the resamples behind an interval that is shown, the same wherever the same labels are shown.

    Args:
        labels: names in the mean.

    Example:
        >>> interval_seed(["Mass"]) == Seed(0) / "interval" / "Mass"
        True
    """
    return Seed(0) / "interval" / ", ".join(labels)


def estimable_labels(targets: ArrayLike, min_positives: int) -> tuple[int, ...]:
    """Labels with enough positives and enough negatives.

    Args:
        targets: (n, L) of 1, 0, NaN and -1.
        min_positives: of either class; at least 1 is always needed.

    Returns:
        Positions of the labels.

    Example:
        >>> estimable_labels([[1, 1], [1, 0], [0, 0], [0, 0]], 2)
        (0,)
    """
    y = np.asarray(targets, dtype=np.float64)
    fewest = np.minimum((y == 1).sum(0), (y == 0).sum(0))
    return tuple(np.flatnonzero(fewest >= max(min_positives, 1)).tolist())


def macro_replicates(
    probabilities: ArrayLike, targets: ArrayLike, weights: ArrayLike, labels: Sequence[int], measure: str = "auroc"
) -> np.ndarray:
    """Mean of a measure over labels, for each weighting.

    Args:
        probabilities: (n, L).
        targets: (n, L) of 1, 0, NaN and -1.
        weights: (B, n).
        labels: positions of the labels in the mean.
        measure: "auroc" or "auprc".

    Returns:
        (B). A label that has only one class in a resample is left out of that resample's mean; NaN when none is left.

    Raises:
        OutputError: when shapes do not fit.
        ConfigError: on another measure.
    """
    p, y, w = (np.asarray(a, dtype=np.float64) for a in (probabilities, targets, weights))
    check_predictions(p, y, w.shape[1], measure)
    if not len(labels):
        return np.full(len(w), math.nan)
    values = np.stack([_blockwise(MEASURES[measure], p[:, k], y[:, k], w) for k in labels])
    return mean_of_defined(values)


def mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is not NaN, (B) of (L, B); NaN where nothing is."""
    defined = np.isfinite(values)
    count = defined.sum(0)
    total = np.where(defined, values, 0.0).sum(0)
    return np.divide(total, count, out=np.full(values.shape[1], math.nan), where=count > 0)


def macro_interval(
    probabilities: ArrayLike,
    targets: ArrayLike,
    patients: Sequence[Hashable],
    seed: Seed,
    *,
    measure: str = "auroc",
    min_positives: int = 20,
    level: float = 0.95,
    resamples: int = RESAMPLES,
) -> Interval:
    """Mean of a measure over the estimable labels, with its bootstrap interval over patients.

    Args:
        probabilities: (n, L) in [0, 1].
        targets: (n, L) of 1, 0, NaN and -1.
        patients: (n) who each image is of.
        seed: of the resampling.
        measure: "auroc" or "auprc".
        min_positives: positives, and negatives, that a label needs; which labels count is fixed on the data as they
            are, so that the resamples estimate the same mean.
        level: coverage.
        resamples: of the patients.

    Returns:
        NaN where no label is estimable.

    Raises:
        OutputError: when shapes do not fit.
        ConfigError: on another measure.

    Example:
        >>> p, y = [[0.9], [0.8], [0.3], [0.1]], [[1], [1], [0], [0]]
        >>> found = macro_interval(p, y, "abcd", Seed(0), min_positives=1)
        >>> found.value, found.high, found.labels
        (1.0, 1.0, 1)
    """
    labels = estimable_labels(targets, min_positives)
    if not labels:
        return Interval(math.nan, math.nan, math.nan, 0)
    once = macro_replicates(probabilities, targets, np.ones((1, len(patients))), labels, measure)
    drawn = macro_replicates(probabilities, targets, patient_weights(patients, seed, resamples), labels, measure)
    return Interval(float(once[0]), *percentiles(drawn, level), len(labels))


def percentiles(replicates: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Both ends of the percentile interval of the defined replicates; NaN when more than half are undefined."""
    values = np.asarray(replicates, dtype=np.float64)
    defined = values[np.isfinite(values)]
    if not 0 < level < 1:
        raise ConfigError(f"level: found {level}, expected a coverage in (0, 1)")
    if 2 * len(defined) <= len(values):
        return math.nan, math.nan
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _blockwise(measure: Weighted, p: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    at_once = max(1, BYTES // (8 * max(weights.shape[1], 1)))
    parts = [measure(p, y, weights[k : k + at_once]) for k in range(0, len(weights), at_once)]
    return np.concatenate(parts)


def check_predictions(p: np.ndarray, y: np.ndarray, rows: int, measure: str) -> None:
    """Refuses a measure that is not known, shapes that do not fit and values that are no probabilities."""
    if measure not in MEASURES:
        raise ConfigError(f"measure: found {measure!r}, expected one of {', '.join(MEASURES)}")
    if p.ndim != 2 or p.shape != y.shape or len(p) != rows:
        raise OutputError(f"probabilities {p.shape}, targets {y.shape}, {rows} patients; expected (n, L) twice and n")
    if not ((p >= 0) & (p <= 1)).all():
        raise OutputError("probabilities: found a value outside [0, 1]; mend the learner's marginals")
