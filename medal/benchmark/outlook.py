"""What else a benchmark says: subgroups of patients, what further labels would add, and whether prices turn the order.

The forecast reads the paid random validation arm of each learner's random line and nothing else: never the test rows,
never what a strategy picked. Without such an arm there is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medal.benchmark.plan import Cell
from medal.benchmark.readouts import Figure, figures_of, values_of
from medal.benchmark.results import Results, mean
from medal.benchmark.schema import FULL, RANDOM
from medal.benchmark.standings import whole_blocks
from medal.errors import BudgetError
from medal.metrics.cluster_bootstrap import Interval
from medal.metrics.cost_stability import CostStability, UnitCurve, cost_stability
from medal.metrics.forecast import POINTS_NEEDED, forecast
from medal.metrics.paired import bootstrap_mean
from medal.metrics.stopping import LOOK_AHEAD, suggest
from medal.metrics.subgroups import VALUES_SHOWN
from medal.seeding import Seed
from medal.units import IMAGE

DRAWS = 1_000


@dataclass(frozen=True)
class Subgroup:
    """The primary measure of one arm in one subgroup, after the last round.

    Args:
        set: of the arm.
        learner: of the arm.
        strategy: of the arm.
        column: such as sex or age.
        value: such as F or 40-59.
        patients: fewest and most among the test rows of a block.
        final: mean over blocks, with the bootstrap interval over blocks.
        gain: mean difference to random with the same learner; NaN for random itself.
    """

    set: str
    learner: str
    strategy: str
    column: str
    value: str
    patients: tuple[int, int]
    final: Interval
    gain: float


def subgroups(results: Results, key: str) -> tuple[Subgroup, ...]:
    """Every subgroup whose labels are estimable in every block.

    Args:
        results: of the benchmark.
        key: of the primary measure.
    """
    found: list[Subgroup] = []
    for set_name in results.folder.plan.sets:
        truths = [truth for _, truth in sorted(results.truths[set_name].items())]
        readout = results.figure(set_name, key).readout
        for column in truths[0].meta:
            if 2 <= len(values_of(column, truths)) <= VALUES_SHOWN:
                split = figures_of({key: readout.model_copy(update={"by": column})}, truths)
                for figure in (f for f in split if f.labels):
                    found += _subgroup(results, set_name, figure)
    return tuple(found)


def _subgroup(results: Results, set_name: str, figure: Figure) -> list[Subgroup]:
    truths = results.truths[set_name]
    patients = [len({t.patients[i] for i in np.flatnonzero(figure.rows(t))}) for t in truths.values()]
    finals = {
        cell: figure.measure(found.evaluations[-1].probabilities, truths[cell.block])
        for cell, found in results.cells.items()
        if cell.set == set_name
    }
    made = []
    for _, learner, strategy in (arm for arm in results.folder.plan.arms if arm[0] == set_name):
        cells = results.finished(set_name, learner, strategy)
        values = [finals[cell] for cell in cells if math.isfinite(finals[cell])]
        pairs = [(cell, results.reference(cell)) for cell in cells if strategy not in (RANDOM, FULL)]
        gains = [figure.sign * (finals[ours] - finals[theirs]) for ours, theirs in pairs if theirs is not None]
        seed = Seed(0) / "benchmark" / set_name / figure.key / learner / strategy
        made.append(
            Subgroup(
                set=set_name,
                learner=learner,
                strategy=strategy,
                column=str(figure.readout.by),
                value=str(figure.value),
                patients=(min(patients), max(patients)),
                final=Interval(mean(values), *bootstrap_mean(values, seed)),
                gain=mean(gains),
            )
        )
    return made


@dataclass(frozen=True)
class Outlook:
    """What the validation arms of one learner's random line say about further labels.

    Args:
        set: of the line.
        learner: of the line.
        labels: training labels after the last round, mean over blocks.
        last: measure on the arms after the last round, mean over blocks.
        asymptote: limit of the fitted power law; NaN with too few rounds.
        more: further labels that `gain` is for.
        gain: what they are expected to add; NaN with too few rounds.
        verdict: "stop", "go on" or "cannot tell".
        reason: the deciding one.
    """

    set: str
    learner: str
    labels: float
    last: float
    asymptote: Interval
    more: float
    gain: Interval
    verdict: str
    reason: str


NOTHING = Interval(math.nan, math.nan, math.nan, 0)
ONE_BLOCK = "Only one block has a validation arm, so nothing tells how far another one would differ."


def outlooks(results: Results) -> tuple[Outlook, ...]:
    """A forecast for each learner whose random cells have a paid validation arm."""
    made = []
    for set_name in results.folder.plan.sets:
        for learner in results.folder.plan.learners(set_name):
            cells = results.finished(set_name, learner, RANDOM)
            curves = [line for cell in cells if len(line := _arm(results, cell))]
            if curves:
                made.append(_outlook(set_name, learner, curves))
    return tuple(made)


def _arm(results: Results, cell: Cell) -> list[tuple[float, float]]:
    """(training labels, macro AUROC on the paid validation arm) of each round that has one."""
    found = []
    for evaluation in results.cells[cell].evaluations:
        value = evaluation.measured.get("validation", {}).get("macro", {}).get("auroc")
        if value is not None:
            found.append((float(evaluation.measured["labelled"]["rows"]), float(value)))
    return found


def _outlook(set_name: str, learner: str, curves: Sequence[Sequence[tuple[float, float]]]) -> Outlook:
    shared = min(len(line) for line in curves)
    table = np.array([line[:shared] for line in curves])
    labels, values = table[:, :, 0].mean(0), table[:, :, 1]
    seed = Seed(0) / "benchmark" / "outlook" / set_name / learner
    drawn = (seed / "blocks").numpy().integers(0, len(values), (DRAWS, len(values)))
    ahead = None
    # the intervals are over blocks, and one block differs from no other
    if len(values) > 1 and shared >= POINTS_NEEDED and (np.diff(labels) > 0).all():
        try:
            ahead = forecast(labels, values.mean(0), seed, replicates=values[drawn].mean(1))
        except BudgetError:
            ahead = None
    said = suggest(ahead)
    more = math.ceil(LOOK_AHEAD * float(labels[-1]))
    return Outlook(
        set=set_name,
        learner=learner,
        labels=float(labels[-1]),
        last=float(values.mean(0)[-1]),
        asymptote=NOTHING if ahead is None else ahead.asymptote,
        more=more,
        gain=NOTHING if ahead is None else ahead.gain(more),
        verdict=said.verdict,
        reason=said.reasons[0] if len(values) > 1 else ONE_BLOCK,
    )


@dataclass(frozen=True)
class Prices:
    """Whether halving or doubling a price turns the order of one learner's strategies."""

    set: str
    learner: str
    stability: CostStability


