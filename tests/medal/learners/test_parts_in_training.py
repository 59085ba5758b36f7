"""Parts in the training loop: their gradients add up, each draws from its own branch, further networks are trained."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from toy import VectorSource, planted

from medal.learners.losses import bernoulli
from medal.learners.protocol import FitReport
from medal.learners.training import Schedule, train
from medal.learners.training_part import Batch, RunningPart
from medal.pool import LabelTable
from medal.seeding import Seed

NAN = float("nan")


def source_of(rows: int = 40) -> tuple[VectorSource, LabelTable]:
    source, truth = planted(rows, seed=0)
    return source, LabelTable(torch.arange(rows), truth.values)


def model_of(source: VectorSource, dropout: float = 0.0) -> nn.Sequential:
    with Seed(0).globally():
        return nn.Sequential(nn.Linear(source.shape[0], 8), nn.Dropout(dropout), nn.GELU(), nn.Linear(8, 2))


def loss(raw: Tensor, target: Tensor, part: float) -> Tensor:
    return bernoulli(raw, target)


def run(
    model: nn.Module, source: VectorSource, table: LabelTable, steps: int = 5, seed: int = 0, **options
) -> FitReport:
    schedule = options.pop("schedule", Schedule(steps=steps, batch=8, lr=1e-2))
    return train(model, source, table, options.pop("loss", loss), schedule, Seed(seed), **options)


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def noise(images: Tensor, generator: torch.Generator) -> Tensor:
    return images + 0.1 * torch.randn(images.shape, generator=generator)


class Pulling(RunningPart):
    """Adds weight x (sum of all weights), whose gradient is the weight in every place."""

    def __init__(self, model: nn.Module, weight: float) -> None:
        self.model = model
        self.weight = weight
        self.asked: list[Batch] = []
        self.after: list[tuple[int, Tensor]] = []

    def loss(self, batch: Batch) -> Tensor:
        self.asked.append(batch)
        torch.rand(3)  # a part may draw from the global state
        return self.weight * torch.stack([p.sum() for p in self.model.parameters()]).sum()

    def after_step(self, step: int) -> None:
        self.after.append((step, weights(self.model)))


def test_a_part_adds_its_gradient():
    source, table = source_of()
    nothing = LabelTable(table.rows, torch.full_like(table.target, NAN))
    model = model_of(source)
    before = weights(model)
    schedule = Schedule(steps=4, batch=8, lr=1e-2, weight_decay=0.0)
    run(model, source, nothing, schedule=schedule, parts={"auxiliary": Pulling(model, 1.0)})
    # the gradient is the same in every place and step, so Adam moves each weight by exactly the learning rate
    moved = schedule.lr * sum(schedule.factor(s, 4) for s in range(4))
    torch.testing.assert_close(weights(model), before - moved, rtol=0, atol=1e-5)


def test_parts_add_up_with_the_supervised_loss():
    source, table = source_of()
    up, down, plain = (model_of(source) for _ in range(3))
    run(plain, source, table)
    run(up, source, table, parts={"auxiliary": Pulling(up, 0.7), "pseudo": Pulling(up, -0.7)})
    run(down, source, table, parts={"auxiliary": Pulling(down, 0.7)})
    torch.testing.assert_close(weights(up), weights(plain), rtol=0, atol=1e-5)
    assert weights(down).sum() < weights(plain).sum()


def test_a_part_without_weight_changes_nothing_bit_for_bit():
    source, table = source_of()
    plain, with_part = model_of(source, dropout=0.5), model_of(source, dropout=0.5)
    run(plain, source, table, augment=noise)
    run(with_part, source, table, augment=noise, parts={"pseudo": Pulling(with_part, 0.0)})
    assert torch.equal(weights(plain), weights(with_part))


def test_a_part_is_asked_before_and_told_after_each_step():
    source, table = source_of()
    model = model_of(source)
    part = Pulling(model, 0.1)
    report = run(model, source, table, steps=3, parts={"domain": part})
    assert [(b.step, b.progress) for b in part.asked] == [
        (0, 0.0),
        (1, pytest.approx(1 / 3)),
        (2, pytest.approx(2 / 3)),
    ]
    # each step has a seed of its own, in the part's branch
    assert len({b.seed.integer() for b in part.asked}) == 3
    assert part.asked[2].seed.path == ("parts", "domain", "2")
    assert [s for s, _ in part.after] == [0, 1, 2]
    assert not torch.equal(part.after[0][1], part.after[1][1])
    assert torch.equal(part.after[2][1], weights(model))
    assert report.steps == 3


def test_a_part_sees_the_labelled_batch_of_its_step():
    source, table = source_of()
    model = model_of(source)
    part = Pulling(model, 0.0)
    run(model, source, table, steps=2, parts={"auxiliary": part})
    for seen in part.asked:
        assert len(seen.rows) == 8
        assert torch.equal(seen.target, table.target[seen.rows])
        assert seen.raw.shape == (8, 2)
    assert not torch.equal(part.asked[0].rows, part.asked[1].rows)


class Second(RunningPart):
    """Trains a second network to give ones."""

    def __init__(self, source: VectorSource, table: LabelTable) -> None:
        self.images = source.images(table.rows)
        self.modules = (nn.Linear(source.shape[0], 1),)

    def loss(self, batch: Batch) -> Tensor:
        return (self.modules[0](self.images) - 1).square().mean()


def test_further_networks_of_a_part_are_trained_too():
    source, table = source_of()
    model, part = model_of(source), Second(source, table)
    nothing = LabelTable(table.rows, torch.full_like(table.target, NAN))
    before, model_before = weights(part.modules[0]), weights(model)
    schedule = Schedule(steps=60, batch=8, lr=5e-2, weight_decay=0.0)
    report = run(model, source, nothing, schedule=schedule, parts={"auxiliary": part})
    assert not torch.equal(weights(part.modules[0]), before)
    assert torch.equal(weights(model), model_before)
    assert report.loss < 0.1
    assert not part.modules[0].training
