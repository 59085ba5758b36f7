"""Learning curves over seeds: mean and band, area under the budget curve, paired differences.

Rounds are averaged by number, never interpolated, so every drawn point was evaluated. Differences are taken within a
pair that shares seed, data, split and learner, as in Lüth et al., "Navigating the pitfalls of active learning
evaluation", NeurIPS 2023.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medal.metrics.learning_curves import aubc, band
from medal.report.history import RANDOM, RunHistory, StudyHistory

SEEDS_FOR_A_CLAIM = 10
"""Paired seeds below which a comparison is stamped "underpowered"; from here on bands are 95 % t-intervals."""
AXES = ("items", "minutes")


@dataclass(frozen=True)
class Summary:
    """Mean and band of one number over seeds; the band is min to max, or a 95 % t-interval from 10 seeds on."""

    mean: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Curve:
    """One arm against one cost: round by round, the rounds that every evaluated seed has reached.

    Args:
        rounds: numbers.
        x: mean cost over seeds.
        y: summary over seeds.
        tails: (x, y) of single seeds from the last common round on, for seeds that are further than the slowest.
        seeds: studies that went in.
    """

    rounds: tuple[int, ...]
    x: tuple[float, ...]
    y: tuple[Summary, ...]
    tails: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]
    seeds: int


@dataclass(frozen=True)
class Paired:
    """Differences to the reference arm within pairs, seed by seed; positive means better than the reference."""

    seeds: tuple[int, ...]
    differences: tuple[float, ...]

    @property
    def summary(self) -> Summary:
        """Mean and band of the differences."""
        return summary(self.differences)

    @property
    def worse(self) -> int:
        """Pairs in which the arm is worse than the reference."""
        return sum(difference < 0 for difference in self.differences)

    @property
    def underpowered(self) -> bool:
        """True below the number of seeds that a claim needs."""
        return len(self.seeds) < SEEDS_FOR_A_CLAIM


def summary(values: Sequence[float]) -> Summary:
    """Mean and band of the finite values.

    Example:
        >>> summary([0.1, 0.3, float("nan")])
        Summary(mean=0.2, low=0.1, high=0.3, count=2)
    """
    finite = [float(value) for value in values if math.isfinite(value)]
    if not finite:
        return Summary(math.nan, math.nan, math.nan, 0)
    found = band([[value] for value in finite], "range" if len(finite) < SEEDS_FOR_A_CLAIM else "t")
    return Summary(found.mean[0], found.low[0], found.high[0], found.seeds)


def band_name(seeds: int) -> str:
    """What the band of `summary` shows, for captions."""
    return "minimum to maximum" if seeds < SEEDS_FOR_A_CLAIM else "95 % t-interval of the mean"


def points(study: StudyHistory, measure: str, axis: str) -> list[tuple[int, float, float]]:
    """(round, cost, value) of the evaluations of one study that have a value."""
    values = [(r.number, float(getattr(r, axis)), r.macro.get(measure, math.nan)) for r in study.rounds]
    return [point for point in values if math.isfinite(point[1]) and math.isfinite(point[2])]


def curve(studies: Sequence[StudyHistory], measure: str, axis: str) -> Curve | None:
    """The curve of one arm; None when nothing was evaluated.

    Args:
        studies: of one arm.
        measure: key of the macro measures.
        axis: "items" or "minutes".
    """
    lines = [line for line in ({n: (x, y) for n, x, y in points(s, measure, axis)} for s in studies) if line]
    if not lines:
        return None
    shared = sorted(set(lines[0]).intersection(*lines[1:]))
    last = shared[-1] if shared else -1
    rest = [[line[n] for n in sorted(line) if n >= last] for line in lines]
    return Curve(
        rounds=tuple(shared),
        x=tuple(float(np.mean([line[n][0] for line in lines])) for n in shared),
        y=tuple(summary([line[n][1] for line in lines]) for n in shared),
        tails=tuple(
            (tuple(x for x, _ in tail), tuple(y for _, y in tail)) for tail in rest if len(tail) > bool(shared)
        ),
        seeds=len(lines),
    )


def area(line: Sequence[tuple[int, float, float]]) -> float:
    """Area under the budget curve of the points of one study, over its span; NaN with fewer than two points."""
    return aubc([x for _, x, _ in line], [y for _, _, y in line]) if len(line) > 1 else math.nan


def paired(run: RunHistory, arm: str, measure: str, axis: str = "items", reference: str = RANDOM) -> Paired:
    """Differences of the area under the budget curve between an arm and the reference, over their common budgets.

    Args:
        run: history.
        arm: that is compared.
        measure: key of the macro measures.
        axis: "items" or "minutes".
        reference: arm that it is compared with.

    Returns:
        One difference for each pair with at least two common budgets.
    """
    others = {study.block: study for study in run.of(reference)}
    seeds, differences = [], []
    for study in run.of(arm):
        other = others.get(study.block)
        if other is None:
            continue
        difference = _difference(points(study, measure, axis), points(other, measure, axis))
        if math.isfinite(difference):
            seeds.append(study.seed)
            differences.append(difference)
    return Paired(tuple(seeds), tuple(differences))


def _difference(ours: list[tuple[int, float, float]], theirs: list[tuple[int, float, float]]) -> float:
    """Area between two curves over the span of the costs that both cover, linear between evaluations."""
    if not ours or not theirs:
        return math.nan
    (_, x, y), (_, u, v) = zip(*ours, strict=True), zip(*theirs, strict=True)
    grid = np.union1d(x, u)
    grid = grid[(grid >= max(x[0], u[0])) & (grid <= min(x[-1], u[-1]))]
    if len(grid) < 2:
        return math.nan
    return aubc(grid, np.interp(grid, x, y) - np.interp(grid, u, v))


def last_common(run: RunHistory, arms: Sequence[str], measure: str) -> int | None:
    """The last round with a value in every evaluated study of all the arms; None when there is none."""
    curves = [curve(run.of(arm), measure, "items") for arm in arms]
    if not curves or any(line is None or not line.rounds for line in curves):
        return None
    shared = set.intersection(*(set(line.rounds) for line in curves if line is not None))
    return max(shared, default=None)


def at_round(line: Curve, number: int) -> tuple[float, Summary]:
    """Cost and value of a curve at one of its rounds."""
    position = line.rounds.index(number)
    return line.x[position], line.y[position]
