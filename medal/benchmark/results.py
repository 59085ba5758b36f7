"""Everything that tables are made of: curves of every figure in every finished cell, read once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from medal.benchmark.cells import CellResult, read_cell
from medal.benchmark.folder import BenchmarkFolder
from medal.benchmark.plan import Cell
from medal.benchmark.readouts import Figure, figures_of
from medal.benchmark.schema import FULL, RANDOM
from medal.benchmark.truth import TestTruth, read_truth
from medal.errors import StudyError
from medal.metrics.learning_curves import aubc

Curves = dict[tuple[Cell, str], NDArray[np.float64]]
"""(cell, key of a figure) -> (P) its value in each round."""


@dataclass(frozen=True)
class Results:
    """A benchmark, finished or not, in memory.

    Args:
        folder: of the benchmark.
        truths: set -> block -> truth of the test rows.
        figures: set -> what is read out.
        cells: finished ones.
        curves: value of each figure, round by round.
    """

    folder: BenchmarkFolder
    truths: dict[str, dict[int, TestTruth]]
    figures: dict[str, tuple[Figure, ...]]
    cells: dict[Cell, CellResult]
    curves: Curves

    @property
    def blocks(self) -> range:
        """Numbers of the blocks."""
        return range(self.folder.plan.file.blocks)

    def figure(self, set_name: str, key: str) -> Figure:
        """The figure of a key."""
        return next(figure for figure in self.figures[set_name] if figure.key == key)

    def budget(self, cell: Cell) -> NDArray[np.float64]:
        """(P) cost at each evaluation of a finished cell, in the benchmark's unit."""
        unit = self.folder.plan.file.cost
        return np.array([getattr(e, unit) for e in self.cells[cell].evaluations], dtype=np.float64)

    def cell(self, set_name: str, learner: str, strategy: str, block: int) -> Cell | None:
        """The cell when it is finished."""
        cell = Cell(block, set_name, learner, strategy)
        return cell if cell in self.cells else None

    def finished(self, set_name: str, learner: str, strategy: str) -> list[Cell]:
        """Finished cells of one arm, by block."""
        found = (self.cell(set_name, learner, strategy, block) for block in self.blocks)
        return [cell for cell in found if cell is not None]

    def area(self, cell: Cell | None, key: str, log: bool = False) -> float:
        """Area under the budget curve; NaN without a cell or with fewer than two defined rounds."""
        if cell is None:
            return math.nan
        x, y = self._defined(cell, key)
        return aubc(x, y, log=log) if len(x) > 1 else math.nan

    def gain(self, cell: Cell | None, reference: Cell | None, key: str, log: bool = False) -> float:
        """Difference of two areas over the budgets that both cover, positive where the first is better."""
        if cell is None or reference is None:
            return math.nan
        (x, y), (u, v) = self._defined(cell, key), self._defined(reference, key)
        if len(x) < 2 or len(u) < 2:
            return math.nan
        grid = np.union1d(x, u)
        grid = grid[(grid >= max(x[0], u[0])) & (grid <= min(x[-1], u[-1]))]
        if len(grid) < 2:
            return math.nan
        sign = self.figure(cell.set, key).sign
        return sign * aubc(grid, np.interp(grid, x, y) - np.interp(grid, u, v), log=log)

    def final(self, cell: Cell | None, key: str) -> float:
        """Value after the last round; NaN without a cell."""
        return float(self.curves[(cell, key)][-1]) if cell is not None else math.nan

    def full(self, set_name: str, learner: str, key: str) -> float:
        """Mean over blocks of the full-data line; NaN where it is not drawn."""
        return mean([self.final(cell, key) for cell in self.finished(set_name, learner, FULL)])

    def mean_curve(self, set_name: str, learner: str, strategy: str, key: str) -> tuple[np.ndarray, np.ndarray]:
        """Mean cost and (B, P) values over the finished blocks, at the rounds that all of them have."""
        cells = self.finished(set_name, learner, strategy)
        if not cells:
            return np.zeros(0), np.zeros((0, 0))
        shared = min(len(self.cells[cell].evaluations) for cell in cells)
        x = np.mean([self.budget(cell)[:shared] for cell in cells], axis=0)
        return x, np.array([self.curves[(cell, key)][:shared] for cell in cells])

    @cached_property
    def missing(self) -> tuple[Cell, ...]:
        """Cells that are planned and not finished."""
        return tuple(cell for cell in self.folder.plan.cells if cell not in self.cells)

    def reference(self, cell: Cell) -> Cell | None:
        """Random with the same learner in the same block."""
        return self.cell(cell.set, cell.learner, RANDOM, cell.block)

    def _defined(self, cell: Cell, key: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        x, y = self.budget(cell), self.curves[(cell, key)]
        known = np.isfinite(y)
        return x[known], y[known]


def collect(folder: BenchmarkFolder) -> Results:
    """Reads truth and finished cells, and takes every measure; trains nothing.

    Raises:
        StudyError: when truth or predictions are missing, changed, or do not belong to each other.
    """
    truths = {name: {b: read_truth(folder, name, b) for b in folder.splits.get(name, {})} for name in folder.plan.sets}
    empty = [name for name, blocks in truths.items() if not blocks]
    if empty:
        raise StudyError(f"{folder.path}: nothing was played on the set {empty[0]!r} yet; run the benchmark first")
    figures = {
        name: figures_of(folder.plan.file.measures, [truth for _, truth in sorted(blocks.items())])
        for name, blocks in truths.items()
    }
    cells: dict[Cell, CellResult] = {}
    curves: Curves = {}
    for cell in folder.plan.cells:
        result = read_cell(folder.path / cell.folder, cell)
        if result is None:
            continue
        cells[cell] = result
        truth = truths[cell.set][cell.block]
        for evaluation in result.evaluations:
            if evaluation.ids != truth.ids:
                raise StudyError(f"{cell.name}: its predictions are of other rows than the truth of the block")
        for figure in figures[cell.set]:
            values = [figure.measure(e.probabilities, truth) for e in result.evaluations]
            curves[(cell, figure.key)] = np.array(values, dtype=np.float64)
    return Results(folder, truths, figures, cells, curves)


def mean(values: Sequence[float]) -> float:
    """Mean of the finite values; NaN when there is none."""
    finite = [v for v in values if math.isfinite(v)]
    return float(np.mean(finite)) if finite else math.nan
