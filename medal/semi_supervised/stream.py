"""Streams of unlabelled rows, in batches from shuffled passes, so that each pass reads every row once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from medal.errors import ConfigError
from medal.learners.protocol import Augmentation
from medal.learners.training import batches
from medal.learners.training_part import TrainingContext


def check_ratio(part: str, ratio: float) -> None:
    """Refuses a share of unlabelled rows that is no positive number.

    Raises:
        ConfigError: naming the part.
    """
    if not (math.isfinite(ratio) and ratio > 0):
        raise ConfigError(f"{part}.ratio: found {ratio}, expected a number above 0; weight 0 switches the part off")


@dataclass(frozen=True)
class Views:
    """A batch of unlabelled rows.

    Args:
        lines: (R) places among the unlabelled rows.
        ids: (R) their ids.
        open: (R, L) bool, labels that nobody has answered, on the device.
        images: (R, channels, *S) as the source has them.
    """

    lines: Tensor
    ids: tuple[str, ...]
    open: Tensor
    images: Tensor


class Stream:
    """Endless batches of a training's unlabelled rows.

    Args:
        context: of the training; its seed decides the order and the variations.
        ratio: unlabelled rows for each labelled one in a batch.
        lines: (n) places among the unlabelled rows that are drawn from; None for all of them.
    """

    def __init__(self, context: TrainingContext, ratio: float, lines: Tensor | None = None) -> None:
        self._context = context
        self._lines = torch.arange(len(context.unlabelled)) if lines is None else lines
        size = max(1, round(context.batch * ratio))
        self._batches = batches(len(self._lines), size, context.seed / "order") if len(self._lines) else None

    @property
    def empty(self) -> bool:
        """Whether there is no row to draw, as when every label of the pool is known."""
        return self._batches is None

    def next(self) -> Views:
        """The next batch; only when it is not `empty`."""
        if self._batches is None:
            raise StopIteration
        pool = self._context.unlabelled
        lines = self._lines[next(self._batches)]
        ids = tuple(pool.ids[line] for line in lines.tolist())
        images = self._context.source.images(pool.rows[lines])
        return Views(lines, ids, pool.open[lines].to(self._context.device), images)


class View:
    """One way of varying images, with a generator of its own.

    Args:
        context: of the training.
        name: of the branch of its generator.
        augment: the variation; None takes the training's own, and where it has none the images stay as they are.
    """

    def __init__(self, context: TrainingContext, name: str, augment: Augmentation | None = None) -> None:
        self._augment = augment if augment is not None else context.augment
        self._generator = (context.seed / name).torch()
        self._device = context.device

    def __call__(self, images: Tensor) -> Tensor:
        """Varied images on the device; what was given stays as it was."""
        varied = images if self._augment is None else self._augment(images.clone(), self._generator)
        return varied.to(self._device)
