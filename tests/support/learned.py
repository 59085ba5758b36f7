"""Learners over planted vectors: their pool, a training, and everything that they say."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from toy import VectorSource, planted

from medal.learners import Parts, Perceptron, Supervised
from medal.outputs import Outputs
from medal.pool import Annotations, LabelTable, Pool
from medal.seeding import Seed
from medal.source import Truth
from medal.split import Split
from medal.units import Units

ROWS = 60
EVERY = torch.arange(ROWS)


def material(seed: int = 0) -> tuple[VectorSource, Truth, Pool]:
    """A source whose first 40 rows are the pool, the rest the paid validation arm."""
    source, truth = planted(ROWS, seed)
    parts = ("pool",) * 40 + ("validation",) * 20
    pool = Pool(Units("image", source.ids, source.groups), source.labels, Split(source.ids, source.groups, parts))
    return source, truth, pool


def pay(pool: Pool, truth: Truth, rows: Tensor) -> LabelTable:
    ids = tuple(pool.units.names(rows))
    pool.answer(Annotations(ids, truth.values[rows], "image", (1.0,) * len(ids), "x"))
    return pool.table()


def learner_of(source: VectorSource, parts: Parts | None = None, **settings: Any) -> Supervised:
    settings = {"steps": 10, "batch": 8, "predict_batch": 16} | settings
    return Supervised(source, Perceptron(8, 0.2), parts, **settings)


def trained(parts: Parts | None = None, **settings) -> tuple[Supervised, VectorSource, Truth, Pool]:
    source, truth, pool = material()
    learner = learner_of(source, parts, **settings)
    learner.fit(pool, pay(pool, truth, EVERY[:30]), Seed(0))
    return learner, source, truth, pool


def everything(outputs: Outputs) -> dict[str, Tensor]:
    return {n: outputs.get(n, EVERY) for n in sorted(outputs.available)}
