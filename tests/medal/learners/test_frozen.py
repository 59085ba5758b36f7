"""Frozen features: the encoder reads every image once, and the head trains on what it said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from toy import VectorSource, planted

from medal.contracts import check_learner
from medal.errors import ConfigError, OutputError
from medal.learners import Beta, Frozen, MCDropout, Parts, Perceptron
from medal.learners.frozen import Encoder, FeatureSource, LearnedEncoder, TrainedEncoder
from medal.pool import LabelTable, Pool
from medal.seeding import Seed
from medal.source import Progress, Source, silent
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


def stored(folder: Path) -> list[Path]:
    """What a cache holds besides locks."""
    return sorted(p for p in folder.iterdir() if p.suffix != ".lock")


def pool_of(source: VectorSource, parts: tuple[str, ...] | None = None) -> Pool:
    parts = parts or ("pool",) * len(source.ids)
    return Pool(
        Units("image", source.ids, source.groups), source.labels, Split(tuple(source.ids), tuple(source.groups), parts)
    )


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
    assert [p.suffix for p in stored(tmp_path / "new")] == [".npy"]
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
    assert len(stored(tmp_path)) == 3


@pytest.mark.parametrize("harm", ["garbage", "other length"])
def test_a_table_that_cannot_be_used_is_made_again(tmp_path: Path, harm: str):
    source = source_of()
    whole = FeatureSource(source, Spy(), tmp_path).images(range(40))
    path = stored(tmp_path)[0]
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
    assert stored(tmp_path) == []


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
    learner.fit(pool_of(source), LabelTable(torch.arange(20), truth.values[:20]), Seed(0))
    assert learner.predict().get("marginals", torch.arange(40)).shape == (40, 1, 2)
    assert sum(spy.read) == 40


@pytest.mark.parametrize("parts", [Parts(), Parts(Beta(), MCDropout(3))])
def test_contract(tmp_path: Path, parts: Parts):
    source = source_of(20)
    learner = Frozen(source, Spy(), Perceptron(8), tmp_path, parts, steps=5, batch=8)
    check_learner(learner, source)


# ---- standardised features


def test_standardised_features_are_level_and_one_over_the_rows_that_were_named():
    source = source_of()
    source.vectors[30:] *= 100  # rows outside of the pool part must not count
    features = FeatureSource(source, Spy())
    features.standardise(torch.arange(30))
    known = features.images(range(30)).double()
    torch.testing.assert_close(known.mean(0), torch.zeros(5).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(known.std(0, correction=0), torch.ones(5).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(features.raw(range(40)), source.images(range(40)) @ Spy().matrix)


def test_a_feature_that_never_varies_stays_level_and_finite():
    spy = Spy()
    spy.matrix[:, 2] = 0
    features = FeatureSource(source_of(), spy)
    features.standardise(torch.arange(40))
    assert torch.equal(features.images(range(40))[:, 2], torch.zeros(40))


def test_the_scale_comes_from_the_pool_part_and_travels_with_the_state(tmp_path: Path):
    source, truth = planted(40, seed=0)
    parts = ("pool",) * 30 + ("test",) * 10
    learner = Frozen(source, Spy(), cache=tmp_path, steps=5, standardise=True)
    learner.fit(pool_of(source, parts), LabelTable(torch.arange(20), truth.values[:20]), Seed(0))
    state = learner.state_dict()
    raw = source.images(range(30)) @ Spy().matrix
    torch.testing.assert_close(state["standardise.mean"], raw.mean(0))
    torch.testing.assert_close(state["standardise.deviation"], raw.std(0, correction=0))
    # other data, where nobody knows a pool part
    other = planted(12, seed=7)[0]
    other.digest = "other"
    again = Frozen(other, Spy(), steps=5, standardise=True)
    again.load_state_dict(state, Seed(0))
    here = Frozen(source, Spy(), steps=5, standardise=True)
    here.load_state_dict(state, Seed(0))
    rows = torch.arange(12)
    assert again.predict().get("marginals", rows).shape == (12, 1, 2)
    assert torch.equal(here.predict().get("marginals", rows), learner.predict().get("marginals", rows))


def test_a_state_of_another_kind_is_refused():
    source, truth = planted(40, seed=0)
    plain = Frozen(source, Spy(), steps=2)
    plain.fit(pool_of(source), LabelTable(torch.arange(20), truth.values[:20]), Seed(0))
    for other in (Frozen(source, Spy(), standardise=True), Frozen(source, Learning())):
        with pytest.raises(ConfigError, match="trained with another encoder, or with `standardise` set otherwise"):
            other.load_state_dict(plain.state_dict(), Seed(0))


@pytest.mark.parametrize("encoder", [Spy(), None])
def test_nothing_is_read_before_it_is_needed(encoder: Spy | None):
    learner = Frozen(source_of(), encoder or Learning())
    with pytest.raises(ConfigError, match="not trained yet"):
        learner.state_dict()
    assert encoder is None or encoder.read == []


def test_features_are_varied_in_training_alone():
    source, truth = planted(40, seed=0)
    seen: list[tuple[int, ...]] = []

    @dataclass(frozen=True)
    class Noted:
        def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
            seen.append(tuple(images.shape))
            return images

    learner = Frozen(source, Spy(), steps=3, batch=8, augment=Noted())
    learner.fit(pool_of(source), LabelTable(torch.arange(20), truth.values[:20]), Seed(0))
    learner.predict().get("marginals", torch.arange(40))
    assert seen == [(8, 5)] * 3


# ---- encoders that learn from the pool part first


class Centred:
    """Subtracts what it learned."""

    def __init__(self, mean: Tensor) -> None:
        self.mean = mean
        self.digest = f"centred {mean.tolist()}"

    def encode(self, images: Tensor) -> Tensor:
        return images - self.mean

    def state_dict(self) -> dict[str, Tensor]:
        return {"mean": self.mean}


class Learning:
    """Learns the mean of the rows that it may look at."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []

    def fit(self, source: Source, rows: Tensor, cache: Path | None = None, progress: Progress = silent) -> Centred:
        self.seen.append(rows.tolist())
        return Centred(source.images(rows).mean(0))

    def restore(self, source: Source, state: Mapping[str, Tensor]) -> Centred:
        return Centred(state["mean"])


