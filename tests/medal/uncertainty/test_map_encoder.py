from __future__ import annotations

import pytest
import torch
from maps import uniform
from torch import Tensor

from medal.errors import OutputError
from medal.seeding import Seed
from medal.uncertainty.map_encoder import normal_maps, sampled, train_map_encoder


def blobs(count: int, seed: int = 0) -> Tensor:
    """One bright disc each, somewhere."""
    centre = 6 + 20 * uniform(count, 2, 1, 1, seed=seed)
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    return torch.exp(-((y - centre[:, 0]).square() + (x - centre[:, 1]).square()) / 30)


def test_maps_are_rectified_scaled_and_resampled():
    maps = torch.tensor([[[[-5.0, 0.0], [2.0, 4.0]]]])
    normal = normal_maps(maps)
    assert normal.shape == (1, 1, 32, 32)
    assert (float(normal.min()), float(normal.max())) == (0, 1)
    torch.testing.assert_close(normal_maps(1e-9 * maps), normal)
    assert torch.equal(normal_maps(torch.full((2, 1, 3, 3), -1.0)), torch.zeros(2, 1, 32, 32))
    torch.testing.assert_close(normal_maps(torch.full((1, 1, 3, 5), 0.2)), torch.ones(1, 1, 32, 32))
    # maps of 32 x 32 stay as they are
    same = uniform(1, 2, 32, 32)
    torch.testing.assert_close(normal_maps(same), same / same.flatten(2).amax(2)[..., None, None])


def test_maps_of_volumes_are_refused():
    with pytest.raises(OutputError, match=r"found \(1, 2, 4, 4, 4\), expected \(R, L, h, w\)"):
        normal_maps(torch.zeros(1, 2, 4, 4, 4))


def test_training_learns_the_maps_and_repeats_itself():
    maps = blobs(200)
    with torch.no_grad():
        model, errors = train_map_encoder(maps, Seed(0), steps=100)
    spread = float((maps - maps.mean(0)).square().mean())
    assert sum(errors[-10:]) / 10 < 0.2 * spread, "better than the mean map"
    assert errors[-1] < errors[0] / 5
    again, _ = train_map_encoder(maps, Seed(0), steps=100)
    other, _ = train_map_encoder(maps, Seed(1), steps=100)
    codes = model.codes(maps[:8].view(4, 2, 32, 32))
    assert codes.shape == (4, 2, 64)
    assert not codes.requires_grad
    assert torch.equal(again.codes(maps[:8].view(4, 2, 32, 32)), codes)
    assert not torch.equal(other.codes(maps[:8].view(4, 2, 32, 32)), codes)


def test_training_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    train_map_encoder(blobs(3), Seed(0), steps=2)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.is_grad_enabled()


def test_codes_of_near_maps_are_near():
    model, _ = train_map_encoder(blobs(200), Seed(0), steps=100)
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    discs = torch.stack([torch.exp(-((y - c).square() + (x - c).square()) / 30) for c in (8.0, 9.0, 24.0)])
    first, second, far = model.codes(discs[None])[0]
    assert torch.dist(first, second) < 0.5 * torch.dist(first, far)


@pytest.mark.parametrize("most", [1, 7, 30, 100])
def test_a_sample_does_not_depend_on_the_blocks(most: int):
    maps = uniform(10, 3, 32, 32)
    whole = sampled([maps], 30, most, Seed(0))
    assert torch.equal(sampled(maps.split(3), 30, most, Seed(0)), whole)
    assert len(whole) == min(most, 30)
    assert len(torch.unique(whole[:, 0, 0])) == len(whole), "each map once"
    if most >= 30:
        assert torch.equal(whole, maps.flatten(0, 1))
