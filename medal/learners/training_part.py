"""Training parts: how a surveyed work joins the one training loop (survey, section 4.1 and further).

A part is a frozen configuration in a named slot of the learner (auxiliary, consistency, pseudo, domain, generative).
Each training begins it anew with a `TrainingContext`; what it keeps during the training lives in the `RunningPart`
that it returns. Nothing of it outlives the training but the networks that predict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from medal.learners.heads import Head
from medal.learners.protocol import Augmentation, Loss
from medal.pool import LabelTable, Pool
from medal.seeding import Seed
from medal.source import Source


@dataclass(frozen=True)
class Unlabelled:
    """Rows that may be looked at without a label; a partly labelled row is among them for its open labels.

    Args:
        rows: (n,) positions in the pool part of the split, ascending.
        ids: (n) their ids; whatever a part remembers of a row is kept under its id.
        open: (n, L) bool, the labels that nobody has answered.
    """

    rows: Tensor
    ids: tuple[str, ...]
    open: Tensor

    def __len__(self) -> int:
        return len(self.rows)


def unlabelled(pool: Pool, table: LabelTable) -> Unlabelled:
    """What a training may look at besides its labels: pool rows with an open label; never test or validation rows.

    Rows that were taken out of the pool ("cannot be labelled") stay out here too.

    Args:
        pool: split, and which units were retired.
        table: labels that the training has.
    """
    rows = pool.split.positions("pool")
    open_ = torch.ones(len(pool.units.rows), len(pool.labels), dtype=torch.bool)
    open_[table.rows] = torch.isnan(table.target)
    if pool.retired:
        gone = pool.units.positions(pool.retired)
        for row, index in zip(pool.units.row[gone].tolist(), pool.units.index[gone].tolist(), strict=True):
            open_[row, index if pool.units.inner else slice(None)] = False
    rows = rows[open_[rows].any(1)]
    return Unlabelled(rows, tuple(pool.units.rows[r] for r in rows.tolist()), open_[rows])


@dataclass(frozen=True)
class TrainingContext:
    """What a part is given when a training begins.

    Args:
        model: the student, images to raw outputs (R, D); untrained, on the device.
        another: another(n) is a further network of the same architecture on the device, n = 1, 2, ...; when the learner
            starts warm, the one of the round before.
        source: pixels.
        table: paid labels that are trained with.
        unlabelled: rows that may be looked at without a label.
        head: reads raw outputs.
        loss: supervised loss of raw outputs, masked, with the weights of positives.
        read: raw outputs as if positives had not been weighted, so that probabilities mean prevalence.
        augment: variation of training images; None when there is none.
        batch: labelled rows in a batch.
        device: where the networks are.
        steps: optimiser steps of the training.
        round: of the campaign, from 0.
        seed: the part's own branch.
    """

    model: nn.Module
    another: Callable[[int], nn.Module]
    source: Source
    table: LabelTable
    unlabelled: Unlabelled
    head: Head
    loss: Loss
    read: Callable[[Tensor], Tensor]
    augment: Augmentation | None
    batch: int
    device: torch.device
    steps: int
    round: int
    seed: Seed


@dataclass(frozen=True)
class Batch:
    """The labelled batch of one optimiser step.

    Args:
        step: number of the step, from 0.
        progress: part of the training that is done, in [0, 1).
        seed: of this part in this step; the global torch state stands at it while the part computes its loss.
        rows: (R,) positions of the labelled rows.
        target: (R, L) their labels, on the device.
        raw: (R, D) the student's raw outputs on them, with gradient.
    """

    step: int
    progress: float
    seed: Seed
    rows: Tensor
    target: Tensor
    raw: Tensor


class RunningPart(Protocol):
    """A part in the middle of a training; inherit from it and write `loss`.

    Attributes:
        modules: further networks whose parameters the optimiser must train.
    """

    modules: Sequence[nn.Module] = ()

    def loss(self, batch: Batch) -> Tensor:
        """A scalar to be added to the supervised loss."""
        ...

    def after_step(self, step: int) -> None:
        """Called after the optimiser has moved, such as for a moving average of the weights."""
        return

    def networks(self) -> tuple[nn.Module, ...]:
        """What predicts after the training instead of the student, of its architecture; empty for the student."""
        return ()


@runtime_checkable
class TrainingPart(Protocol):
    """What a surveyed work adds to training (slots auxiliary, consistency, pseudo, domain, generative)."""

    def begin(self, context: TrainingContext) -> RunningPart:
        """Begins one training."""
        ...
