"""Views: nothing when every range is closed, crops of the stated area, no mirror, the same for the same generator."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from medal.errors import ConfigError
from medal.learners.protocol import Augmentation
from medal.self_supervised import RandomViews

STILL: dict[str, Any] = {"area": 1.0, "aspect": 1.0, "rotate": 0.0, "contrast": 0.0, "gamma": 1.0, "noise": 0.0}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ramp(rows: int, height: int = 32, width: int = 32) -> Tensor:
    """Pictures that grow brighter to the right in channel 0, and downwards in channel 1."""
    across = torch.linspace(0, 1, width).expand(height, width)
    down = torch.linspace(0, 1, height)[:, None].expand(height, width)
    return torch.stack([across, down]).expand(rows, 2, height, width).clone()


def test_closed_ranges_leave_the_image():
    images = torch.rand(3, 1, 20, 28, generator=generator())
    torch.testing.assert_close(RandomViews(**STILL)(images, generator()), images, atol=1e-5, rtol=0)


def test_size_resizes():
    images = torch.full((2, 3, 40, 24), 0.25)
    seen = RandomViews(16, **STILL)(images, generator())
    torch.testing.assert_close(seen, torch.full((2, 3, 16, 16), 0.25))


def test_a_crop_keeps_its_share_of_the_area_and_is_never_mirrored():
    views = RandomViews(**{**STILL, "area": 0.4})
    seen = views(ramp(500), generator())
    wide = (seen[:, 0, :, -2] - seen[:, 0, :, 1]).mean(1) * 31 / 29
    high = (seen[:, 1, -2, :] - seen[:, 1, 1, :]).mean(1) * 31 / 29
    assert (wide > 0).all()
    assert (high > 0).all()
    area = wide * high
    assert float(area.min()) > 0.36
    assert float(area.max()) < 1.02
    assert float(area.min()) < 0.45
    assert float(area.max()) > 0.95


def test_crops_come_from_everywhere_and_stay_inside():
    views = RandomViews(**{**STILL, "area": 0.4})
    middle = views(ramp(500), generator())[:, 0].mean((1, 2))
    assert float(middle.min()) < 0.35
    assert float(middle.max()) > 0.65
    assert float(middle.mean()) == pytest.approx(0.5, abs=0.02)


def test_a_rotation_turns_both_axes_of_an_oblong_image_alike():
    seen = RandomViews(**{**STILL, "rotate": 10.0})(ramp(20, 32, 64), generator())
    middle = seen[:, :, 12:20, 24:40]
    across, down = middle.diff(dim=3).mean((2, 3)), middle.diff(dim=2).mean((2, 3))
    # the ramp to the right and the ramp downwards, by how far their gradients have turned
    right = torch.atan2(-down[:, 0], across[:, 0]).rad2deg()
    below = torch.atan2(across[:, 1], down[:, 1]).rad2deg()
    torch.testing.assert_close(right, below, atol=0.05, rtol=0)
    assert 5 < float(right.abs().max()) < 10


def test_exposure_varies_within_its_range():
    level = torch.full((400, 1, 4, 4), 0.5)
    seen = RandomViews(**{**STILL, "contrast": 0.4})(level, generator())
    assert float(seen.min()) == pytest.approx(0.3, abs=0.01)
    assert float(seen.max()) == pytest.approx(0.7, abs=0.01)
    seen = RandomViews(**{**STILL, "gamma": 2.0})(level, generator())
    assert float(seen.min()) == pytest.approx(0.25, abs=0.01)
    assert float(seen.max()) == pytest.approx(0.5**0.5, abs=0.01)


def test_the_same_generator_gives_the_same_views_and_the_next_draw_others():
    images, views = torch.rand(4, 1, 24, 24, generator=generator()), RandomViews()
    assert isinstance(views, Augmentation)
    g = generator(5)
    first, second = views(images, g), views(images, g)
    assert torch.equal(first, views(images, generator(5)))
    assert not torch.equal(first, second)
    assert float(first.min()) >= 0
    assert float(first.max()) <= 1


@pytest.mark.parametrize(
    "wrong",
    [{"area": 0.0}, {"area": 1.1}, {"aspect": 0.5}, {"contrast": 1.0}, {"gamma": 0.9}, {"noise": -1}, {"size": 8}],
)
def test_a_range_that_cannot_be_is_refused(wrong):
    with pytest.raises(ConfigError, match=r"RandomViews\(.*expected size of 16 at least"):
        RandomViews(**wrong)
