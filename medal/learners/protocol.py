"""Learner: built with a source that has no labels, trained with what was paid for, asked what it thinks of rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from medal.outputs import Outputs
from medal.pool import LabelTable, Pool
from medal.seeding import Seed
from medal.source import Progress, silent

Loss = Callable[[Tensor, Tensor, float], Tensor]
"""loss(raw outputs, targets, progress in [0, 1]) -> scalar; masked where labels are unknown."""


@runtime_checkable
class Augmentation(Protocol):
    """Varies a batch of images, or of features (R, F)."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Images of the same shape."""
        ...


@dataclass(frozen=True)
class FitReport:
    """What one training came to.

    Args:
        loss: mean training loss over the last tenth of the steps.
        steps: optimiser steps.
        seconds: wall time; stays out of the content hash.
        extras: further figures that are the same in every repetition.
    """

    loss: float
    steps: int
    seconds: float
    extras: Mapping[str, object] = field(default_factory=dict)


@runtime_checkable
class Learner(Protocol):
    """A model that is trained anew in each round.

    Attributes:
        warm: True when a training begins with the weights of the round before.
    """

    warm: bool

    def fit(self, pool: Pool, annotations: LabelTable, seed: Seed, progress: Progress = silent) -> FitReport:
        """Trains on paid labels; calibrates on the pool's paid validation labels."""
        ...

    def predict(self, cache: Path | None = None, progress: Progress = silent) -> Outputs:
        """Lazy outputs of the trained model over all rows of the source.

        Args:
            cache: folder that keeps finished rows for these weights.
            progress: told after each block.
        """
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that prediction needs."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor], seed: Seed) -> None:
        """Brings a trained state back; the seed is the one that `fit` was given."""
        ...


class Backbone(nn.Module):
    """A network up to its features: forward maps images (R, channels, *S) to (R, features).

    Attributes:
        features: width of the result.
    """

    features: int

    def aliases(self, name: str) -> Sequence[str]:
        """Further names that public checkpoints give to one of this network's tensors.

        Args:
            name: key of the network's own state dict.
        """
        return ()


@runtime_checkable
class Network(Protocol):
    """Configuration of a backbone; a fresh one is built in each round."""

    def build(self, channels: int) -> Backbone:
        """An untrained backbone; its initialisation may read the global torch state, which the learner seeds."""
        ...
