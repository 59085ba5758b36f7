"""Variation of training radiographs: small changes of pose and exposure; no mirror, since the heart has a side."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from medal.errors import ConfigError


@dataclass(frozen=True)
class XrayAugment:
    """Draws one small change of pose and exposure for each image.

    Args:
        rotate: largest rotation in degrees.
        shift: largest shift as a share of the width.
        scale: largest change of size as a share.
        contrast: largest change of contrast as a share; brightness changes by half as much.

    Raises:
        ConfigError: on a range that would mirror, invert or is negative.
    """

    rotate: float = 7.0
    shift: float = 0.06
    scale: float = 0.1
    contrast: float = 0.15

    def __post_init__(self) -> None:
        if not min(self.rotate, self.shift, self.scale, self.contrast) >= 0 or max(self.scale, self.contrast) >= 1:
            raise ConfigError(f"{self}: every range must be at least 0, scale and contrast below 1")

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Varied images, (R, channels, H, W) in [0, 1]."""
        n, aspect = len(images), images.shape[-2] / images.shape[-1]
        draw = 2 * torch.rand(n, 6, generator=generator) - 1
        angle = draw[:, 0] * math.radians(self.rotate)
        size = 1 + draw[:, 1] * self.scale
        cos, sin = torch.cos(angle) * size, torch.sin(angle) * size
        move = 2 * self.shift * draw[:, 2:4]
        # the grid runs from -1 to 1 along both sides, so on an oblong image its units differ by the aspect
        across = torch.stack([cos, -sin * aspect, move[:, 0]], 1)
        down = torch.stack([sin / aspect, cos, move[:, 1] / aspect], 1)
        grid = F.affine_grid(torch.stack([across, down], 1), list(images.shape), align_corners=False)
        moved = F.grid_sample(images, grid.to(images), padding_mode="border", align_corners=False)
        gain = (1 + self.contrast * draw[:, 4]).view(n, 1, 1, 1).to(images)
        lift = (0.5 * self.contrast * draw[:, 5]).view(n, 1, 1, 1).to(images)
        return ((moved - 0.5) * gain + 0.5 + lift).clamp_(0, 1)
