"""Random views of images for self-supervised learning: crops and changes of exposure, no mirror (survey, section 4.2).

After Chen et al., SimCLR, ICML 2020, with what medical images ask for: a crop keeps 0.4 of the area at least, so that a
small lesion is seldom cut away; nothing is mirrored, since organs have a side; there is no colour to jitter in grey
images, so that contrast, brightness and gamma vary, or intensity alone would tell which views belong together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from medal.errors import ConfigError


@dataclass(frozen=True)
class RandomViews:
    """Draws a crop, a small rotation and an exposure for each image.

    Args:
        size: side of a view in pixels; None keeps that of the images.
        area: smallest share of the area that a crop keeps, in (0, 1].
        aspect: largest ratio of a crop's sides, at least 1, relative to the image's own.
        rotate: largest rotation in degrees.
        contrast: largest change of contrast as a share; brightness changes by half as much, in [0, 1).
        gamma: largest gamma, at least 1; the smallest is one over it.
        noise: standard deviation of added noise, on intensities in [0, 1].

    Raises:
        ConfigError: on a number out of its range.
    """

    size: int | None = None
    area: float = 0.4
    aspect: float = 4 / 3
    rotate: float = 7.0
    contrast: float = 0.5
    gamma: float = 1.5
    noise: float = 0.02

    def __post_init__(self) -> None:
        sound = self.size is None or self.size >= 16
        sound = sound and 0 < self.area <= 1 and self.aspect >= 1 and self.gamma >= 1
        if not sound or not 0 <= self.contrast < 1 or not min(self.rotate, self.noise) >= 0:
            raise ConfigError(
                f"{self}: expected size of 16 at least, area in (0, 1], aspect and gamma of 1 at least, contrast in "
                "[0, 1), rotate and noise of 0 at least"
            )

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """One view of each image.

        Args:
            images: (R, channels, H, W) in [0, 1].
            generator: of the draws.

        Returns:
            (R, channels, H, W) or, with `size`, (R, channels, size, size), in [0, 1].
        """
        n, channels, height, width = images.shape
        u = torch.rand(n, 9, generator=generator)
        side = (self.area + (1 - self.area) * u[:, 0]).sqrt()
        stretch = torch.exp((2 * u[:, 1] - 1) * 0.5 * math.log(self.aspect))
        wide, high = (side * stretch).clamp_max(1), (side / stretch).clamp_max(1)
        angle = (2 * u[:, 2] - 1) * math.radians(self.rotate)
        across, down = (1 - wide) * (2 * u[:, 3] - 1), (1 - high) * (2 * u[:, 4] - 1)
        # the grid runs from -1 to 1 along both sides, so on an oblong image its units differ by the shape
        ratio, cos, sin = height / width, torch.cos(angle), torch.sin(angle)
        theta = torch.stack(
            [
                torch.stack([wide * cos, -high * sin * ratio, across], 1),
                torch.stack([wide * sin / ratio, high * cos, down], 1),
            ],
            1,
        )
        shape = [n, channels, height, width] if self.size is None else [n, channels, self.size, self.size]
        grid = F.affine_grid(theta, shape, align_corners=False).to(images)
        seen = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
        power, gain, lift = ((2 * u[:, k] - 1).view(n, 1, 1, 1).to(images) for k in (5, 6, 7))
        seen = seen.clamp(0, 1).pow(torch.exp(power * math.log(self.gamma)))
        seen = (seen - 0.5) * (1 + self.contrast * gain) + 0.5 + 0.5 * self.contrast * lift
        if self.noise:
            strength = self.noise * u[:, 8].view(n, 1, 1, 1).to(images)
            seen = seen + strength * torch.randn(shape, generator=generator).to(images)
        return seen.clamp_(0, 1)
