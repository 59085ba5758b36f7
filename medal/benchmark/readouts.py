"""Readouts: one figure from stored test predictions and the truth, overall, in a subgroup, or within a condition.

A label counts in a readout of a set only where it has enough positives and negatives in the test rows of every block,
so that all blocks average the same labels; the others are given as counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from medal.benchmark.schema import Readout
from medal.benchmark.truth import TestTruth
from medal.errors import UnknownName
from medal.metrics.classification import auprc, auroc, brier, ece
from medal.metrics.subgroups import UNKNOWN, category, in_order

MEASURES = {"auroc": auroc, "auprc": auprc, "brier": brier, "ece": ece}
LONG = {"auroc": "AUROC", "auprc": "AUPRC", "brier": "Brier score", "ece": "ECE"}


@dataclass(frozen=True)
class Figure:
    """A readout on one set, with one value of its column where it has one.

    Args:
        key: name of the readout, with `[column=value]`.
        readout: as in the file.
        value: of the column; None for all test rows.
        labels: that are estimable in every block.
        rare: the others.
    """

    SMALLER_IS_BETTER: ClassVar[frozenset[str]] = frozenset({"brier", "ece"})

    key: str
    readout: Readout
    value: str | None
    labels: tuple[str, ...]
    rare: tuple[str, ...]

    @property
    def sign(self) -> int:
        """1 where bigger is better, else -1."""
        return -1 if self.readout.measure in self.SMALLER_IS_BETTER else 1

    @property
    def title(self) -> str:
        """In words."""
        names = ", ".join(self.labels) or "no estimable label"
        macro = "macro " if len(self.labels) > 1 else ""
        within = "".join(f", within {name} = {value:g}" for name, value in self.readout.where.items())
        group = f", {self.readout.by} {self.value}" if self.value is not None else ""
        return f"{macro}{LONG[self.readout.measure]} of {names}{within}{group}"

    def rows(self, truth: TestTruth) -> NDArray[np.bool_]:
        """(T) test rows that count."""
        chosen = np.ones(len(truth.ids), dtype=bool)
        for name, wanted in self.readout.where.items():
            chosen &= truth.values[:, truth.labels.index(name)] == wanted
        if self.readout.by is not None and self.value is not None:
            found = [category(self.readout.by, v) for v in truth.meta[self.readout.by]]
            chosen &= np.array([v == self.value for v in found], dtype=bool)
        return chosen

    def columns(self, truth: TestTruth) -> list[int]:
        """Positions of the labels."""
        return [truth.labels.index(name) for name in self.labels]

    def measure(self, probabilities: NDArray[np.float64], truth: TestTruth) -> float:
        """The figure; NaN when no label is estimable.

        Args:
            probabilities: (T, L).
            truth: of the same rows.
        """
        if not self.labels:
            return math.nan
        rows = self.rows(truth)
        p, y = torch.from_numpy(probabilities[rows]), torch.from_numpy(truth.values[rows])
        found = [MEASURES[self.readout.measure](p[:, k], y[:, k]) for k in self.columns(truth)]
        return float(np.mean([math.nan if v is None else v for v in found]))


def figures_of(measures: Mapping[str, Readout], truths: Sequence[TestTruth]) -> tuple[Figure, ...]:
    """Every figure of a set.

    Args:
        measures: name -> readout.
        truths: of every block.

    Raises:
        UnknownName: on a label or column that the set does not have.
    """
    labels, columns = truths[0].labels, truths[0].meta
    found = []
    for name, readout in measures.items():
        for label in (*readout.labels, *readout.where):
            if label not in labels:
                raise UnknownName(f"measures.{name}: {UnknownName.near('label', label, labels)}")
        if readout.by is not None and readout.by not in columns:
            raise UnknownName(f"measures.{name}.by: {UnknownName.near('column', readout.by, columns)}")
        values: Sequence[str | None] = [None]
        if readout.by is not None:
            values = values_of(readout.by, truths)
        found += [_figure(name, readout, value, truths) for value in values]
    return tuple(found)


def values_of(column: str, truths: Sequence[TestTruth]) -> list[str]:
    """Categories of a column in any block, ages as bands; rows where it is unknown belong to none."""
    return in_order({category(column, v) for truth in truths for v in truth.meta[column]} - {UNKNOWN})


def _figure(name: str, readout: Readout, value: str | None, truths: Sequence[TestTruth]) -> Figure:
    key = name if value is None else f"{name}[{readout.by}={value}]"
    bare = Figure(key, readout, value, (), ())
    enough = [name for name in readout.labels if fewest(bare, name, truths) >= readout.min_positives]
    rare = tuple(name for name in readout.labels if name not in enough)
    return Figure(key, readout, value, tuple(enough), rare)


def fewest(figure: Figure, label: str, truths: Sequence[TestTruth]) -> int:
    """The smallest number of positives or negatives of a label in any block, among the rows of the figure."""
    counts = []
    for truth in truths:
        column = truth.values[figure.rows(truth), truth.labels.index(label)]
        counts += [int((column == 1).sum()), int((column == 0).sum())]
    return min(counts)
