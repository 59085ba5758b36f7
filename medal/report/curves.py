"""Learning curves over seeds: mean and band, area under the budget curve, paired differences.

Rounds are averaged by number, never interpolated, so every drawn point was evaluated. Differences are taken within a
pair that shares seed, data, split and learner, as in Lüth et al., "Navigating the pitfalls of active learning
evaluation", NeurIPS 2023.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from medal.metrics.holm import holm
from medal.metrics.learning_curves import area_between, aubc
from medal.metrics.paired import PairedDifference, paired_difference
from medal.metrics.seed_summary import Summary, summary
from medal.report.history import RANDOM, RunHistory, StudyHistory
from medal.seeding import Seed

AXES = ("items", "minutes")


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


def points(study: StudyHistory, measure: str, axis: str) -> list[tuple[int, float, float]]:
    """(round, cost, value) of the evaluations of one study that have a value, on the part that it is measured on.

    Where a round cost nothing, such as a training after corrections, it takes the place of the one before.
    """
    part, found = study.part, {}
    for r in study.rounds:
        cost, value = float(getattr(r, axis)), r.on(part).macro.get(measure, math.nan)
        if math.isfinite(cost) and math.isfinite(value):
            found[cost] = (r.number, cost, value)
    return list(found.values())


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


def compared(
    run: RunHistory, measure: str, axis: str = "items", reference: str = RANDOM
) -> dict[str, PairedDifference]:
    """Areas under the budget curve of every arm against the reference, within pairs and over their common budgets.

    Args:
        run: history.
        measure: key of the macro measures.
        axis: "items" or "minutes".
        reference: arm that the others are compared with.

    Returns:
        Arm -> its differences, one for each pair with at least two common budgets; p-values adjusted over the arms.
    """
    others = {study.block: study for study in run.of(reference)}
    found = {}
    for arm in run.arms:
        if arm == reference:
            continue
        pairs = [(study, others[study.block]) for study in run.of(arm) if study.block in others]
        areas = [_difference(points(a, measure, axis), points(b, measure, axis)) for a, b in pairs]
        found[arm] = paired_difference(areas, [0.0] * len(areas), Seed(0) / "report" / arm)
    adjusted = holm([result.p for result in found.values()])
    return {arm: replace(result, adjusted=p) for (arm, result), p in zip(found.items(), adjusted, strict=True)}


def difference_band(pairs: PairedDifference) -> tuple[float, float, str]:
    """Both ends of the band around a mean difference, and its name.

    A bootstrap of a handful of blocks cannot leave their range and would be read as more than it is: below the number
    of blocks that a claim needs, the range itself is shown.
    """
    if pairs.underpowered:
        return min(pairs.differences, default=math.nan), max(pairs.differences, default=math.nan), "minimum to maximum"
    return pairs.low, pairs.high, "95 % bootstrap interval"


def _difference(ours: Sequence[tuple[int, float, float]], theirs: Sequence[tuple[int, float, float]]) -> float:
    if not ours or not theirs:
        return math.nan
    (_, x, y), (_, u, v) = zip(*ours, strict=True), zip(*theirs, strict=True)
    return area_between(x, y, u, v)


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
