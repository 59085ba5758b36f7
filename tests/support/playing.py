"""Scores and samplers that do what a test says, and short ways to ask a strategy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from medal.budget import Allowance, CostModel
from medal.contracts import LABELS, small_outputs, small_pool
from medal.outputs import Chunk, Outputs
from medal.pool import Pool
from medal.seeding import Seed
from medal.split import Split
from medal.strategy import Query, Step, Strategy
from medal.units import Units


@dataclass(frozen=True)
class Given:
    """Scores by row (R, *inner)."""

    values: Tensor
    needs: ClassVar[frozenset[str]] = frozenset({"features"})
    pointwise: ClassVar[bool] = True

    def __call__(self, outputs: Chunk, candidates: Tensor, pool: Pool) -> Tensor:
        return self.values[outputs.rows]


@dataclass(frozen=True)
class Whole:
    """A score that compares units: distance of each one's features to the mean of all candidates."""

    needs: ClassVar[frozenset[str]] = frozenset({"features"})
    pointwise: ClassVar[bool] = False

    def __call__(self, outputs: Outputs, candidates: Tensor, pool: Pool) -> Tensor:
        features = outputs.get("features", pool.units.row[candidates]).double()
        return (features - features.mean(0)).norm(dim=1)


@dataclass(frozen=True)
class Playing:
    """A sampler that does what a function says."""

    play: Callable[..., Tensor]
    needs: ClassVar[frozenset[str]] = frozenset()
    stops_early: ClassVar[bool] = False

    def __call__(
        self, scores: Tensor | None, outputs: Outputs, candidates: Tensor, pool: Pool, allowance: Allowance, seed: Seed
    ) -> Tensor:
        return self.play(scores, candidates)


class Stopping(Playing):
    """The same, which may stop early."""

    stops_early: ClassVar[bool] = True


def allowance_of(pool: Pool, amount: float, unit: str = "items") -> Allowance:
    return Allowance(amount, unit, pool.units, CostModel())


def ask(
    *steps: Step, pool: Pool | None = None, amount: float = 4, unit: str = "items", outputs: Outputs | None = None
) -> Query:
    pool = pool or small_pool()
    outputs = outputs or small_outputs(frozenset({"prediction", "features", "draws", "evidence"}), len(pool.units.rows))
    return Strategy(*steps, name="mine").query(outputs, pool, allowance_of(pool, amount, unit), Seed(0))


def pool_of(parts: list[str], kind: str = "image") -> Pool:
    rows = tuple(f"r{i:03d}" for i in range(len(parts)))
    units = Units(kind, rows, rows, LABELS if kind == "finding" else ())
    return Pool(units, LABELS, Split(rows, rows, tuple(parts)))
