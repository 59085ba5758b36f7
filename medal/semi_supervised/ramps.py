"""Ramps: how the weight of an unsupervised loss grows during a training.

Times are shares of the training, since its number of steps is fixed and may be small.
Lee, "Pseudo-label", ICML workshop 2013: nothing, then linear, then constant.
Tarvainen and Valpola, "Mean teachers are better role models", NIPS 2017 (after Laine and Aila, ICLR 2017):
exp(-5 (1 - t)^2).
"""

from __future__ import annotations

import math

from medal.errors import ConfigError


def linear_ramp(progress: float, start: float, full: float) -> float:
    """0 before `start`, 1 from `full` on, linear in between.

    Args:
        progress: part of the training that is done, in [0, 1].
        start: T1, in [0, 1].
        full: T2, from `start` on.

    Example:
        >>> [linear_ramp(t, 0.25, 0.75) for t in (0.0, 0.5, 0.75)]
        [0.0, 0.5, 1.0]
    """
    if progress < start:
        return 0.0
    return 1.0 if progress >= full else (progress - start) / (full - start)


def sigmoid_ramp(progress: float, full: float) -> float:
    """exp(-5 (1 - t)^2) with t = progress / full, and 1 from `full` on.

    Args:
        progress: part of the training that is done, in [0, 1].
        full: share of the training after which the weight stays 1; 0 for no ramp.

    Example:
        >>> round(sigmoid_ramp(0.0, 0.4), 4), round(sigmoid_ramp(0.2, 0.4), 4), sigmoid_ramp(0.4, 0.4)
        (0.0067, 0.2865, 1.0)
    """
    return 1.0 if progress >= full else math.exp(-5 * (1 - progress / full) ** 2)


def check_weight(part: str, weight: float) -> None:
    """Refuses a weight of a loss that is negative or not finite.

    Raises:
        ConfigError: naming the part.
    """
    if not (math.isfinite(weight) and weight >= 0):
        raise ConfigError(f"{part}.weight: found {weight}, expected a number of at least 0")


def check_share(name: str, share: float) -> None:
    """Refuses a share of the training outside [0, 1].

    Raises:
        ConfigError: naming the setting.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"{name}: found {share}, expected a share of the training in [0, 1]")
