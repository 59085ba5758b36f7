"""The only training loop, on Lightning Fabric: a fixed number of optimiser steps, whatever the number of labels.

Fixed schedules instead of early stopping, because a validation set for stopping would have to be paid for.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from medal.errors import BudgetError, ConfigError
from medal.learners.protocol import Augmentation, FitReport, Loss
from medal.learners.training_part import Batch, RunningPart
from medal.pool import LabelTable
from medal.seeding import Seed
from medal.source import Progress, Source, silent
from medal.torchvision_ops import prepare_torchvision

if TYPE_CHECKING:
    from lightning.fabric import Fabric


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Args:
        steps: optimiser steps; ignored when `epochs` is given.
        epochs: passes over the paid labels.
        batch: rows in a batch.
        lr: peak learning rate of AdamW; linear warm-up over the first tenth, cosine to zero.
        weight_decay: of AdamW.

    Raises:
        ConfigError: on a number that cannot be trained with.
    """

    steps: int = 200
    epochs: float | None = None
    batch: int = 32
    lr: float = 1e-3
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        positive = {"steps": self.steps, "batch": self.batch, "lr": self.lr, "epochs": self.epochs}
        for name, value in positive.items():
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ConfigError(f"learner.{name}: found {value}, expected a number above 0")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ConfigError(f"learner.weight_decay: found {self.weight_decay}, expected at least 0")

    def count(self, rows: int) -> int:
        """Optimiser steps for that many rows."""
        return self.steps if self.epochs is None else max(1, math.ceil(self.epochs * rows / min(self.batch, rows)))

    def factor(self, step: int, steps: int) -> float:
        """Learning rate relative to its peak."""
        warm = max(1, steps // 10)
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def batches(rows: int, batch: int, seed: Seed) -> Iterator[Tensor]:
    """Endless batches of full size from shuffled passes; at least two rows, since batch normalisation needs them."""
    size, epoch = max(2, min(batch, rows)), 0
    queue = torch.empty(0, dtype=torch.long)
    while True:
        while len(queue) < size:
            queue = torch.cat([queue, torch.randperm(rows, generator=(seed / epoch).torch())])
            epoch += 1
        yield queue[:size]
        queue = queue[size:]


def place(device: str) -> torch.device:
    """The device that Fabric means by an accelerator name ("cpu", "auto", "cuda", ...)."""
    if device == "cpu":
        return torch.device("cpu")
    return _fabric(device).device


def _fabric(device: str) -> Fabric:
    prepare_torchvision()  # lightning imports torchvision where it is installed
    from lightning.fabric import Fabric

    try:
        return Fabric(accelerator=device, devices=1)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"learner.device: {device!r} cannot be used here ({reason}); set learner.device=cpu"
        ) from None


def train(
    model: nn.Module,
    source: Source,
    table: LabelTable,
    loss: Loss,
    schedule: Schedule,
    seed: Seed,
    *,
    augment: Augmentation | None = None,
    parts: Mapping[str, RunningPart] | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> FitReport:
    """Trains a model in place.

    Args:
        model: images to raw outputs.
        source: pixels.
        table: paid labels.
        loss: supervised loss, masked where labels are unknown.
        schedule: steps and learning rate.
        seed: order of rows and augmentation; dropout draws from it too.
        augment: applied to each batch.
        parts: further losses by slot. Each draws from a branch of its own, also where library code reads the global
            state, so that a part changes nothing but what its loss changes.
        device: accelerator name for Fabric ("cpu", "auto", "cuda", ...).
        progress: told after every step.

    Raises:
        BudgetError: without any paid label.
        ConfigError: when the loss is no longer finite.
    """
    if not len(table):
        raise BudgetError("nothing was labelled yet, so nothing can be trained; raise `start.items`")
    started, steps, parts = time.perf_counter(), schedule.count(len(table)), parts or {}
    fabric = _fabric(device)
    further = [m.train() for part in parts.values() for m in part.modules]
    trained = [p for m in (model, *further) for p in m.parameters()]
    optimiser = torch.optim.AdamW(trained, lr=schedule.lr, weight_decay=schedule.weight_decay)
    moving = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda s: schedule.factor(s, steps))
    wrapped, optimiser = fabric.setup(model, optimiser)
    wrapped.train()
    stream = batches(len(table), schedule.batch, seed / "order")
    generator = (seed / "augment").torch()
    recent: list[float] = []
    with (seed / "dropout").globally():
        for step in range(steps):
            lines = next(stream)
            images = source.images(table.rows[lines])
            if augment is not None:
                images = augment(images, generator)
            done, target = step / steps, table.target[lines].to(fabric.device)
            raw = wrapped(images.to(fabric.device))
            value = loss(raw, target, done)
            for slot, part in parts.items():
                branch = seed / "parts" / slot / step
                with branch.globally():
                    value = value + part.loss(Batch(step, done, branch, table.rows[lines], target, raw))
            if not torch.isfinite(value):
                found = float(value.detach())
                raise ConfigError(
                    f"the training loss became {found} at step {step}; lower `learner.lr` ({schedule.lr:g})"
                )
            optimiser.zero_grad()
            fabric.backward(value)
            fabric.clip_gradients(wrapped, optimiser, max_norm=5.0)
            optimiser.step()
            moving.step()
            for part in parts.values():
                part.after_step(step)
            if step >= steps - max(1, steps // 10):
                recent.append(float(value.detach()))
            progress("training", step + 1, steps)
    for module in (model, *further):
        module.eval()
    return FitReport(math.fsum(recent) / len(recent), steps, time.perf_counter() - started)