def test_an_encoder_that_learns_sees_the_pool_part_alone_and_travels_with_the_head():
    source, truth = planted(40, seed=0)
    parts = ("pool",) * 26 + ("validation",) * 4 + ("test",) * 10
    encoder = Learning()
    assert isinstance(encoder, TrainedEncoder)
    assert not isinstance(encoder, Encoder)
    assert isinstance(Centred(torch.zeros(1)), LearnedEncoder)
    assert not isinstance(Spy(), TrainedEncoder | LearnedEncoder)
    learner = Frozen(source, encoder, steps=5)
    learner.fit(pool_of(source, parts), LabelTable(torch.arange(20), truth.values[:20]), Seed(0))
    assert encoder.seen == [list(range(26))]
    state = learner.state_dict()
    assert torch.equal(state["encoder.mean"], source.images(range(26)).mean(0))
    other = planted(12, seed=7)[0]
    other.digest = "other"
    idle = Learning()
    again = Frozen(other, idle, steps=5)
    again.load_state_dict(state, Seed(0))
    assert idle.seen == []
    features = again.source.images(range(12))
    torch.testing.assert_close(features, other.images(range(12)) - source.images(range(26)).mean(0))


def test_the_next_training_uses_the_same_encoder(tmp_path: Path):
    source, truth = planted(40, seed=0)
    learner = Frozen(source, Learning(), cache=tmp_path, steps=2)
    table = LabelTable(torch.arange(20), truth.values[:20])
    learner.fit(pool_of(source), table, Seed(0))
    first = learner.predict()
    before = first.get("marginals", torch.arange(40))
    learner.fit(pool_of(source), table, Seed(1))
    assert torch.equal(first.get("marginals", torch.arange(40)), before)
    assert len(stored(tmp_path)) == 1


def test_contract_of_a_learned_encoder(tmp_path: Path):
    source = source_of(20)
    check_learner(Frozen(source, Learning(), Perceptron(8), tmp_path, steps=5, batch=8, standardise=True), source)


def test_a_second_training_reads_no_image_again_even_without_a_cache():
    source, truth = planted(40, seed=0)
    spy = Spy()
    learner = Frozen(source, spy, steps=2)
    for number in range(2):
        learner.fit(pool_of(source), LabelTable(torch.arange(20), truth.values[:20]), Seed(number))
    assert sum(spy.read) == 40


def test_other_rows_of_the_same_files_do_not_get_each_others_features(tmp_path: Path):
    whole, _ = planted(12, seed=1)
    one = VectorSource(whole.vectors[:6], whole.labels, whole.ids[:6], whole.groups[:6])
    other = VectorSource(whole.vectors[6:], whole.labels, whole.ids[6:], whole.groups[6:])
    assert one.digest == other.digest  # the digest is of the files, and what is shown of them can differ
    encoder = Spy()
    FeatureSource(one, encoder, tmp_path)
    assert torch.equal(FeatureSource(other, encoder, tmp_path).images([0]), other.images([0]) @ encoder.matrix)
