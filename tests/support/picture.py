"""A source of small pictures in which a bright square lies in one of two places, and one that forbids some rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from toy import VectorSource, names


@dataclass
class PictureSource(VectorSource):
    """Pictures (R, 1, 24, 24); rows in `forbidden` raise when they are read."""

    forbidden: frozenset[int] = field(default_factory=frozenset)

    def images(self, rows: Sequence[int] | Tensor) -> Tensor:
        wanted = set(torch.as_tensor(rows).tolist())
        if wanted & self.forbidden:
            raise AssertionError(f"rows {sorted(wanted & self.forbidden)} were read")
        return super().images(rows)


def pictures(rows: int = 40, seed: int = 0, digest: str = "pictures") -> tuple[PictureSource, Tensor]:
    """Pictures with noise, and the place of the square in each, 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    place = torch.randint(0, 2, (rows,), generator=generator)
    images = 0.3 + 0.1 * torch.rand(rows, 1, 24, 24, generator=generator)
    for row, where in enumerate(place.tolist()):
        corner = 4 if where else 12
        images[row, :, corner : corner + 8, corner : corner + 8] += 0.5
    ids, groups = names(rows)
    return PictureSource(images, ("left", "right"), ids, groups, digest=digest), place
