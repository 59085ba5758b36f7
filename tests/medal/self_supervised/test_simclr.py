"""SimCLR: it learns from the pool part alone, once for all studies, the same everywhere, and its weights travel."""

from __future__ import annotations

import hashlib
import math
import multiprocessing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from picture import pictures
from torch import Tensor

from medal.contracts import check_learner
from medal.errors import ConfigError
from medal.learners import Frozen, Perceptron
from medal.learners.frozen import LearnedEncoder, TrainedEncoder
from medal.learners.protocol import Backbone
from medal.pool import LabelTable, Pool
from medal.seeding import Seed
from medal.self_supervised import ConvNet, RandomViews, SimCLR, nt_xent
from medal.self_supervised.simclr import brought_down, distinct_batches
from medal.split import Split
from medal.units import Units
from medal.weights import weights_hash

QUICK = SimCLR(ConvNet(2), None, RandomViews(), steps=4, batch=8, hidden=8, projection=4)
POOL = torch.arange(24)


def fitted(folder: Path, out: Path) -> None:
    torch.set_num_threads(1)
    out.write_text(weights_hash(QUICK.fit(pictures()[0], POOL, folder).state_dict()))


def test_only_the_rows_that_are_named_are_read():
    source, _ = pictures()
    source.forbidden = frozenset(range(24, 40))
    encoder = QUICK.fit(source, POOL)
    assert isinstance(QUICK, TrainedEncoder)
    assert isinstance(encoder, LearnedEncoder)
    assert encoder.encode(source.images(POOL)).shape == (24, 16)


def test_the_loss_falls_and_neighbours_are_alike(monkeypatch: pytest.MonkeyPatch):
    source, place = pictures(64)
    losses: list[float] = []

    def noted(*views) -> Tensor:
        value = nt_xent(*views)
        losses.append(float(value.detach()))
        return value

    monkeypatch.setattr("medal.self_supervised.simclr.nt_xent", noted)
    encoder = SimCLR(ConvNet(4), None, RandomViews(), steps=40, batch=32, lr=1e-2).fit(source, torch.arange(64))
    assert losses[0] == pytest.approx(math.log(63), abs=0.7)
    assert sum(losses[-5:]) / 5 < losses[0] - 0.5
    features = encoder.encode(source.images(range(64)))
    assert features.requires_grad is False
    nearest = torch.cdist(features, features).fill_diagonal_(torch.inf).argmin(1)
    assert float((place[nearest] == place).float().mean()) > 0.9


def test_another_process_learns_the_same_and_the_order_of_rows_is_nothing(tmp_path: Path):
    here = QUICK.fit(pictures()[0], POOL.flip(0))
    process = multiprocessing.get_context("fork").Process(target=fitted, args=(tmp_path / "cache", tmp_path / "hash"))
    process.start()
    process.join(60)
    assert (tmp_path / "hash").read_text() == weights_hash(here.state_dict())


def test_the_global_generator_is_left_alone():
    before = torch.random.get_rng_state()
    QUICK.fit(pictures()[0], POOL)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_it_learns_once_for_each_source_rows_and_settings(tmp_path: Path):
    told: list[int] = []

    def count(what: str, done: int, total: int) -> None:
        told.append(done)

    source, _ = pictures()
    first = QUICK.fit(source, POOL, tmp_path, count)
    assert len(told) == 4
    again = QUICK.fit(source, POOL, tmp_path, count)
    assert len(told) == 4
    assert first.digest == again.digest
    assert torch.equal(first.encode(source.images([30])), again.encode(source.images([30])))
    others = (
        (pictures(digest="others")[0], POOL, QUICK),
        (source, torch.arange(23), QUICK),
        (source, POOL, SimCLR(ConvNet(2), None, RandomViews(), steps=4, batch=8, hidden=8, projection=4, seed=1)),
        (source, POOL, SimCLR(ConvNet(2), None, RandomViews(area=0.5), steps=4, batch=8, hidden=8, projection=4)),
    )
    for n, (images, rows, settings) in enumerate(others):
        settings.fit(images, rows, tmp_path, count)
        assert len(told) == 4 * (n + 2)


@pytest.mark.parametrize("harm", [b"", b"garbage"])
def test_a_file_that_cannot_be_used_is_made_again(tmp_path: Path, harm: bytes):
    source, _ = pictures()
    first = QUICK.fit(source, POOL, tmp_path)
    path = next(p for p in tmp_path.iterdir() if p.suffix == ".safetensors")
    path.write_bytes(harm)
    assert QUICK.fit(source, POOL, tmp_path).digest == first.digest


def test_features_are_those_of_the_backbone_in_evaluation_mode():
    source, _ = pictures()
    encoder = QUICK.fit(source, POOL)
    alone, among = encoder.encode(source.images([3])), encoder.encode(source.images([3, 7, 9]))
    torch.testing.assert_close(alone[0], among[0])
    assert set(encoder.state_dict()) == set(ConvNet(2).build(1).state_dict())


