"""Mean and band of one number over seeds, as it is drawn and written everywhere in a report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from medal.metrics.learning_curves import band
from medal.metrics.paired import BLOCKS_FOR_A_CLAIM


@dataclass(frozen=True)
class Summary:
    """Mean and band of one number over seeds; the band is min to max, or a 95 % t-interval from 10 seeds on."""

    mean: float
    low: float
    high: float
    count: int


def summary(values: Sequence[float]) -> Summary:
    """Mean and band of the finite values.

    Args:
        values: one a seed; values that are not finite are left out.

    Example:
        >>> summary([0.1, 0.3, float("nan")])
        Summary(mean=0.2, low=0.1, high=0.3, count=2)
    """
    finite = [float(value) for value in values if math.isfinite(value)]
    if not finite:
        return Summary(math.nan, math.nan, math.nan, 0)
    found = band([[value] for value in finite], "range" if len(finite) < BLOCKS_FOR_A_CLAIM else "t")
    return Summary(found.mean[0], found.low[0], found.high[0], found.seeds)


def band_name(seeds: int) -> str:
    """What the band of `summary` shows, for captions.

    Example:
        >>> band_name(3)
        'minimum to maximum'
    """
    return "minimum to maximum" if seeds < BLOCKS_FOR_A_CLAIM else "95 % t-interval of the mean"
