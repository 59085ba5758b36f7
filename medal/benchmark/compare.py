"""Differences to random within the same learner, set and block, and what may be claimed from them.

One number a run is tested, the area under the budget curve; Holm adjusts over all methods of a set, not over budgets
or figures. The interval over blocks says how the method fares on another split and start set; the one over patients and
blocks also counts that the test patients are a sample (see `medal.metrics.two_level_bootstrap`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medal.benchmark.plan import Cell
from medal.benchmark.readouts import Figure
from medal.benchmark.results import Results, mean
from medal.benchmark.schema import RANDOM
from medal.metrics.cluster_bootstrap import MEASURES, Interval
from medal.metrics.paired import PairedDifference, compare_with_baseline
from medal.metrics.two_level_bootstrap import Block, two_level_difference
from medal.seeding import Seed

NO_INTERVAL = Interval(math.nan, math.nan, math.nan, 0)
PATIENT_DRAWS = 10
"""One draw of the patients for so many of the blocks; each takes every measure of every round again."""


@dataclass(frozen=True)
class Comparison:
    """One strategy against random with the same learner.

    Args:
        learner: shared by both.
        strategy: compared.
        figure: what is compared; positive differences are better, whatever the measure.
        area: difference of the area under the budget curve.
        patients: the same difference with the interval over patients and blocks; NaN for measures of calibration.
        log_area: mean difference of the area over the logarithm of the budget.
        final: mean difference after the last round.
    """

    learner: str
    strategy: str
    figure: Figure
    area: PairedDifference
    patients: Interval
    log_area: float
    final: float


def compare(results: Results, set_name: str, figure: Figure) -> tuple[Comparison, ...]:
    """Compares every strategy of every learner of a set with random; nothing where no label is estimable."""
    if not figure.labels:
        return ()
    plan, seed = results.folder.plan, Seed(0) / "benchmark" / set_name / figure.key
    methods = [(le, st) for le in plan.learners(set_name) for st in plan.strategies(set_name, le) if st != RANDOM]
    pairs = {method: _pairs(results, set_name, *method) for method in methods}
    gains = {_name(m): [results.gain(a, b, figure.key) for a, b in pairs[m]] for m in methods}
    zeros = [0.0] * len(results.blocks)
    tested = compare_with_baseline({RANDOM: zeros, **gains}, seed)
    return tuple(
        Comparison(
            learner=method[0],
            strategy=method[1],
            figure=figure,
            area=tested[_name(method)],
            patients=_over_patients(results, figure, pairs[method], seed / _name(method) / "patients"),
            log_area=mean([results.gain(a, b, figure.key, log=True) for a, b in pairs[method]]),
            final=figure.sign
            * mean([results.final(a, figure.key) - results.final(b, figure.key) for a, b in pairs[method]]),
        )
        for method in methods
    )


def _name(method: tuple[str, str]) -> str:
    return "/".join(method)


def _pairs(results: Results, set_name: str, learner: str, strategy: str) -> list[tuple[Cell | None, Cell | None]]:
    """(cell, random) of each block; None where one is not finished."""
    return [
        (results.cell(set_name, learner, strategy, block), results.cell(set_name, learner, RANDOM, block))
        for block in results.blocks
    ]


def _over_patients(
    results: Results, figure: Figure, pairs: Sequence[tuple[Cell | None, Cell | None]], seed: Seed
) -> Interval:
    if figure.readout.measure not in MEASURES:
        return NO_INTERVAL
    blocks = [
        _block(results, figure, ours, theirs) for ours, theirs in pairs if ours is not None and theirs is not None
    ]
    if not blocks or any(block is None for block in blocks):
        return NO_INTERVAL
    resamples = max(100, results.folder.plan.file.draws // PATIENT_DRAWS)
    # repeated splits of one set test the same patients again and again
    return two_level_difference(
        [block for block in blocks if block is not None],
        seed,
        patients="crossed",
        measure=figure.readout.measure,
        labels=tuple(range(len(figure.labels))),
        resamples=resamples,
    )


def _block(results: Results, figure: Figure, ours: Cell, theirs: Cell) -> Block | None:
    """Predictions of both on the figure's rows and labels; None where their budgets differ."""
    x, u = results.budget(ours), results.budget(theirs)
    if len(x) < 2 or not np.array_equal(x, u):
        return None
    truth = results.truths[ours.set][ours.block]
    rows, columns = np.flatnonzero(figure.rows(truth)), np.array(figure.columns(truth))

    def predictions(cell: Cell) -> NDArray[np.float64]:
        return np.stack([e.probabilities[np.ix_(rows, columns)] for e in results.cells[cell].evaluations])

    return Block(
        ours=predictions(ours),
        theirs=predictions(theirs),
        targets=truth.values[np.ix_(rows, columns)],
        patients=[truth.patients[i] for i in rows],
        budget=x.tolist(),
    )
