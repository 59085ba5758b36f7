"""A simulated expert: answers with the data set's own labels, and takes a plausible time for it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from medal.budget import CostModel
from medal.errors import ConfigError, UnitError
from medal.pool import Annotations
from medal.seeding import Seed
from medal.source import Truth
from medal.strategy import Query
from medal.units import SEPARATOR, kind_of


class Simulated:
    """Answers from the truth.

    Args:
        truth: labels of every row.
        rows: (R) row ids in the order of the truth.
        cost: minutes that a unit takes on average.
        spread: standard deviation of the logarithm of the time; 0 makes every answer take the same time.

    Raises:
        UnitError: when truth and rows differ in length.
        ConfigError: on a negative spread.
    """

    def __init__(self, truth: Truth, rows: Sequence[str], cost: CostModel, spread: float = 0.3) -> None:
        if len(rows) != len(truth.values):
            raise UnitError(f"truth has {len(truth.values)} rows, the source {len(rows)}; open both together")
        if not spread >= 0:
            raise ConfigError(f"oracle.spread: found {spread}, expected at least 0")
        self._truth = truth
        self._row = {name: i for i, name in enumerate(rows)}
        self._label = {name: i for i, name in enumerate(truth.labels)}
        self._cost = cost
        self._spread = spread

    def annotate(self, query: Query, kind: str, seed: Seed) -> Annotations:
        """Answers every unit; time is drawn for each unit from its own branch of the seed."""
        inner = kind_of(kind).inner
        target = torch.empty(len(query.ids), 1 if inner else len(self._label))
        for line, unit in enumerate(query.ids):
            target[line] = self._answer(unit, inner)
        seconds = tuple(self._seconds(kind, seed / "seconds" / i) for i in query.ids)
        return Annotations(query.ids, target, kind, seconds, "simulated")

    def _answer(self, unit: str, inner: bool) -> Tensor:
        if not inner and unit in self._row:
            return self._truth.values[self._row[unit]]
        at = unit.find(SEPARATOR) if inner else -1
        while at >= 0:  # row ids and names may hold the separator themselves
            row, label = unit[:at], unit[at + len(SEPARATOR) :]
            if row in self._row and label in self._label:
                return self._truth.values[self._row[row], self._label[label]]
            at = unit.find(SEPARATOR, at + 1)
        raise UnitError(
            f"unit {unit!r} is unknown to the simulated expert; ask about units of the source that it was made for"
        )

    def _seconds(self, kind: str, seed: Seed) -> float:
        draw = self._spread * float(seed.numpy().standard_normal())
        # a log-normal time has its mean half a variance above the middle
        return round(60.0 * self._cost.of(kind) * math.exp(draw - self._spread**2 / 2), 3)
