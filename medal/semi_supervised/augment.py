"""Stronger variations of a student's view, for images and for features (survey, section 4.1.2).

Zhong et al., "Random erasing data augmentation", AAAI 2020, and DeVries and Taylor, "Cutout", 2017: a rectangle of the
image is covered. Xie et al., "Unsupervised data augmentation", NeurIPS 2020: the stronger the variation, the more a
consistency teaches. Nothing here mirrors or turns, which would change what an image of a body says.

Sizes are in standard deviations of a row's own entries, so that one setting serves pixels and features of any scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medal.errors import ConfigError
from medal.learners.protocol import Augmentation


@dataclass(frozen=True)
class GaussianNoise:
    """Adds independent noise to every entry.

    Args:
        size: standard deviation of the noise, in standard deviations of the row's own entries; at least 0.

    Raises:
        ConfigError: on a size out of range.
    """

    size: float = 0.2

    def __post_init__(self) -> None:
        if not (math.isfinite(self.size) and self.size >= 0):
            raise ConfigError(f"GaussianNoise.size: found {self.size}, expected a number of at least 0")

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Noisy rows of the same shape, (R, ...)."""
        spread = images.flatten(1).std(1, correction=0).view(-1, *[1] * (images.ndim - 1))
        return images + self.size * spread * torch.randn(images.shape, generator=generator).to(images)


@dataclass(frozen=True)
class FeatureDropout:
    """Sets entries to the row's own mean: single features of (R, F), places of all channels of (R, channels, *S).

    Args:
        share: chance of each entry, in [0, 1).

    Raises:
        ConfigError: on a share out of range.
    """

    share: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ConfigError(f"FeatureDropout.share: found {self.share}, expected at least 0 and below 1")

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Rows of the same shape with entries covered, (R, ...)."""
        shape = images.shape if images.ndim == 2 else (len(images), 1, *images.shape[2:])
        covered = (torch.rand(shape, generator=generator) < self.share).to(images.device)
        return torch.where(covered, _row_mean(images), images)


@dataclass(frozen=True)
class RandomErasing:
    """Covers one rectangle of each image with the image's own mean; of features, one run of neighbours.

    Args:
        share: smallest and largest share of the area, in (0, 1).
        aspect: longest side of the rectangle over its shortest, at least 1.
        chance: of each image to be covered, in [0, 1].

    Raises:
        ConfigError: on a number out of range.
    """

    share: Sequence[float] = (0.02, 0.2)
    aspect: float = 3.0
    chance: float = 1.0

    def __post_init__(self) -> None:
        if len(self.share) != 2 or not 0 < self.share[0] <= self.share[1] < 1:
            raise ConfigError(f"RandomErasing.share: found {self.share}, expected two shares with 0 < low <= high < 1")
        if not (self.aspect >= 1 and math.isfinite(self.aspect)):
            raise ConfigError(f"RandomErasing.aspect: found {self.aspect}, expected at least 1")
        if not 0 <= self.chance <= 1:
            raise ConfigError(f"RandomErasing.chance: found {self.chance}, expected a chance in [0, 1]")

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Images of the same shape with a rectangle covered, (R, channels, H, W), or features (R, F)."""
        if images.ndim not in (2, 4):
            raise ConfigError(
                f"RandomErasing: found rows of shape {tuple(images.shape[1:])}, expected images or features"
            )
        draw = torch.rand(len(images), 5, generator=generator)
        low, high = self.share
        area = low + (high - low) * draw[:, 0]
        if images.ndim == 2:
            sides = [area]
        else:
            stretch = torch.exp((2 * draw[:, 1] - 1) * math.log(self.aspect)).sqrt()
            sides = [(area.sqrt() * stretch).clamp(max=1), (area.sqrt() / stretch).clamp(max=1)]
        covered = (draw[:, 4] < self.chance).view(-1, *[1] * (images.ndim - 1))
        for axis, (side, place) in enumerate(zip(sides, draw[:, 2:4].T, strict=False), start=images.ndim - len(sides)):
            size = images.shape[axis]
            start = ((1 - side) * place * size).round()
            position = torch.arange(size)
            inside = (position >= start[:, None]) & (position < (start + (side * size).round().clamp_min(1))[:, None])
            covered = covered & inside.view(len(images), *[size if a == axis else 1 for a in range(1, images.ndim)])
        return torch.where(covered.to(images.device), _row_mean(images), images)


@dataclass(frozen=True)
class Chain:
    """Several variations, one after the other.

    Args:
        steps: in their order.
    """

    steps: Sequence[Augmentation]

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Images of the same shape."""
        for step in self.steps:
            images = step(images, generator)
        return images


def _row_mean(images: Tensor) -> Tensor:
    """Mean of each row, of each channel where there are channels, shaped to broadcast."""
    axes = (1,) if images.ndim == 2 else tuple(range(2, images.ndim))
    return images.mean(axes, keepdim=True)
