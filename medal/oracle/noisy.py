"""A simulated expert who errs: labels flip with a stated chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from medal.budget import CostModel
from medal.errors import ConfigError
from medal.oracle.simulated import Simulated
from medal.pool import Annotations
from medal.seeding import Seed
from medal.source import Truth
from medal.strategy import Query


class Noisy:
    """Misses findings and sees some that are not there; each unit has its own draw, so that order does not matter.

    Args:
        truth: labels of every row.
        rows: (R) row ids in the order of the truth.
        cost: minutes of a unit.
        miss: chance that a present finding is called absent, in [0, 1].
        invent: chance that an absent finding is called present, in [0, 1].
        spread: as in `Simulated`.

    Raises:
        ConfigError: on a chance outside [0, 1].
    """

    def __init__(
        self,
        truth: Truth,
        rows: Sequence[str],
        cost: CostModel,
        miss: float = 0.1,
        invent: float = 0.02,
        spread: float = 0.3,
    ) -> None:
        for name, value in (("miss", miss), ("invent", invent)):
            if not 0 <= value <= 1:
                raise ConfigError(f"oracle.{name}: found {value}, expected between 0 and 1")
        self._expert = Simulated(truth, rows, cost, spread)
        self._miss = miss
        self._invent = invent

    def annotate(self, query: Query, kind: str, seed: Seed) -> Annotations:
        """Answers with errors; unknown and uncertain stay what they are."""
        answers = self._expert.annotate(query, kind, seed)
        width = answers.target.shape[1]
        chance = torch.empty(len(query.ids), width)
        for line, unit in enumerate(query.ids):
            chance[line] = torch.rand(width, generator=(seed / "errors" / unit).torch())
        target = answers.target.clone()
        target[(answers.target == 1) & (chance < self._miss)] = 0.0
        target[(answers.target == 0) & (chance < self._invent)] = 1.0
        return replace(answers, target=target, annotator="simulated, noisy")
