"""Principal components of small images: features for pools that are too small to learn from (survey, section 4.2.1).

Images are averaged down to a few pixels and projected on the directions in which the pool varies most. It knows where
the film is bright and dark, and nothing finer; it costs a second and needs no network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from medal.errors import ConfigError
from medal.self_supervised.once import trained_once, training_key
from medal.source import Progress, Source, silent
from medal.weights import weights_hash


@dataclass(frozen=True)
class PrincipalPixels:
    """Features by principal component analysis of small images; an encoder that looks at the pool's rows first.

    Args:
        side: pixels along each axis in space.
        features: components at most; there are fewer when rows are.
        batch: images that are read at a time.

    Raises:
        ConfigError: on a number below 1.
    """

    side: int = 16
    features: int = 32
    batch: int = 256

    def __post_init__(self) -> None:
        if min(self.side, self.features, self.batch) < 1:
            raise ConfigError(f"{self}: expected numbers of 1 at least")

    def fit(
        self, source: Source, rows: Tensor, cache: Path | None = None, progress: Progress = silent
    ) -> ProjectedPixels:
        """Looks at some rows.

        Args:
            source: images (R, channels, *S).
            rows: (n) the only positions that are read, n at least 2.
            cache: folder where the components are kept.
            progress: told after each block.

        Raises:
            ConfigError: when there are too few rows to vary.
        """
        if len(rows) < 2:
            raise ConfigError(f"PrincipalPixels: {len(rows)} images in the pool part, expected 2 at least")
        key = training_key(source, rows, self)

        def make() -> Mapping[str, Tensor]:
            blocks = []
            for block in rows.split(self.batch):
                blocks.append(small_pixels(source.images(block), self.side))
                progress("looking at the pool", sum(map(len, blocks)), len(rows))
            table = torch.cat(blocks)
            mean = table.mean(0)
            _, strength, directions = torch.linalg.svd(table - mean, full_matrices=False)
            directions = directions[: self.features]
            # a direction and its opposite are the same; the sign is fixed by the largest entry
            largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
            return {"mean": mean, "directions": directions * largest.sign(), "strength": strength[: self.features]}

        return ProjectedPixels(self.side, trained_once(cache, key, make, progress))

    def restore(self, source: Source, state: Mapping[str, Tensor]) -> ProjectedPixels:
        """The encoder of an earlier `fit`."""
        return ProjectedPixels(self.side, state)


def small_pixels(images: Tensor, side: int) -> Tensor:
    """Images averaged down and laid out in a line, (R, channels * side^axes) float64.

    Example:
        >>> small_pixels(torch.tensor([[[[0.0, 1.0], [1.0, 1.0]]]]), 1)
        tensor([[0.7500]], dtype=torch.float64)
    """
    axes = images.ndim - 2
    if not axes:
        return images.double()
    pool = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}.get(axes)
    if pool is None:
        raise ConfigError(f"PrincipalPixels: images have {axes} axes in space, expected 3 at most")
    return pool(images, side).flatten(1).double()


class ProjectedPixels:
    """Small images along fixed directions.

    Args:
        side: of the small images.
        state: "mean" (P) and "directions" (F, P), float64.
    """

    def __init__(self, side: int, state: Mapping[str, Tensor]) -> None:
        self._side, self._state = side, dict(state)
        self.digest = hashlib.sha256(f"pixels\x1f{side}\x1f{weights_hash(self._state)}".encode()).hexdigest()

    def encode(self, images: Tensor) -> Tensor:
        """Features (R, F)."""
        pixels = small_pixels(images, self._side) - self._state["mean"]
        return (pixels @ self._state["directions"].T).float()

    def state_dict(self) -> dict[str, Tensor]:
        """What `PrincipalPixels.restore` takes."""
        return dict(self._state)
