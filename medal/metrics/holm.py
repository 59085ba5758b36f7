"""Holm's adjustment for several tests (Scandinavian Journal of Statistics, 1979)."""

from __future__ import annotations

import math
from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's step-down adjustment, which keeps the family-wise error whatever the dependence.

    Args:
        p_values: one for each method; NaN for a method that could not be tested, which counts for nothing.

    Returns:
        Adjusted values in the same order, at most 1.

    Example:
        >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    tested = sorted((p, position) for position, p in enumerate(p_values) if not math.isnan(p))
    adjusted, largest = [math.nan] * len(p_values), 0.0
    for rank, (p, position) in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - rank) * p))
        adjusted[position] = largest
    return tuple(adjusted)
