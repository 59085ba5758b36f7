"""Backbones for features that are computed already."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medal.errors import ConfigError
from medal.learners.protocol import Backbone


class _Perceptron(Backbone):
    def __init__(self, channels: int, hidden: int, dropout: float, normalise: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.LayerNorm(channels)] if normalise else []
        if hidden:
            layers += [nn.Dropout(dropout), nn.Linear(channels, hidden), nn.GELU()]
        self.body = nn.Sequential(*layers)
        self.features = hidden or channels

    def forward(self, images: Tensor) -> Tensor:
        return self.body(torch.flatten(images, 1))


@dataclass(frozen=True)
class Perceptron:
    """One hidden layer on normalised features; none when `hidden` is 0.

    Args:
        hidden: width.
        dropout: before the hidden layer.
        normalise: bring each row's features to mean 0 and variance 1 first; not where they are columns of a table.
    """

    hidden: int = 128
    dropout: float = 0.2
    normalise: bool = True

    def __post_init__(self) -> None:
        if self.hidden < 0 or not 0 <= self.dropout < 1:
            raise ConfigError(f"Perceptron: hidden {self.hidden}, dropout {self.dropout}; expected >= 0 and in [0, 1)")

    def build(self, channels: int) -> Backbone:
        """A backbone over (R, channels) features."""
        return _Perceptron(channels, self.hidden, self.dropout, self.normalise)