def prices(results: Results, key: str) -> tuple[Prices, ...]:
    """The order of strategies by area over minutes, at the stated prices and at changed ones.

    Args:
        results: of the benchmark.
        key: of the primary measure.
    """
    made = []
    plan = results.folder.plan
    for set_name in plan.sets:
        for learner in plan.learners(set_name):
            strategies, blocks = plan.strategies(set_name, learner), whole_blocks(results, set_name, learner)
            if len(strategies) < 2 or not blocks:
                continue
            recipe = plan.arms[(set_name, learner, RANDOM)]
            runs = {
                s: [_unit_curve(results, Cell(b, set_name, learner, s), key, recipe.unit) for b in blocks]
                for s in strategies
            }
            if all(np.isfinite(curve.values).all() for curves in runs.values() for curve in curves):
                made.append(Prices(set_name, learner, cost_stability(runs, recipe.cost)))
    return tuple(made)


def _unit_curve(results: Results, cell: Cell, key: str, unit: str) -> UnitCurve:
    """Units of each kind paid for up to each round: whole rows are images, queries are of the recipe's unit."""
    found = results.cells[cell]
    counts: dict[str, list[float]] = {kind: [] for kind in sorted({IMAGE.name, unit})}
    for evaluation in found.evaluations:
        paid = dict.fromkeys(counts, 0.0)
        for query in found.queries:
            if query.round <= evaluation.round:
                paid[unit if query.purpose == "query" else IMAGE.name] += query.items
        for kind, count in paid.items():
            counts[kind].append(count)
    values = results.figure(cell.set, key).sign * results.curves[(cell, key)]
    return UnitCurve(counts, values.tolist())
