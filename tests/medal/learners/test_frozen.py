"""Frozen features: the encoder reads every image once, and the head trains on what it said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from toy import VectorSource, planted

from medal.contracts import check_learner
from medal.errors import OutputError
from medal.learners import Beta, Frozen, MCDropout, Parts, Perceptron
from medal.learners.frozen import Encoder, FeatureSource
from medal.pool import LabelTable, Pool
from medal.seeding import Seed
from medal.split import Split
from medal.units import Units


class Spy:
    """A fixed linear encoder that notes what it read."""

    def __init__(self, digest: str = "spy", width: int = 5) -> None:
        self.digest = digest
        self.matrix = torch.randn(8, width, generator=torch.Generator().manual_seed(0))
        self.read: list[int] = []
        self.gradients: list[bool] = []

    def encode(self, images: Tensor) -> Tensor:
        self.read.append(len(images))
        self.gradients.append(torch.is_grad_enabled())
        return images @ self.matrix


def source_of(rows: int = 40) -> VectorSource:
    return planted(rows, seed=0)[0]


def test_features_are_what_the_encoder_says():
    source, spy = source_of(), Spy()
    features = FeatureSource(source, spy, batch=16)
    assert isinstance(spy, Encoder)
    assert features.shape == (5,)
    torch.testing.assert_close(features.images([3, 39, 0]), source.images([3, 39, 0]) @ spy.matrix)
    assert torch.equal(features.images(torch.tensor([3])), features.images([3]))
    assert features.images([]).shape == (0, 5)
    assert spy.read == [16, 16, 8]
    assert not any(spy.gradients)


def test_everything_else_is_the_sources_own():
    source = source_of()
    features = FeatureSource(source, Spy())
    for name in ("name", "labels", "ids", "groups", "splits", "meta", "quarantined"):
        assert getattr(features, name) == getattr(source, name)
    assert features.preview(3) == source.preview(3)
    assert features.digest != source.digest


def test_features_are_kept_on_disk_and_computed_once(tmp_path: Path):
    source = source_of()
    first, second = Spy(), Spy()
    told: list[tuple[str, int, int]] = []
    a = FeatureSource(source, first, tmp_path / "new", progress=lambda *t: told.append(t))
    b = FeatureSource(source, second, tmp_path / "new")
    assert second.read == []
    assert told == [("encoding images", 32, 40), ("encoding images", 40, 40)]
    every = torch.arange(40)
    assert torch.equal(a.images(every), b.images(every))
    assert [p.suffix for p in (tmp_path / "new").iterdir()] == [".npy"]
    # what is handed out is not the stored table
    b.images(every).fill_(7)
    assert torch.equal(b.images(every), a.images(every))


def test_another_encoder_or_other_images_are_read_anew(tmp_path: Path):
    source = source_of()
    FeatureSource(source, Spy(), tmp_path)
    other = Spy("other")
    FeatureSource(source, other, tmp_path)
    changed, again = source_of(), Spy()
    changed.digest = "changed"
    FeatureSource(changed, again, tmp_path)
    assert sum(other.read) == sum(again.read) == 40
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("harm", ["garbage", "other length"])
def test_a_table_that_cannot_be_used_is_made_again(tmp_path: Path, harm: str):
    source = source_of()
    whole = FeatureSource(source, Spy(), tmp_path).images(range(40))
    path = next(tmp_path.iterdir())
    if harm == "garbage":
        path.write_bytes(b"no table")
    else:
        np.save(path, np.zeros((39, 5), np.float32))
    for read in (40, 0):
        spy = Spy()
        assert torch.equal(FeatureSource(source, spy, tmp_path).images(range(40)), whole)
        assert sum(spy.read) == read


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_refused(tmp_path: Path, bad: float):
    source = source_of()
    source.vectors[17] = bad
    with pytest.raises(OutputError, match=r"Spy gave features \(32, 5\) for 32 images; expected finite numbers"):
        FeatureSource(source, Spy(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_features_of_another_shape_are_refused():
    class Maps(Spy):
        def encode(self, images: Tensor) -> Tensor:
            return super().encode(images)[:, :, None]

    with pytest.raises(OutputError, match=r"Maps gave features \(32, 5, 1\) for 32 images; .* one line an image"):
        FeatureSource(source_of(), Maps())


def test_training_and_prediction_read_no_image_again(tmp_path: Path):
    source, truth = planted(40, seed=0)
    spy = Spy()
    learner = Frozen(source, spy, cache=tmp_path, steps=20)
    split = Split(source.ids, source.groups, ("pool",) * 40)
    pool = Pool(Units("image", source.ids, source.groups), source.labels, split)
    learner.fit(pool, LabelTable(torch.arange(20), truth.values[:20]), Seed(0))
    assert learner.predict().get("marginals", torch.arange(40)).shape == (40, 1, 2)
    assert sum(spy.read) == 40


@pytest.mark.parametrize("parts", [Parts(), Parts(Beta(), MCDropout(3))])
def test_contract(tmp_path: Path, parts: Parts):
    source = source_of(20)
    learner = Frozen(source, Spy(), Perceptron(8), tmp_path, parts, steps=5, batch=8)
    check_learner(learner, source)
