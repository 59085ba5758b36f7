"""Variation of radiographs: repeatable, small, in range, and never mirrored."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from medal.errors import ConfigError
from medal.learners.training import Augmentation
from modalities.chest_xray.augment import XrayAugment


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(rows: int = 4, height: int = 32, width: int = 32) -> Tensor:
    return torch.rand(rows, 1, height, width, generator=generator(9))


def dot(rows: int, height: int, width: int, y: float, x: float, spread: float = 2.0) -> Tensor:
    """A bright spot at a place in pixels from the centre."""
    down = torch.arange(height)[:, None] - (height - 1) / 2 - y
    across = torch.arange(width)[None] - (width - 1) / 2 - x
    return torch.exp(-(down**2 + across**2) / (2 * spread**2)).expand(rows, 1, height, width).clone()


def centre(images: Tensor) -> Tensor:
    """Where the light is, (R, 2) as (y, x) in pixels from the centre."""
    height, width = images.shape[-2:]
    mass = images[:, 0] - images[:, 0].flatten(1).amin(1)[:, None, None]
    total = mass.sum((1, 2))
    y = (mass.sum(2) * (torch.arange(height) - (height - 1) / 2)).sum(1) / total
    x = (mass.sum(1) * (torch.arange(width) - (width - 1) / 2)).sum(1) / total
    return torch.stack([y, x], 1)


def test_the_generator_decides():
    augment, images = XrayAugment(), noise()
    assert isinstance(augment, Augmentation)
    first, again, other = (augment(images, generator(s)) for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(images, noise())


def test_the_global_state_plays_no_part():
    before = torch.random.get_rng_state()
    XrayAugment()(noise(), generator())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_each_image_has_a_draw_of_its_own():
    same = noise(1).expand(4, -1, -1, -1).clone()
    moved = XrayAugment()(same, generator())
    assert len({tuple(m.flatten().tolist()) for m in moved}) == 4


def test_a_larger_batch_keeps_the_draws_of_the_first_images():
    images = noise(6)
    assert torch.equal(XrayAugment()(images, generator())[:2], XrayAugment()(images[:2], generator()))


@pytest.mark.parametrize("size", [(32, 32), (24, 40)])
def test_without_ranges_nothing_changes(size: tuple[int, int]):
    images = noise(2, *size)
    torch.testing.assert_close(XrayAugment(0, 0, 0, 0)(images, generator()), images, rtol=0, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_values_stay_between_0_and_1(channels: int):
    images = torch.rand(16, channels, 24, 24, generator=generator(3)).round()
    moved = XrayAugment(20, 0.3, 0.5, 0.9)(images, generator())
    assert moved.shape == images.shape
    assert 0 <= float(moved.min()) <= float(moved.max()) <= 1


def test_left_stays_left():
    """A heart on one side stays on it; the widest usual ranges, many draws."""
    moved = XrayAugment(contrast=0)(dot(300, 48, 48, 0, 14), generator())
    assert float(centre(moved)[:, 1].min()) > 5
    # neither is it turned upside down
    upper = XrayAugment(contrast=0)(dot(300, 48, 48, -14, 0), generator())
    assert float(centre(upper)[:, 0].max()) < -5


def test_shift_is_a_share_of_the_width_both_ways():
    for height, width in ((48, 48), (32, 64)):
        moved = centre(XrayAugment(0, 0.1, 0, 0)(dot(400, height, width, 0, 0), generator()))
        reach = 0.1 * width
        for axis in range(2):
            assert float(moved[:, axis].abs().max()) <= reach + 0.1
            # uniform draws: the largest of 400 is near the limit, the mean near 0
            assert float(moved[:, axis].abs().max()) > 0.95 * reach
            assert abs(float(moved[:, axis].mean())) < 0.15 * reach


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 80)])
def test_rotation_keeps_distances_also_on_an_oblong_image(height: int, width: int):
    moved = centre(XrayAugment(30, 0, 0, 0)(dot(200, height, width, 0, 15), generator()))
    torch.testing.assert_close(moved.norm(dim=1), torch.full((200,), 15.0), rtol=0, atol=0.1)
    angle = torch.rad2deg(torch.atan2(moved[:, 0], moved[:, 1]))
    assert float(angle.abs().max()) <= 30.1
    assert float(angle.max()) > 28
    assert float(angle.min()) < -28


def test_scale_changes_size_within_its_share():
    distance = centre(XrayAugment(0, 0, 0.2, 0)(dot(200, 64, 64, 0, 15), generator()))[:, 1]
    # the map goes from the result back to the image, so sizes run from 1 / 1.2 to 1 / 0.8
    assert 15 / 1.2 - 0.1 <= float(distance.min()) < 13
    assert 18 < float(distance.max()) <= 15 / 0.8 + 0.1


def test_contrast_turns_around_the_middle_grey():
    grey = torch.full((200, 1, 8, 8), 0.5)
    moved = XrayAugment(0, 0, 0, 0.2)(grey, generator())[:, 0, 0, 0]
    # brightness changes by half the share
    assert float((moved - 0.5).abs().max()) <= 0.1 + 1e-6
    assert float((moved - 0.5).abs().max()) > 0.095
    step = torch.full((200, 1, 8, 8), 0.4)
    step[..., 4:] = 0.6
    shown = XrayAugment(0, 0, 0, 0.2)(step, generator())
    gain = (shown[:, 0, 0, 7] - shown[:, 0, 0, 0]) / 0.2
    assert 0.8 - 1e-4 <= float(gain.min()) < 0.81
    assert 1.19 < float(gain.max()) <= 1.2 + 1e-4


def test_borders_are_continued():
    white = torch.ones(50, 1, 24, 24)
    assert torch.allclose(XrayAugment(contrast=0)(white, generator()), white)


@pytest.mark.parametrize(
    "ranges",
    [{"rotate": -1.0}, {"shift": -0.1}, {"scale": 1.0}, {"contrast": 1.0}, {"contrast": -0.1}, {"rotate": math.nan}],
)
def test_ranges_that_would_mirror_or_invert(ranges: dict[str, float]):
    with pytest.raises(ConfigError, match="every range must be at least 0, scale and contrast below 1"):
        XrayAugment(**ranges)
