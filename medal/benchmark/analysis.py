"""Everything that is computed from a benchmark's results, once for CSV, Markdown and report page."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

import numpy as np

from medal.benchmark.compare import Comparison, compare
from medal.benchmark.outlook import Outlook, Prices, Subgroup, outlooks, prices, subgroups
from medal.benchmark.readouts import Figure
from medal.benchmark.results import Results, mean
from medal.benchmark.schema import FULL, RANDOM
from medal.benchmark.standings import Penalty, Standing, is_saturated, penalties, standings
from medal.metrics.learning_curves import labels_to_reach
from medal.metrics.paired import BLOCKS_FOR_A_CLAIM

SHARES = (0.90, 0.95)
"""Shares of the full-data value whose cost is given."""


@dataclass(frozen=True)
class Summary:
    """One arm and one figure, over the finished blocks.

    Args:
        learner: of the arm.
        strategy: of the arm.
        blocks: finished.
        final: mean value after the last round.
        spread: standard deviation of that over blocks; NaN with one.
        area: mean area under the budget curve; NaN for the full-data line.
        log_area: the same over the logarithm of the budget.
        reach: share of the full-data value -> cost at which the mean curve reaches it; None when it does not.
        saturated: random with this learner already reaches 99 % of the full-data line.
    """

    learner: str
    strategy: str
    blocks: int
    final: float
    spread: float
    area: float
    log_area: float
    reach: dict[float, float | None]
    saturated: bool


@dataclass(frozen=True)
class Times:
    """Medians of the seconds of one arm: a query, a training; and of its whole cells."""

    set: str
    learner: str
    strategy: str
    cells: int
    query: float
    training: float


@dataclass(frozen=True)
class FigureAnalysis:
    """One figure on one set."""

    set: str
    figure: Figure
    summaries: tuple[Summary, ...]
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True)
class Analysis:
    """All that tables and report show.

    Args:
        results: what it was computed from.
        figures: set by set, in the order of the file.
        standings: by the primary measure.
        penalties: by the primary measure.
        subgroups: of the primary measure.
        outlooks: forecasts from paid random validation arms.
        prices: stability of the order when each price is halved and doubled.
    """

    results: Results
    figures: tuple[FigureAnalysis, ...]
    standings: tuple[Standing, ...] = ()
    penalties: tuple[Penalty, ...] = ()
    subgroups: tuple[Subgroup, ...] = ()
    outlooks: tuple[Outlook, ...] = ()
    prices: tuple[Prices, ...] = ()

    @property
    def primary(self) -> str:
        """Name of the primary measure."""
        return self.results.folder.plan.file.primary

    @property
    def underpowered(self) -> bool:
        """True below the number of finished blocks that a claim needs."""
        plan = self.results.folder.plan
        counts = [len(self.results.finished(*arm)) for arm in plan.arms]
        return min(counts, default=0) < BLOCKS_FOR_A_CLAIM


def analyse(results: Results) -> Analysis:
    """Computes every statistic."""
    file, found = results.folder.plan.file, []
    for set_name in results.folder.plan.sets:
        for figure in results.figures[set_name]:
            summaries = summarise(results, set_name, figure)
            found.append(FigureAnalysis(set_name, figure, summaries, compare(results, set_name, figure)))
    if not all(results.figure(s, file.primary).labels for s in results.folder.plan.sets):
        return Analysis(results, tuple(found), outlooks=outlooks(results))
    return Analysis(
        results=results,
        figures=tuple(found),
        standings=standings(results, file.primary),
        penalties=penalties(results, file.primary),
        subgroups=subgroups(results, file.primary),
        outlooks=outlooks(results),
        prices=prices(results, file.primary),
    )


def summarise(results: Results, set_name: str, figure: Figure) -> tuple[Summary, ...]:
    """Means over blocks of every arm, in the order of the plan."""
    if not figure.labels:
        return ()
    plan, found = results.folder.plan, []
    for learner in plan.learners(set_name):
        full = results.full(set_name, learner, figure.key)
        flagged = is_saturated(results, set_name, learner, figure.key)
        strategies = [*plan.strategies(set_name, learner)]
        strategies += [FULL] if (set_name, learner, FULL) in plan.arms else []
        for strategy in strategies:
            cells = results.finished(set_name, learner, strategy)
            finals = [v for cell in cells if math.isfinite(v := results.final(cell, figure.key))]
            found.append(
                Summary(
                    learner=learner,
                    strategy=strategy,
                    blocks=len(cells),
                    final=mean(finals),
                    spread=float(np.std(finals, ddof=1)) if len(finals) > 1 else math.nan,
                    area=mean([results.area(cell, figure.key) for cell in cells]),
                    log_area=mean([results.area(cell, figure.key, log=True) for cell in cells]),
                    reach=_reach(results, set_name, learner, strategy, figure, full),
                    saturated=flagged,
                )
            )
    return tuple(found)


def _reach(
    results: Results, set_name: str, learner: str, strategy: str, figure: Figure, full: float
) -> dict[float, float | None]:
    x, curves = results.mean_curve(set_name, learner, strategy, figure.key)
    known = np.isfinite(curves.mean(0)) if curves.size else np.zeros(0, dtype=bool)
    if strategy == FULL or figure.sign < 0 or not math.isfinite(full) or not known.any():
        return dict.fromkeys(SHARES)
    return {share: labels_to_reach(x[known], curves.mean(0)[known], share * full) for share in SHARES}


def times(results: Results) -> tuple[Times, ...]:
    """Median seconds of each arm; they differ from run to run, so they stand in a table of their own."""
    found = []
    for arm in results.folder.plan.arms:
        cells = [results.cells[cell] for cell in results.finished(*arm)]
        queries = [s for cell in cells for s in cell.query_seconds]
        trainings = [s for cell in cells for s in cell.training_seconds]
        found.append(
            Times(
                *arm, len(cells), median(queries) if queries else math.nan, median(trainings) if trainings else math.nan
            )
        )
    return tuple(found)


def rare_labels(results: Results, set_name: str) -> dict[str, tuple[int, int]]:
    """Labels without any figure on a set -> fewest and most positives among the test rows of a block."""
    truths = list(results.truths[set_name].values())
    measured = {name for figure in results.figures[set_name] for name in figure.labels}
    found = {}
    for name in truths[0].labels:
        if name not in measured:
            counts = [int((t.values[:, t.labels.index(name)] == 1).sum()) for t in truths]
            found[name] = (min(counts), max(counts))
    return found


def worst(comparison: Comparison) -> float:
    """Largest loss in any block, at most 0; NaN without blocks."""
    return comparison.area.worst if comparison.area.blocks else math.nan


def compared_with_random(strategy: str) -> bool:
    """Whether an arm has a difference to random."""
    return strategy not in (RANDOM, FULL)
