"""A training over planted vectors or images, begun for a part: its context, and a labelled batch of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from toy import VectorSource, planted

from medal.learners.heads import Beta, Head, Sigmoid
from medal.learners.networks import Perceptron
from medal.learners.supervised import Classifier
from medal.learners.training_part import Batch, TrainingContext, unlabelled
from medal.pool import Annotations, Pool
from medal.seeding import Seed
from medal.source import Truth
from medal.split import Split
from medal.units import Units

ROWS = 60
POOL, VALIDATION = 40, 50
"""Rows from 0 are the pool part, from POOL the validation arm, from VALIDATION the test part."""


class Guarded(VectorSource):
    """A source that refuses the rows of test and validation."""

    def images(self, rows: Sequence[int] | Tensor) -> Tensor:
        rows = torch.as_tensor(rows)
        if len(rows) and int(rows.max()) >= POOL:
            raise RuntimeError(f"row {int(rows.max())} was read, which is no row of the pool")
        return super().images(rows)


def material(paid: int = 12, kind: str = "image") -> tuple[Guarded, Truth, Pool]:
    """A guarded source whose first rows are the pool, some of them paid."""
    plain, truth = planted(ROWS, seed=0)
    source = Guarded(plain.vectors, plain.labels, plain.ids, plain.groups)
    parts = ("pool",) * POOL + ("validation",) * (VALIDATION - POOL) + ("test",) * (ROWS - VALIDATION)
    units = Units(kind, source.ids, source.groups, source.labels if kind == "finding" else ())
    pool = Pool(units, source.labels, Split(source.ids, source.groups, parts))
    pay(pool, truth, range(paid))
    return source, truth, pool


def pay(pool: Pool, truth: Truth, rows: Sequence[int]) -> None:
    """Answers for whole rows."""
    if len(rows):
        positions = pool.units.of_rows(torch.tensor(list(rows)))
        ids = tuple(pool.units.names(positions))
        values = truth.values[list(rows)]
        values = values.reshape(-1, 1) if pool.units.inner else values
        pool.answer(Annotations(ids, values, pool.units.kind, (1.0,) * len(ids), "x"))


class Normed(nn.Module):
    """A backbone with batch normalisation and dropout, as trainings of images have them."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.3))
        self.features = width

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images)


def network(head: Head, number: int = 0, normed: bool = False) -> Any:
    """A fresh network; another number is another one."""
    with (Seed(5) / number).globally():
        backbone: Any = Normed() if normed else Perceptron(8, 0.2).build(8)
        return Classifier(backbone, 8, 0.2, head.build(8, 2))


def context(
    head: Head | None = None, *, paid: int = 12, normed: bool = False, seed: int = 0, number: int = 0, **changes: Any
) -> Any:
    """A `TrainingContext` at the beginning of a training; untyped, since tests reach into its networks.

    Args:
        head: Sigmoid when left out.
        paid: labelled rows.
        normed: a network with batch normalisation.
        seed: of the part.
        number: of the round.
        changes: fields of the context to replace.
    """
    head = head or Sigmoid()
    source, _, pool = material(paid)
    table = pool.table()
    weight = torch.tensor([3.0, 1.5])
    fields: dict[str, Any] = {
        "model": network(head, normed=normed).train(),
        "another": lambda n: network(head, n, normed),
        "source": source,
        "table": table,
        "unlabelled": unlabelled(pool, table),
        "head": head,
        "loss": lambda raw, target, done: head.loss(raw, target, done, weight),
        "read": lambda raw: head.unweight(raw, weight),
        "augment": None,
        "batch": 8,
        "device": torch.device("cpu"),
        "steps": 20,
        "round": number,
        "seed": Seed(seed) / "part",
    }
    return TrainingContext(**(fields | changes))


def batch(of: TrainingContext, step: int = 10, progress: float | None = None) -> Batch:
    """The labelled batch of a step: the first rows, as the student sees them."""
    rows, target = of.table.rows[: of.batch], of.table.target[: of.batch]
    done = step / of.steps if progress is None else progress
    return Batch(step, done, of.seed / step, rows, target, of.model(of.source.images(rows)))


def gradients(model: nn.Module) -> Tensor:
    """All gradients of a model, 0 where there are none."""
    return torch.cat(
        [torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in model.parameters()]
    )


def weights(model: nn.Module) -> Tensor:
    """All parameters of a model."""
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def evidential() -> Beta:
    """A head that gives evidence."""
    return Beta()
