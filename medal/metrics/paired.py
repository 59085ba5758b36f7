"""Paired comparison with random: one number a run, its difference within the block, and what may be claimed from it.

A block is everything that two runs must share to be paired: data, split, start set and seed. Retraining and start sets
move results more than most strategies do, so only differences within a block say something about the strategy (Lüth et
al., NeurIPS 2023). One number a run is tested, so that p-values are adjusted over the methods alone and not over
methods times budgets, for which no benchmark has enough blocks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from medal.errors import ConfigError
from medal.metrics.holm import holm
from medal.metrics.sign_flip import sign_flip_p
from medal.seeding import Seed

BLOCKS_FOR_A_CLAIM = 10
"""Paired blocks below which a comparison is stamped "underpowered"."""
RESAMPLES = 10_000


@dataclass(frozen=True)
class PairedDifference:
    """Differences to a baseline within blocks; positive means better than the baseline.

    Args:
        differences: one for each block in which both runs have a value, in the order of the blocks.
        mean: of the differences; NaN without blocks.
        low: lower end of the bootstrap interval over blocks; NaN with fewer than two blocks.
        high: upper end.
        p: two-sided sign-flip p-value; 1 when nothing differs, NaN without blocks.
        adjusted: p after Holm over the methods that were compared together; p itself when it stands alone.
        left_out: blocks without a value on either side.
    """

    differences: tuple[float, ...]
    mean: float
    low: float
    high: float
    p: float
    adjusted: float
    left_out: int = 0

    @property
    def blocks(self) -> int:
        """Blocks that were compared."""
        return len(self.differences)

    @property
    def worse(self) -> int:
        """Blocks in which the method is worse than the baseline."""
        return sum(difference < 0 for difference in self.differences)

    @property
    def worst(self) -> float:
        """The largest loss as a difference of at most 0; 0 when the method is worse nowhere."""
        return min((0.0, *self.differences))

    @property
    def underpowered(self) -> bool:
        """True below the number of blocks that a claim needs."""
        return self.blocks < BLOCKS_FOR_A_CLAIM


def paired_difference(
    values: ArrayLike, baseline: ArrayLike, seed: Seed, *, level: float = 0.95, resamples: int = RESAMPLES
) -> PairedDifference:
    """Compares one number a run with the baseline's, block by block.

    Args:
        values: (B) area under the budget curve, or another measure of a whole run; NaN where a block has none.
        baseline: (B) the same of the baseline in the same blocks.
        seed: of the bootstrap, and of drawn sign patterns.
        level: coverage of the interval, in (0, 1).
        resamples: of the blocks.

    Returns:
        The differences with their percentile bootstrap interval over blocks (too narrow by about
        sqrt((B - 1) / B), which matters below ten blocks) and their p-value.

    Raises:
        ConfigError: when the two do not pair.

    Example:
        >>> found = paired_difference([0.72, 0.75, 0.71], [0.70, 0.72, 0.72], Seed(0))
        >>> round(found.mean, 4), found.worse, round(found.worst, 4), found.p, found.underpowered
        (0.0133, 1, -0.01, 0.5, True)
    """
    ours, theirs = np.asarray(values, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    if ours.ndim != 1 or ours.shape != theirs.shape:
        raise ConfigError(
            f"paired values have shapes {ours.shape} and {theirs.shape}; expected (B) twice, block by block"
        )
    known = np.isfinite(ours) & np.isfinite(theirs)
    differences = (ours - theirs)[known]
    low, high = bootstrap_mean(differences, seed / "blocks", level=level, resamples=resamples)
    p = sign_flip_p(differences, seed / "signs")
    return PairedDifference(
        differences=tuple(differences.tolist()),
        mean=float(differences.mean()) if len(differences) else math.nan,
        low=low,
        high=high,
        p=p,
        adjusted=p,
        left_out=int((~known).sum()),
    )


def compare_with_baseline(
    values: Mapping[str, ArrayLike], seed: Seed, *, baseline: str = "random", level: float = 0.95
) -> dict[str, PairedDifference]:
    """Compares every method with the baseline and adjusts the p-values over the methods.

    Args:
        values: method -> (B) one number a block, all in the same order of blocks; NaN where a block has none.
        seed: of the bootstrap; each method has a branch of its own name, so that adding one moves no other.
        baseline: method that the others are compared with.
        level: coverage of the intervals.

    Returns:
        Method -> its comparison, without the baseline, in the order given.

    Raises:
        ConfigError: when the baseline is missing or the lengths differ.

    Example:
        >>> found = compare_with_baseline({"random": [0.70, 0.72], "entropy": [0.72, 0.73]}, Seed(0))
        >>> round(found["entropy"].mean, 4), found["entropy"].adjusted
        (0.015, 0.5)
    """
    if baseline not in values:
        raise ConfigError(
            f"no values of {baseline!r}, found {', '.join(values)}; the baseline must be among the methods"
        )
    reference = values[baseline]
    found = {
        name: paired_difference(own, reference, seed / name, level=level)
        for name, own in values.items()
        if name != baseline
    }
    adjusted = holm([result.p for result in found.values()])
    return {name: replace(result, adjusted=p) for (name, result), p in zip(found.items(), adjusted, strict=True)}


def bootstrap_mean(
    values: ArrayLike, seed: Seed, *, level: float = 0.95, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean.

    Args:
        values: (B) finite.
        seed: of the resampling.
        level: coverage, in (0, 1).
        resamples: at least 1.

    Returns:
        Both ends; NaN with fewer than two values.

    Raises:
        ConfigError: on another level or number of resamples, or values that are not finite.

    Example:
        >>> low, high = bootstrap_mean([0.01, 0.02, 0.03], Seed(0))
        >>> 0.01 <= low < 0.02 < high <= 0.03
        True
    """
    if not 0 < level < 1 or resamples < 1:
        raise ConfigError(f"bootstrap: found level {level} and {resamples} resamples; expected (0, 1) and at least 1")
    given = _finite(values)
    if len(given) < 2:
        return math.nan, math.nan
    # drawn from ascending values, so that the order of the blocks does not matter
    drawn = seed.numpy().integers(0, len(given), (resamples, len(given)))
    low, high = np.quantile(np.sort(given)[drawn].mean(1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _finite(values: ArrayLike) -> np.ndarray:
    given = np.asarray(values, dtype=np.float64)
    if given.ndim != 1 or not np.isfinite(given).all():
        raise ConfigError(f"differences of shape {given.shape}; expected (B) finite numbers, one for each block")
    return given
