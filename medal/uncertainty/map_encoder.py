"""Auto-encoder of saliency maps: 32 x 32 places to 64 numbers (survey, section 5.1.1).

Mahapatra et al., IEEE TMI 2021: deep features of saliency maps come from an auto-encoder that is trained on the maps
alone. Each map is rectified, scaled to a largest value of 1, so that its form counts and not its strength, and brought
to 32 x 32 places.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from medal.errors import OutputError
from medal.seeding import Seed

SIDE = 32
CODE = 64
BATCH = 64
RATE = 4e-3


def normal_maps(maps: Float[Tensor, "r l *s"]) -> Float[Tensor, "r l 32 32"]:
    """Rectified maps with a largest value of 1, resampled to 32 x 32; a map that is nowhere above 0 stays empty.

    Args:
        maps: (R, L, h, w), signed.

    Raises:
        OutputError: when maps are not flat images.

    Example:
        >>> normal_maps(torch.full((1, 1, 2, 2), 5.0)).unique()
        tensor([1.])
    """
    if maps.ndim != 4:
        raise OutputError(f"the auto-encoder of maps found {tuple(maps.shape)}, expected (R, L, h, w)")
    x = maps.float().clamp_min(0)
    top = x.flatten(2).amax(2)[..., None, None]
    x = x / top.where(top > 0, torch.ones_like(top))
    return F.interpolate(x, size=(SIDE, SIDE), mode="bilinear", align_corners=False)


class MapEncoder(nn.Module):
    """Two layers each way; on maps of a few places it learns as much as convolutions do, in a third of the time."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(SIDE**2, 128), nn.ReLU(), nn.Linear(128, CODE))
        self.decoder = nn.Sequential(
            nn.ReLU(), nn.Linear(CODE, 128), nn.ReLU(), nn.Linear(128, SIDE**2), nn.Unflatten(1, (SIDE, SIDE))
        )

    def forward(self, maps: Float[Tensor, "n 32 32"]) -> Float[Tensor, "n 32 32"]:
        return self.decoder(self.encoder(maps))

    @torch.no_grad()
    def codes(self, maps: Float[Tensor, "r l 32 32"]) -> Float[Tensor, "r l 64"]:
        """Deep features of every map, whatever block it comes in."""
        return self.encoder(maps.flatten(0, 1)).unflatten(0, maps.shape[:2])


def train_map_encoder(maps: Float[Tensor, "n 32 32"], seed: Seed, steps: int = 100) -> tuple[MapEncoder, list[float]]:
    """An encoder that was trained to give the maps back.

    Args:
        maps: (n, 32, 32), n at least 1.
        seed: of the weights and the order.
        steps: of Adam, with batches of 64.

    Returns:
        The encoder and its mean squared error after each step.
    """
    errors = []
    with (seed / "weights").globally(), torch.enable_grad():
        model = MapEncoder()
        adam = torch.optim.Adam(model.parameters(), lr=RATE)
        generator = (seed / "order").torch()
        for _ in range(steps):
            batch = maps[torch.randint(len(maps), (BATCH,), generator=generator)]
            error = (model(batch) - batch).square().mean()
            adam.zero_grad()
            error.backward()
            adam.step()
            errors.append(float(error.detach()))
    return model.eval(), errors


def sampled(blocks: Iterable[Tensor], total: int, most: int, seed: Seed) -> Tensor:
    """A random sample of at most `most` maps from a stream of blocks (R, L, 32, 32), whatever the size of its blocks.

    Args:
        blocks: of maps, `total` in all.
        total: R x L over all blocks.
        most: size of the sample.
        seed: of the sample.
    """
    chosen = torch.arange(total)
    if total > most:
        chosen = torch.randperm(total, generator=seed.torch())[:most].sort().values
    return torch.cat(list(_chosen(blocks, chosen)))


def _chosen(blocks: Iterable[Tensor], chosen: Tensor) -> Iterator[Tensor]:
    start = 0
    for block in blocks:
        flat = block.flatten(0, 1)
        here = chosen[(chosen >= start) & (chosen < start + len(flat))] - start
        yield flat[here]
        start += len(flat)
