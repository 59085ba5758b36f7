"""Stronger variations of images and of features."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from medal.errors import ConfigError
from medal.learners.protocol import Augmentation
from medal.semi_supervised import Chain, FeatureDropout, GaussianNoise, RandomErasing

KINDS = [GaussianNoise(), FeatureDropout(), RandomErasing(), Chain([GaussianNoise(0.1), RandomErasing()])]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def drawn(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: type(k).__name__)
@pytest.mark.parametrize("shape", [(5, 30), (5, 1, 12, 9), (5, 3, 8, 8)])
def test_shape_stays_and_the_generator_decides(kind: Augmentation, shape: tuple[int, ...]):
    images = drawn(*shape)
    kept = images.clone()
    found = kind(images, generator())
    assert isinstance(kind, Augmentation)
    assert found.shape == images.shape
    assert torch.equal(images, kept)
    assert not torch.equal(found, images)
    assert torch.equal(found, kind(images, generator()))
    assert bool(torch.isfinite(found).all())


def test_noise_is_in_units_of_the_rows_own_spread():
    images = torch.cat([drawn(1, 4000), 50 * drawn(1, 4000) + 10])
    added = GaussianNoise(0.3)(images, generator()) - images
    ratio = added.std(1, correction=0) / images.std(1, correction=0)
    torch.testing.assert_close(ratio, torch.full((2,), 0.3), rtol=0.05, atol=0)
    assert torch.equal(GaussianNoise(0.0)(images, generator()), images)


def test_dropped_features_take_the_rows_mean():
    images = drawn(4, 2000)
    found = FeatureDropout(0.25)(images, generator())
    covered = found != images
    assert float(covered.float().mean()) == pytest.approx(0.25, abs=0.02)
    torch.testing.assert_close(found[covered], images.mean(1, keepdim=True).expand_as(images)[covered])
    assert torch.equal(FeatureDropout(0.0)(images, generator()), images)


def test_dropped_places_are_those_of_all_channels():
    images = drawn(3, 2, 10, 10)
    covered = FeatureDropout(0.3)(images, generator()) != images
    assert torch.equal(covered[:, 0], covered[:, 1])


@pytest.mark.parametrize("shape", [(40, 1, 32, 32), (40, 3, 20, 40)])
def test_one_rectangle_is_covered_with_the_mean(shape: tuple[int, ...]):
    images = drawn(*shape)
    found = RandomErasing((0.1, 0.3), 2.0)(images, generator())
    covered = (found != images).any(1)
    for image, made, mask in zip(images, found, covered, strict=True):
        rows, columns = torch.nonzero(mask.any(1)).flatten(), torch.nonzero(mask.any(0)).flatten()
        assert bool(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all())
        assert 0.07 < float(mask.float().mean()) < 0.33
        sides = (len(rows) / mask.shape[0], len(columns) / mask.shape[1])
        assert max(sides) / min(sides) < 2.0 * 1.3
        mean = image.mean((1, 2))
        torch.testing.assert_close(made[:, mask], mean[:, None].expand(-1, int(mask.sum())))
    assert len({tuple(torch.nonzero(m)[0].tolist()) for m in covered}) > 10


def test_of_features_one_run_is_covered():
    images = drawn(20, 100)
    covered = RandomErasing((0.2, 0.2))(images, generator()) != images
    for mask in covered:
        places = torch.nonzero(mask).flatten()
        assert len(places) == 20
        assert int(places[-1] - places[0]) == 19


def test_the_chance_is_of_each_image():
    images = drawn(400, 50)
    changed = (RandomErasing(chance=0.3)(images, generator()) != images).any(1)
    assert float(changed.float().mean()) == pytest.approx(0.3, abs=0.07)
    assert torch.equal(RandomErasing(chance=0.0)(images, generator()), images)


def test_a_chain_goes_in_order():
    def double(images: Tensor, generator: torch.Generator) -> Tensor:
        return 2 * images

    def plus(images: Tensor, generator: torch.Generator) -> Tensor:
        return images + 1

    assert torch.equal(Chain([double, plus])(torch.ones(1, 2), generator()), torch.full((1, 2), 3.0))


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (GaussianNoise, {"size": -1.0}, r"GaussianNoise\.size: found -1\.0"),
        (FeatureDropout, {"share": 1.0}, r"FeatureDropout\.share: found 1\.0"),
        (RandomErasing, {"share": (0.5, 0.2)}, r"RandomErasing\.share: found \(0\.5, 0\.2\)"),
        (RandomErasing, {"aspect": 0.5}, r"RandomErasing\.aspect: found 0\.5"),
        (RandomErasing, {"chance": 2.0}, r"RandomErasing\.chance: found 2\.0"),
    ],
)
def test_settings(kind: type, settings: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        kind(**settings)


def test_rows_that_are_neither_images_nor_features():
    with pytest.raises(
        ConfigError, match=r"RandomErasing: found rows of shape \(2, 3, 4, 5\), expected images or feat"
    ):
        RandomErasing()(torch.zeros(1, 2, 3, 4, 5), generator())
