"""The training loop: fixed steps, partial labels, parts that add their loss, and no global randomness."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from toy import VectorSource, planted

from medal.errors import BudgetError, ConfigError
from medal.learners.losses import bernoulli
from medal.learners.protocol import FitReport
from medal.learners.training import Schedule, batches, place, train
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


# ---- how long


@pytest.mark.parametrize("rows", [1, 3, 40])
def test_steps_are_fixed_whatever_the_number_of_labels(rows: int):
    source, table = source_of()
    told: list[tuple[str, int, int]] = []
    some = LabelTable(table.rows[:rows], table.target[:rows])
    report = run(model_of(source), source, some, steps=7, progress=lambda *a: told.append(a))
    assert report.steps == 7
    assert told == [("training", i + 1, 7) for i in range(7)]
    assert math.isfinite(report.loss)


@pytest.mark.parametrize(
    ("epochs", "batch", "rows", "steps"), [(2, 8, 40, 10), (1, 8, 41, 6), (0.1, 8, 16, 1), (3, 32, 5, 3), (3, 32, 1, 3)]
)
def test_epochs_count_passes_over_the_labels(epochs: float, batch: int, rows: int, steps: int):
    assert Schedule(epochs=epochs, batch=batch).count(rows) == steps
    source, table = source_of(rows)
    assert run(model_of(source), source, table, schedule=Schedule(epochs=epochs, batch=batch)).steps == steps


def test_loss_falls():
    source, table = source_of()
    short, long = (run(model_of(source), source, table, steps=s).loss for s in (2, 150))
    assert long < 0.2 < 0.5 < short


def test_report_is_the_mean_loss_of_the_last_tenth():
    source, table = source_of()
    seen: list[float] = []

    def noting(raw: Tensor, target: Tensor, part: float) -> Tensor:
        value = loss(raw, target, part)
        seen.append(float(value.detach()))
        return value

    report = run(model_of(source), source, table, steps=30, loss=noting)
    assert report.loss == pytest.approx(sum(seen[-3:]) / 3)


def test_progress_of_the_training_goes_from_0_towards_1():
    source, table = source_of()
    parts: list[float] = []

    def noting(raw: Tensor, target: Tensor, part: float) -> Tensor:
        parts.append(part)
        return loss(raw, target, part)

    run(model_of(source), source, table, steps=4, loss=noting)
    assert parts == [0.0, 0.25, 0.5, 0.75]


def test_learning_rate_warms_up_and_falls_to_zero():
    schedule = Schedule()
    factors = [schedule.factor(s, 100) for s in range(100)]
    assert factors[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert factors[10] == 1.0
    assert factors[55] == pytest.approx(0.5)
    assert all(a > b for a, b in pairwise(factors[10:]))
    assert 0 < factors[-1] < 0.001
    assert schedule.factor(0, 1) == 1.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, r"learner\.steps: found 0, expected a number above 0"),
        ({"batch": 0}, r"learner\.batch: found 0"),
        ({"lr": 0.0}, r"learner\.lr: found 0\.0"),
        ({"lr": NAN}, r"learner\.lr: found nan"),
        ({"epochs": -1.0}, r"learner\.epochs: found -1\.0"),
        ({"weight_decay": -0.1}, r"learner\.weight_decay: found -0\.1, expected at least 0"),
    ],
)
def test_schedules_that_cannot_be_trained_with(settings: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        Schedule(**settings)


# ---- batches


@given(rows=st.integers(1, 20), batch=st.integers(1, 25))
def test_batches_are_full_and_passes_are_whole(rows: int, batch: int):
    stream = batches(rows, batch, Seed(0))
    size = max(2, min(rows, batch))
    drawn = [next(stream) for _ in range(12)]
    assert {len(b) for b in drawn} == {size}
    flat = torch.cat(drawn)
    for start in range(0, len(flat) - rows + 1, rows):
        assert sorted(flat[start : start + rows].tolist()) == list(range(rows))


def test_passes_are_shuffled_anew():
    stream = batches(30, 30, Seed(0))
    assert next(stream).tolist() != next(stream).tolist()


# ---- partial labels


def test_unknown_labels_leave_their_output_alone():
    source, table = source_of()
    target = table.target.clone()
    target[:, 1] = NAN
    model = model_of(source)
    last = model[3]
    assert isinstance(last, nn.Linear)
    before = last.weight.detach().clone()
    run(model, source, LabelTable(table.rows, target), schedule=Schedule(5, batch=8, lr=1e-2, weight_decay=0.0))
    assert torch.equal(last.weight[1], before[1])
    assert not torch.equal(last.weight[0], before[0])


def test_labels_that_are_all_unknown_train_nothing_and_break_nothing():
    source, table = source_of()
    model = model_of(source)
    before = weights(model)
    nothing = LabelTable(table.rows, torch.full_like(table.target, NAN))
    report = run(model, source, nothing, schedule=Schedule(3, batch=8, weight_decay=0.0))
    assert report.loss == 0
    assert torch.equal(weights(model), before)


def test_one_labelled_row_passes_batch_normalisation():
    source, table = source_of()
    with Seed(0).globally():
        model = nn.Sequential(nn.Linear(source.shape[0], 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    report = run(model, source, LabelTable(table.rows[:1], table.target[:1]))
    assert math.isfinite(report.loss)


def test_only_paid_rows_are_read(monkeypatch: pytest.MonkeyPatch):
    source, table = source_of()
    read: set[int] = set()
    images = source.images

    def noting(rows: Sequence[int] | Tensor) -> Tensor:
        read.update(torch.as_tensor(rows).tolist())
        return images(rows)

    monkeypatch.setattr(source, "images", noting)
    run(model_of(source), source, LabelTable(torch.tensor([3, 17, 29]), table.target[[3, 17, 29]]), steps=20)
    assert read == {3, 17, 29}


def test_rows_keep_their_own_labels():
    source, table = source_of()

    def check(raw: Tensor, target: Tensor, part: float) -> Tensor:
        images = seen.pop()
        for image, line in zip(images, target, strict=True):
            row = int(torch.nonzero((source.vectors == image).all(1))[0])
            assert torch.equal(table.target[row], line)
        return loss(raw, target, part)

    seen: list[Tensor] = []
    shuffled = torch.randperm(40, generator=torch.Generator().manual_seed(0))[:20].sort().values
    run(
        model_of(source),
        source,
        LabelTable(shuffled, table.target[shuffled]),
        loss=check,
        augment=lambda images, generator: (seen.append(images), images)[1],
    )


# ---- errors


def test_nothing_labelled_yet():
    source, _ = source_of()
    with pytest.raises(BudgetError, match="nothing was labelled yet, so nothing can be trained"):
        run(model_of(source), source, LabelTable(torch.empty(0, dtype=torch.long), torch.empty(0, 2)))


def test_a_loss_that_is_not_finite_names_the_step():
    source, table = source_of()

    def breaking(raw: Tensor, target: Tensor, part: float) -> Tensor:
        return loss(raw, target, part) / (0.0 if part >= 0.6 else 1.0)

    with pytest.raises(ConfigError, match=r"the training loss became inf at step 3; lower `learner\.lr` \(0\.01\)"):
        run(model_of(source), source, table, loss=breaking)


# ---- randomness


def test_the_same_seed_gives_the_same_weights_bit_for_bit():
    source, table = source_of()
    models = [model_of(source, dropout=0.5) for _ in range(3)]
    for model, seed, state in zip(models, (0, 0, 1), (5, 6, 7), strict=True):
        torch.manual_seed(state)
        run(model, source, table, seed=seed)
    assert torch.equal(weights(models[0]), weights(models[1]))
    assert not torch.equal(weights(models[0]), weights(models[2]))


def test_the_seed_decides_the_order_of_rows():
    source, table = source_of()
    one, two = model_of(source), model_of(source)
    run(one, source, table, seed=0)
    run(two, source, table, seed=1)
    assert not torch.equal(weights(one), weights(two))


def test_the_global_state_is_left_alone():
    source, table = source_of()
    before = torch.random.get_rng_state(), str(np.random.get_state()), random.getstate()  # noqa: NPY002
    run(model_of(source, dropout=0.5), source, table, augment=noise)
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert before[1:] == (str(np.random.get_state()), random.getstate())  # noqa: NPY002


def noise(images: Tensor, generator: torch.Generator) -> Tensor:
    return images + 0.1 * torch.randn(images.shape, generator=generator)


def test_augmentation_draws_from_its_own_branch():
    source, table = source_of()
    plain, varied, again = (model_of(source) for _ in range(3))
    run(plain, source, table)
    run(varied, source, table, augment=noise)
    run(again, source, table, augment=noise)
    assert not torch.equal(weights(plain), weights(varied))
    assert torch.equal(weights(varied), weights(again))


# ---- after it


def test_a_trained_model_is_in_evaluation_mode():
    source, table = source_of()
    model = model_of(source, dropout=0.5)
    run(model, source, table)
    assert not any(m.training for m in model.modules())


def test_place_of_a_device():
    assert place("cpu") == torch.device("cpu")
    assert place("auto").type in {"cpu", "cuda", "mps"}


def test_a_device_that_is_not_there_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"learner.device: 'gpux' cannot be used here"):
        place("gpux")
