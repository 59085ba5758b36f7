"""A backbone for when the recipe names none: small, for images of any modality with two axes in space."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from medal.errors import ConfigError
from medal.learners.protocol import Backbone


class _ConvNet(Backbone):
    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        widths = [channels, width, 2 * width, 4 * width, 8 * width]
        stages: list[nn.Module] = []
        for before, after in pairwise(widths):
            stages += [nn.Conv2d(before, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
            stages += [nn.MaxPool2d(2)]
        self.body = nn.Sequential(*stages[:-1], nn.AdaptiveAvgPool2d(1))
        self.features = widths[-1]

    def forward(self, images: Tensor) -> Tensor:
        return self.body((images - 0.5) / 0.25).flatten(1)


@dataclass(frozen=True)
class ConvNet:
    """Four convolutions, pooled over the whole image.

    Args:
        width: channels of the first stage; doubled thrice.
    """

    width: int = 16

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ConfigError(f"ConvNet.width: found {self.width}, expected at least 1")

    def build(self, channels: int) -> Backbone:
        """A backbone over (R, channels, H, W), H and W at least 8."""
        return _ConvNet(channels, self.width)