def test_the_weights_travel_with_the_head_to_other_data(tmp_path: Path):
    source, place = pictures()
    pool = Pool(
        Units("image", source.ids, source.groups),
        source.labels,
        Split(source.ids, source.groups, ("pool",) * 24 + ("test",) * 16),
    )
    target = torch.stack([place == 0, place == 1], 1).float()
    learner = Frozen(source, QUICK, Perceptron(8), tmp_path, steps=5, standardise=True)
    source.forbidden = frozenset()
    learner.fit(pool, LabelTable(torch.arange(12), target[:12]), Seed(0))
    other, _ = pictures(6, seed=3, digest="hospital")
    again = Frozen(other, QUICK, Perceptron(8), steps=5, standardise=True)
    again.load_state_dict(learner.state_dict(), Seed(0))
    expected = learner.model(learner._read._scaled(QUICK.fit(source, POOL).encode(other.images(range(6)))))
    found = again.predict().get("marginals", torch.arange(6))[:, 0]
    torch.testing.assert_close(found.logit(), expected.detach() - learner.state_dict()["positive_weight"].log())
    with pytest.raises(ConfigError, match="the weights do not fit the encoder's network"):
        Frozen(other, SimCLR(ConvNet(3)), standardise=True).load_state_dict(learner.state_dict(), Seed(0))


def test_contract(tmp_path: Path):
    source, _ = pictures(20)
    check_learner(Frozen(source, QUICK, Perceptron(8), tmp_path, steps=4, batch=8), source)


def test_large_images_are_brought_down_before_anything_sees_them():
    small, _ = pictures()
    large, _ = pictures(digest="large")
    large.vectors = large.vectors.repeat_interleave(4, 2).repeat_interleave(4, 3)
    large.shape = (1, 96, 96)
    sizes: list[tuple[int, ...]] = []

    @dataclass(frozen=True)
    class Noted:
        def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
            sizes.append(tuple(images.shape[2:]))
            return images

    SimCLR(ConvNet(2), 24, Noted(), steps=1, batch=4).fit(large, POOL)
    assert sizes == [(24, 24)] * 2
    encoder = SimCLR(ConvNet(2), 24, RandomViews(), steps=2, batch=8).fit(small, POOL)
    blurred = brought_down(large.images([0, 1]), 24)
    torch.testing.assert_close(encoder.encode(large.images([0, 1])), encoder.encode(blurred))
    torch.testing.assert_close(blurred.mean((1, 2, 3)), small.images([0, 1]).mean((1, 2, 3)), atol=1e-3, rtol=0)
    assert torch.equal(brought_down(small.images([0]), None), small.images([0]))
    with pytest.raises(ConfigError, match=r"SimCLR\.size: found 8"):
        SimCLR(size=8)


def test_no_row_is_its_own_negative():
    for rows, batch in ((10, 4), (3, 8), (8, 8)):
        stream = distinct_batches(rows, batch, Seed(0))
        drawn = [next(stream) for _ in range(9)]
        assert all(len(b) == min(rows, batch) == len(torch.unique(b)) for b in drawn)
    assert set(torch.cat(drawn[:1]).tolist()) == set(range(8))


class ExplodingNet:
    def __repr__(self) -> str:
        return "ExplodingNet"

    def build(self, channels: int) -> Backbone:
        class Net(Backbone):
            features = 4

            def forward(self, images: Tensor) -> Tensor:
                return images.flatten(1)[:, :4] * torch.inf

        return Net()


class Nameless:
    def build(self, channels: int) -> Backbone:
        return ConvNet(2).build(channels)


def test_bad_input_is_one_line():
    source, _ = pictures()
    with pytest.raises(ConfigError, match="SimCLR: 1 images in the pool part, expected 2"):
        QUICK.fit(source, torch.tensor([3]))
    with pytest.raises(ConfigError, match=r"SimCLR: the loss became nan at step 0; lower `lr`"):
        SimCLR(ExplodingNet(), None, RandomViews(), steps=2, batch=4).fit(source, POOL)
    with pytest.raises(ConfigError, match="expected settings with a text: use dataclasses"):
        SimCLR(Nameless(), None, RandomViews()).fit(source, POOL)
    wrongs: tuple[dict[str, Any], ...] = (
        {"steps": 0},
        {"batch": 1},
        {"temperature": 0.0},
        {"projection": 0},
        {"lr": math.nan},
    )
    for wrong in wrongs:
        with pytest.raises(ConfigError, match="expected"):
            SimCLR(**wrong)
    with pytest.raises(ConfigError, match=r"ConvNet\.width: found 0"):
        ConvNet(0)


def test_the_digest_is_of_weights_and_network():
    source, _ = pictures()
    one = QUICK.fit(source, POOL)
    assert len(one.digest) == len(hashlib.sha256().hexdigest())
    other = SimCLR(ConvNet(2), None, RandomViews(), steps=3, batch=8, hidden=8, projection=4).fit(source, POOL)
    assert one.digest != other.digest
