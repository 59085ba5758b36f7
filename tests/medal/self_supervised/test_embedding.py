"""Embeddings without a label: every row, centred over the pool part; pixels where there are few images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from picture import pictures
from sklearn.decomposition import PCA
from toy import planted

import medal.self_supervised.embedding as embedding
from medal.errors import ConfigError
from medal.representativeness import cold_start
from medal.seeding import Seed
from medal.self_supervised import ConvNet, PrincipalPixels, RandomViews, SimCLR, embed
from medal.self_supervised.pixels import small_pixels

POOL = torch.arange(24)


def test_few_images_are_read_as_pixels(tmp_path: Path):
    source, place = pictures()
    features = embed(source, POOL, tmp_path)
    assert features.shape == (40, 24)
    torch.testing.assert_close(features[POOL].mean(0), torch.zeros(24), atol=1e-4, rtol=0)
    side = features[:, 0] > 0
    assert torch.equal(side, place == 1) or torch.equal(side, place == 0)
    assert torch.equal(embed(source, POOL, tmp_path), features)
    assert torch.equal(embed(source, POOL), features)
    assert sorted(p.suffix for p in tmp_path.iterdir() if p.suffix != ".lock") == [".npy", ".safetensors"]


def test_enough_images_are_learned_from(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embedding, "STEPS", 2)
    monkeypatch.setattr(embedding, "ENOUGH", 24)
    source, _ = pictures()
    features = embed(source, POOL, seed=Seed(0))
    assert features.shape == (40, ConvNet().build(1).features)
    assert torch.equal(embed(source, POOL, seed=Seed(0)), features)
    assert not torch.equal(embed(source, POOL, seed=Seed(1)), features)
    # one image fewer, or none with two axes in space
    assert embed(source, torch.arange(23)).shape == (40, 23)
    vectors, _ = planted(40, seed=0)
    assert embed(vectors, POOL).shape == (40, 8)


def test_an_encoder_of_ones_own_can_be_named():
    source, _ = pictures()
    quick = SimCLR(ConvNet(2), None, RandomViews(), steps=2, batch=8)
    assert embed(source, POOL, encoder=quick).shape == (40, 16)


def test_components_are_those_of_scikit_learn():
    source, _ = pictures()
    encoder = PrincipalPixels(side=6, features=3).fit(source, POOL)
    table = small_pixels(source.images(range(40)), 6).numpy()
    expected = torch.from_numpy(PCA(3, svd_solver="full").fit(table[:24]).transform(table)).float()
    found = encoder.encode(source.images(range(40)))
    torch.testing.assert_close(found.abs(), expected.abs(), atol=1e-4, rtol=1e-3)
    directions = encoder.state_dict()["directions"]
    assert (directions.gather(1, directions.abs().argmax(1, keepdim=True)) > 0).all(), "signs are fixed"
    assert torch.equal(
        PrincipalPixels(side=6).restore(source, encoder.state_dict()).encode(source.images([3])), found[3:4]
    )


def test_components_read_the_pool_part_alone():
    source, _ = pictures()
    source.forbidden = frozenset(range(24, 40))
    encoder = PrincipalPixels(batch=5).fit(source, POOL)
    whole = PrincipalPixels().fit(source, POOL)
    torch.testing.assert_close(encoder.encode(source.images(POOL)), whole.encode(source.images(POOL)))


def test_a_cold_start_from_features_shows_both_places():
    source, place = pictures()
    features = embed(source, POOL)
    picks = cold_start(features, torch.empty(0, dtype=torch.long), POOL, 2, Seed(0))
    assert sorted(place[picks].tolist()) == [0, 1]


def test_bad_input_is_one_line():
    source, _ = pictures()
    with pytest.raises(ConfigError, match="PrincipalPixels: 1 images in the pool part, expected 2 at least"):
        embed(source, torch.tensor([0]))
    with pytest.raises(ConfigError, match="expected numbers of 1 at least"):
        PrincipalPixels(side=0)
    with pytest.raises(ConfigError, match="images have 4 axes in space, expected 3 at most"):
        small_pixels(torch.zeros(1, 1, 2, 2, 2, 2), 2)
