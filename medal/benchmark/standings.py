"""Ranks, penalty matrices and saturation of the strategies of one learner.

Settings are data sets where there are two or more that still have room; the blocks of each set are ranked besides, to
show whether the order hangs on a single split or start set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medal.benchmark.plan import Cell
from medal.benchmark.results import Results
from medal.benchmark.schema import RANDOM
from medal.metrics.penalty import PenaltyMatrix, penalty_by_area, penalty_by_budget
from medal.metrics.rank_stability import RankStability, leave_one_out
from medal.metrics.ranking import Ranking, rank_methods, saturated
from medal.seeding import Seed


@dataclass(frozen=True)
class Standing:
    """One learner's strategies ranked over settings.

    Args:
        learner: shared by the strategies.
        over: "sets", or "blocks of SET".
        ranking: mean ranks, critical difference and Kendall's W.
        stability: the order without each setting; None with fewer than two.
    """

    learner: str
    over: str
    ranking: Ranking
    stability: RankStability | None


def standings(results: Results, key: str) -> tuple[Standing, ...]:
    """Ranks the strategies of every learner by the area under the budget curve.

    Args:
        results: of the benchmark.
        key: of a figure that every set has.
    """
    found = []
    plan = results.folder.plan
    for learner in dict.fromkeys(le for s in plan.sets for le in plan.learners(s)):
        sets = [s for s in plan.sets if learner in plan.learners(s)]
        methods = plan.strategies(sets[0], learner)
        if len(methods) < 2:
            continue
        for set_name in sets:
            blocks = whole_blocks(results, set_name, learner)
            table = [_areas(results, set_name, learner, methods, block, key) for block in blocks]
            names = [f"block {block}" for block in blocks]
            found += _ranked(learner, f"blocks of {set_name}", table, methods, names)
        room = [s for s in sets if not is_saturated(results, s, learner, key) and whole_blocks(results, s, learner)]
        if len(room) > 1:
            table = [
                np.mean(
                    [_areas(results, s, learner, methods, b, key) for b in whole_blocks(results, s, learner)], axis=0
                )
                for s in room
            ]
            found += _ranked(learner, "sets", table, methods, room)
    return tuple(found)


def whole_blocks(results: Results, set_name: str, learner: str) -> list[int]:
    """Blocks in which every strategy of the learner is finished."""
    strategies = results.folder.plan.strategies(set_name, learner)
    return [b for b in results.blocks if all(Cell(b, set_name, learner, s) in results.cells for s in strategies)]


def is_saturated(results: Results, set_name: str, learner: str, key: str) -> bool:
    """Whether random already reaches 99 % of the full-data line; False where that line is not drawn."""
    full = results.full(set_name, learner, key)
    _, curves = results.mean_curve(set_name, learner, RANDOM, key)
    bigger_is_better = results.figure(set_name, key).sign > 0
    if not bigger_is_better or not np.isfinite(full) or not curves.size:
        return False
    return saturated(curves.mean(0), full)


def _areas(results: Results, set_name: str, learner: str, methods: Sequence[str], block: int, key: str) -> list[float]:
    sign = results.figure(set_name, key).sign
    return [sign * results.area(results.cell(set_name, learner, m, block), key) for m in methods]


def _ranked(
    learner: str, over: str, table: Sequence[Sequence[float]], methods: Sequence[str], names: Sequence[str]
) -> list[Standing]:
    kept = [n for n, row in enumerate(table) if np.isfinite(row).all()]
    rows, settings = [table[n] for n in kept], [names[n] for n in kept]
    if not rows:
        return []
    stability = leave_one_out(rows, methods, settings) if len(rows) > 1 else None
    return [Standing(learner, over, rank_methods(rows, methods), stability)]


@dataclass(frozen=True)
class Penalty:
    """Wins of one learner's strategies over each other, each set a setting.

    Args:
        learner: shared by the strategies.
        by_area: one exact test a pair and set.
        by_budget: a t-test at every budget, to compare with the literature.
    """

    learner: str
    by_area: PenaltyMatrix
    by_budget: PenaltyMatrix


def penalties(results: Results, key: str) -> tuple[Penalty, ...]:
    """Penalty matrices of every learner with two strategies or more.

    Args:
        results: of the benchmark.
        key: of a figure that every set has.
    """
    found = []
    plan = results.folder.plan
    for learner in dict.fromkeys(le for s in plan.sets for le in plan.learners(s)):
        areas: dict[str, dict[str, np.ndarray]] = {}
        curves: dict[str, dict[str, np.ndarray]] = {}
        for set_name in (s for s in plan.sets if learner in plan.learners(s)):
            methods, blocks = plan.strategies(set_name, learner), whole_blocks(results, set_name, learner)
            table = np.array([_areas(results, set_name, learner, methods, b, key) for b in blocks])
            lines = {m: _lines(results, set_name, learner, m, blocks, key) for m in methods}
            if (
                len(methods) > 1
                and len(blocks)
                and np.isfinite(table).all()
                and len({v.shape for v in lines.values()}) == 1
            ):
                areas[set_name] = {m: table[:, n] for n, m in enumerate(methods)}
                curves[set_name] = lines
        if areas:
            seed = Seed(0) / "benchmark" / "penalty" / learner
            found.append(Penalty(learner, penalty_by_area(areas, seed), penalty_by_budget(curves)))
    return tuple(found)


def _lines(results: Results, set_name: str, learner: str, method: str, blocks: Sequence[int], key: str) -> np.ndarray:
    """(B, P) values of one strategy, bigger is better, at the rounds that all blocks have."""
    sign = results.figure(set_name, key).sign
    found = [results.curves[(Cell(b, set_name, learner, method), key)] for b in blocks]
    shared = min((len(v) for v in found), default=0)
    return sign * np.array([v[:shared] for v in found])
