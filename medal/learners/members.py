"""Members: several opinions from one training, the axis M of the draws (survey, section 3.1.1).

Gal and Ghahramani, "Dropout as a Bayesian approximation", ICML 2016: repeated passes with dropout on.
Kirsch, van Amersfoort, Gal, "BatchBALD", NeurIPS 2019: a member is one network, so all rows share its masks; only then
do joint scores of several units mean anything, and a row's draws do not depend on the block that it was read in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from medal.errors import ConfigError
from medal.learners.heads import Head
from medal.seeding import Seed

LAYERS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
"""Layers that can draw; alpha dropout stays off."""


@runtime_checkable
class Members(Protocol):
    """Draws raw outputs of the head from a trained model."""

    def draws(self, model: nn.Module, images: Tensor, seed: Seed) -> Tensor:
        """Raw outputs, (R, M, ...).

        Args:
            model: images to raw outputs; left as it was.
            images: (R, channels, *S).
            seed: the same for every block of rows, so that member m is the same for all of them.
        """
        ...


@contextmanager
def dropout_only(model: nn.Module, seed: Seed) -> Iterator[None]:
    """Turns dropout on, with masks that all rows share; all else, batch normalisation above all, is in evaluation mode.

    Args:
        model: changed inside the block alone.
        seed: of the masks; each layer has its own branch.

    Raises:
        ConfigError: when the model has no dropout that could draw anything.
    """
    layers = [m for m in model.modules() if isinstance(m, LAYERS) and 0 < m.p < 1]
    if not layers:
        raise ConfigError("MC dropout: the network has no dropout layer with p > 0; set `learner.dropout=0.2`")
    modes = {m: m.training for m in model.modules()}
    model.eval()
    handles = []
    for i, layer in enumerate(layers):
        masking = _Masking(layer.p, not isinstance(layer, nn.Dropout), (seed / i).torch())
        handles.append(layer.register_forward_hook(masking))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode


class _Masking:
    """Multiplies what a dropout layer lets through by a mask of its own.

    Args:
        share: of what is dropped.
        channels: True when whole channels are.
        generator: of the masks.
    """

    def __init__(self, share: float, channels: bool, generator: torch.Generator) -> None:
        self._share = share
        self._channels = channels
        self._generator = generator

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        inner = (output.shape[1], *[1] * (output.ndim - 2)) if self._channels else output.shape[1:]
        kept = torch.rand(1, *inner, generator=self._generator) >= self._share
        return output * (kept / (1 - self._share)).to(output)


@dataclass(frozen=True)
class MCDropout:
    """Monte-Carlo dropout: the same trained network, thinned in `count` ways.

    Args:
        count: passes, the size of the axis M.

    Raises:
        ConfigError: when there are too few to disagree.
    """

    count: int = 20

    def __post_init__(self) -> None:
        if self.count < 2:
            raise ConfigError(f"MCDropout.count: found {self.count}, expected at least 2 to disagree")

    def draws(self, model: nn.Module, images: Tensor, seed: Seed) -> Tensor:
        """Raw outputs of every pass, (R, M, ...); the seed fixes the masks."""
        passes = []
        for member in range(self.count):
            with dropout_only(model, seed / member):
                passes.append(model(images))
        return torch.stack(passes, dim=1)


@dataclass(frozen=True)
class Mixture:
    """Several networks as one prediction, the mean of their probabilities, for a calibration with one temperature.

    Args:
        head: reads the raw outputs of each network.
    """

    head: Head

    def nll(self, raw: Tensor, targets: Tensor) -> Tensor:
        """Log score of the mean probability: (R, L) in nats, 0 where a label is not known.

        Args:
            raw: (R, M, D) of M networks.
            targets: (R, L).
        """
        each = torch.stack([-self.head.nll(member, targets) for member in raw.unbind(1)])
        return math.log(len(each)) - torch.logsumexp(each, dim=0)

    def temper(self, raw: Tensor, temperature: Tensor) -> Tensor:
        """Every network at the same temperatures (L)."""
        return self.head.temper(raw, temperature)
