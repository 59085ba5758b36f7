"""Sign-flip permutation test of paired differences (Fisher, "The design of experiments", 1935, section 21).

Under the null hypothesis that two methods do not differ, the sign of each block's difference is a fair coin. The
smallest two-sided value that n differences can give is 2^(1-n): .0625 with five, .002 with ten.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from medal.errors import ConfigError
from medal.seeding import Seed

EXACT_UP_TO = 20
"""Differences up to which all sign patterns are counted; beyond, they are drawn."""
SIGN_PATTERNS = 100_000
"""Sign patterns that are drawn where there are too many to count."""


def sign_flip_p(differences: ArrayLike, seed: Seed) -> float:
    """Two-sided p-value of a mean of zero, from the signs that the differences could have had.

    Args:
        differences: (B) finite. Zeros keep no sign and change nothing.
        seed: of the drawn sign patterns; not used up to 20 differences, where all 2^B are counted.

    Returns:
        Share of the sign patterns whose mean lies at least as far from zero; NaN without differences.

    Raises:
        ConfigError: when the differences are no list of finite numbers.

    Example:
        >>> sign_flip_p([0.1, 0.2, 0.3, 0.1, 0.2], Seed(0))  # all five positive: 2 of 32 patterns
        0.0625
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ConfigError(f"differences of shape {values.shape}; expected (B) finite numbers, one for each block")
    if not len(values):
        return math.nan
    values = values[values != 0]
    if not len(values):
        return 1.0
    # sums that are equal on paper differ in the last digits when they were added in another order
    bound = abs(float(values.sum())) - 1e-9 * float(np.abs(values).sum())
    if len(values) <= EXACT_UP_TO:
        sums = values[:1]  # the first sign is fixed: the other half are the same sums mirrored
        for value in values[1:]:
            sums = np.concatenate([sums + value, sums - value])
        return float(np.mean(np.abs(sums) >= bound))
    generator, hits = (seed / "sign patterns").numpy(), 0
    for drawn in np.array_split(np.arange(SIGN_PATTERNS), 10):
        signs = generator.integers(0, 2, (len(drawn), len(values))) * 2.0 - 1.0
        hits += int((np.abs(signs @ values) >= bound).sum())
    return (1 + hits) / (1 + SIGN_PATTERNS)
