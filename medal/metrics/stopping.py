"""When to stop: a suggestion from measures of the paid random validation arm, with its reasons.

Three signs are read. What a stated number of further labels would still add, by the forecast with its interval (the
expected gain). Whether a stated target is reached or in reach. Whether the predictions still change from round to
round: Bloodgood and Vijay-Shanker, "A method for stopping active learning based on stabilizing predictions", CoNLL
2009, stop when Cohen's kappa between successive models on a fixed random set has been 0.99 or more over three
comparisons; here it is a reason beside the forecast and decides nothing alone, because a model that has stopped
changing may simply have stopped learning.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from medal.metrics.agreement import cohen_kappa
from medal.metrics.cluster_bootstrap import Interval
from medal.metrics.forecast import POINTS_NEEDED, Forecast

LEAST_GAIN = 0.005
"""Gain in the measure below which further labels are not worth their price, unless stated otherwise."""
LOOK_AHEAD = 0.5
"""How far the suggestion looks: labels still to be bought, as a share of the labels at hand."""
STOP_BELOW, GO_ABOVE = 0.1, 0.8
"""Share of the resampled curves with a gain of at least `LEAST_GAIN` below which to stop, above which to go on."""
STABLE, WINDOWS = 0.99, 3

Verdict = Literal["stop", "go on", "cannot tell"]


@dataclass(frozen=True)
class Suggestion:
    """What the validation arm suggests.

    Args:
        verdict: "stop", "go on" or "cannot tell".
        reasons: plain sentences, the deciding one first.
    """

    verdict: Verdict
    reasons: tuple[str, ...]


def suggest(
    ahead: Forecast | None,
    *,
    current: Interval | None = None,
    target: float | None = None,
    stability: float | None = None,
    least_gain: float = LEAST_GAIN,
    look_ahead: float = LOOK_AHEAD,
) -> Suggestion:
    """Whether another batch is worth its price.

    Args:
        ahead: forecast from the validation arm; None when there are too few rounds.
        current: measure of the last round with its interval over the arm's patients.
        target: value that the campaign wants to reach; None when none was stated.
        stability: see `prediction_stability`.
        least_gain: smallest gain that is worth `look_ahead` more labels.
        look_ahead: further labels as a share of the labels at hand.

    Returns:
        "stop" when the target is reached with its whole interval, or hardly any resampled curve gains enough; "go on"
        when most of them do; otherwise "cannot tell".

    Example:
        >>> suggest(None).verdict
        'cannot tell'
        >>> suggest(None, current=Interval(0.9, 0.86, 0.93), target=0.85).verdict
        'stop'
    """
    reasons = [] if stability is None else [_said_of_stability(stability)]
    if target is not None and current is not None and current.low >= target:
        reached = f"The whole interval of the last measure ({current.low:.3f} to {current.high:.3f}) is at or above the"
        return Suggestion("stop", (f"{reached} target of {target:.3f}.", *reasons))
    if ahead is None:
        few = f"Fewer than {POINTS_NEEDED} rounds have a measure on the validation arm, too few to see where the curve"
        return Suggestion("cannot tell", (f"{few} goes.", *reasons))
    more = look_ahead * ahead.labels[-1]
    share, gain = float(np.mean(ahead.gains(more) >= least_gain)), ahead.gain(more)
    text = (
        f"Another {math.ceil(more):,} labels are expected to add {gain.value:.3f} ({gain.low:.3f} to {gain.high:.3f}); "
        f"{100 * share:.0f} % of the resampled curves gain at least {least_gain:g}."
    )
    verdict: Verdict = "stop" if share < STOP_BELOW else "go on" if share > GO_ABOVE else "cannot tell"
    if target is not None:
        needed = ahead.more(target)
        reasons.append(
            f"{100 * needed.reachable:.0f} % of the resampled curves reach the target of {target:.3f} at all."
        )
    return Suggestion(verdict, (text, *reasons))


def prediction_stability(rounds: Sequence[ArrayLike], threshold: float = 0.5) -> float | None:
    """How little the decisions on the validation arm still change: mean kappa of successive rounds.

    Args:
        rounds: (n, L) probabilities of each round on the same images, in order.
        threshold: probability from which a label counts as present.

    Returns:
        Mean of the last three comparisons (fewer when there are fewer); None without one that is defined.

    Example:
        >>> p = [[0.9], [0.1], [0.8]]
        >>> prediction_stability([p, p, [[0.9], [0.2], [0.7]]])
        1.0
    """
    decided = [(np.asarray(p, dtype=np.float64) >= threshold).astype(int).ravel() for p in rounds]
    pairs = list(itertools.pairwise(decided))[-WINDOWS:]
    found = [kappa for a, b in pairs if (kappa := cohen_kappa(a, b)) is not None]
    return float(np.mean(found)) if found else None


def _said_of_stability(kappa: float) -> str:
    state = "hardly change any more" if kappa >= STABLE else "still change"
    return f"Decisions on the arm {state} from round to round (mean kappa {kappa:.2f} over the last comparisons)."
