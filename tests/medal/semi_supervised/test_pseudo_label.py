"""Pseudo-labels: what they teach, what they leave alone, and that the pool never hears of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor
from toy import VectorSource, campaign, planted
from unlabelled import POOL, batch, context, gradients, material

from medal.contracts import check_learner
from medal.errors import ConfigError, UnknownName
from medal.learners import Beta, Parts, Perceptron, Sigmoid, Supervised
from medal.seeding import Seed
from medal.semi_supervised import (
    Confident,
    EntropyBelow,
    Evident,
    FeatureDropout,
    FlexibleThreshold,
    Margin,
    PseudoLabel,
)
from medal.strategy import Step, Strategy

NAN = float("nan")


def test_answers_are_hard_per_label_and_carry_no_gradient():
    training = context(Sigmoid(), normed=True)
    running: Any = PseudoLabel(Margin(0.02)).begin(training)
    images = training.source.images(training.unlabelled.rows)
    before = {k: v.clone() for k, v in training.model.state_dict().items()}
    made = running.answers(images, training.unlabelled.ids, training.unlabelled.open)
    assert not made.requires_grad
    assert set(made[torch.isfinite(made)].tolist()) <= {0.0, 1.0}
    # in evaluation mode: no dropout, no statistics, and the mode is what it was
    assert training.model.training
    assert all(torch.equal(v, before[k]) for k, v in training.model.state_dict().items())
    training.model.eval()
    p = torch.sigmoid(training.read(training.model(images)))
    expected = torch.where((p - 0.5).abs() > 0.02, (p > 0.5).float(), torch.nan)
    torch.testing.assert_close(made, expected, equal_nan=True)


@pytest.mark.parametrize("head", [Sigmoid(), Beta()])
def test_the_loss_is_the_supervised_one_of_what_passed_over_all_open_labels(head: Sigmoid | Beta):
    training = context(head, paid=POOL - 8, batch=16)
    training.model.eval()
    with torch.no_grad():
        training.model.head.weight *= 4  # so that some answers are clear and others are not
    running: Any = PseudoLabel(Margin(0.1), weight=2.0, start=0.2, full=0.6).begin(training)
    images = training.source.images(training.unlabelled.rows)
    target = running.answers(images, training.unlabelled.ids, training.unlabelled.open)
    passed = torch.isfinite(target)
    assert 0 < int(passed.sum()) < passed.numel()
    for progress, height in ((0.2, 0.0), (0.4, 1.0), (0.8, 2.0)):
        found = running.loss(batch(training, progress=progress))
        each = training.loss(training.model(images), target, progress)
        torch.testing.assert_close(found, height * each * passed.float().mean(), rtol=1e-4, atol=1e-7)


def test_before_its_start_gradients_are_the_supervised_ones_bit_for_bit():
    training = context(Beta())
    running = PseudoLabel(start=0.5, full=0.9).begin(training)
    step = batch(training, progress=0.4)
    value = training.loss(step.raw, step.target, 0.4)
    (value + running.loss(step)).backward(retain_graph=True)
    both = gradients(training.model)
    training.model.zero_grad()
    value.backward()
    assert torch.equal(gradients(training.model), both)


def test_labels_that_were_answered_get_no_pseudo_label():
    training = context(Sigmoid())
    half = replace(training.unlabelled, open=training.unlabelled.open & torch.tensor([False, True]))
    training = replace(training, unlabelled=half)
    running = PseudoLabel(start=0.0, full=0.0).begin(training)
    running.loss(batch(training)).backward()
    slope = training.model.head.weight.grad
    assert float(slope[0].abs().max()) == 0  # type: ignore[index]
    assert float(slope[1].abs().max()) > 0  # type: ignore[index]


def test_a_strong_view_learns_the_answer_of_the_weak_one():
    training = context(Sigmoid(), paid=POOL - 8, batch=16)
    training.model.eval()
    seen: list[Tensor] = []
    training.model.backbone.register_forward_pre_hook(lambda _, given: seen.append(given[0]))

    def strong(images: Tensor, generator: torch.Generator) -> Tensor:
        return images + 7

    running = PseudoLabel(Confident(0.5), start=0.0, full=0.0, strong=strong).begin(training)
    step = batch(training)
    seen.clear()
    running.loss(step)
    assert torch.equal(seen[1], seen[0] + 7)


def test_decided_once_they_stay_and_only_rows_with_one_are_drawn():
    training = context(Sigmoid(), paid=12)
    part = PseudoLabel(Margin(0.1), start=0.5, full=0.5, decide="once")
    running: Any = part.begin(training)
    assert running._decided is None
    assert float(running.loss(batch(training, progress=0.4))) == 0
    running.loss(batch(training, progress=0.5))
    decided: Tensor = cast(Any, running._decided).clone()
    training.model.eval()
    images = training.source.images(training.unlabelled.rows)
    p = torch.sigmoid(training.read(training.model(images)))
    expected = torch.where((p - 0.5).abs() > 0.1, (p > 0.5).float(), torch.nan)
    torch.testing.assert_close(decided, expected, equal_nan=True)
    with torch.no_grad():
        training.model.head.bias += 5.0  # another opinion changes nothing any more
    drawn: set[int] = set()
    for _ in range(12):
        drawn |= set(running._stream.next().lines.tolist())
    assert drawn == set(torch.nonzero(torch.isfinite(decided).any(1)).flatten().tolist())
    running.loss(batch(training, progress=0.9))
    assert torch.equal(cast(Any, running._decided).isnan(), decided.isnan())


@pytest.mark.parametrize("decide", ["always", "once"])
def test_nothing_that_passes_is_no_loss(decide: Any):
    for training in (context(paid=12), context(paid=POOL)):
        part = PseudoLabel(EntropyBelow(0.0), start=0.0, full=0.0, decide=decide)
        assert float(part.begin(training).loss(batch(training))) == 0


def trained(part: PseudoLabel | None, head: Any = None, **settings: Any) -> dict[str, Tensor]:
    source, _, pool = material(paid=12)
    settings = {"steps": 30, "batch": 8, "lr": 3e-2} | settings
    learner = Supervised(source, Perceptron(8, 0.2), Parts(head or Beta(), pseudo=part), **settings)
    learner.fit(pool, pool.table(), Seed(0))
    return learner.state_dict()


@pytest.mark.parametrize(
    "part",
    [
        PseudoLabel(Margin(0.1)),
        PseudoLabel(EntropyBelow(0.6), decide="once", start=0.6),
        PseudoLabel(Confident(0.7), strong=FeatureDropout()),
        PseudoLabel(FlexibleThreshold(0.8), strong=FeatureDropout()),
        PseudoLabel(Evident(0.4, 0.6, 0.9)),
    ],
    ids=["lee", "ceal", "fixmatch", "flexmatch", "evidential"],
)
def test_training_reads_the_pool_alone_and_weight_zero_is_supervised(part: PseudoLabel):
    plain, nothing, something = trained(None), trained(replace(part, weight=0.0)), trained(part)
    assert all(torch.equal(plain[k], nothing[k]) for k in plain)
    assert not torch.equal(plain["head.weight"], something["head.weight"])
    again = trained(part)
    assert all(torch.equal(something[k], again[k]) for k in again)


def test_a_row_with_a_pseudo_label_goes_back_to_the_pool(tmp_path: Any):
    """After a round the pool has exactly as many candidates fewer as the expert was asked about."""
    from medal.reducers import LabelMean
    from medal.sampling import TopK
    from medal.uncertainty import LeastConfidence

    source, truth = planted(80, 0)
    loop = campaign(
        tmp_path / "s",
        Strategy(Step(TopK(), LeastConfidence(), LabelMean()), name="ceal"),
        source=source,
        truth=truth,
        rounds=2,
        steps=20,
    )
    part = PseudoLabel(EntropyBelow(0.69, 0.0), decide="once", start=0.3, full=0.3)
    loop.learner = Supervised(source, Perceptron(16, 0.2), Parts(pseudo=part), steps=20, batch=16, lr=5e-3)
    sizes = []
    while not loop.finished:
        before = loop.pool.round
        loop.step()
        sizes.append((before, len(loop.pool.candidates())))
    per_round = dict(sizes)
    start = len(loop.pool.split.positions("pool"))
    assert sizes[-1][1] == start - 12 - 2 * 8
    assert per_round[2] == per_round[1] - 8
    assert int(loop.pool.table().rows.numel()) == 12 + 16


def test_contract():
    source, _, _ = material()
    free = VectorSource(source.vectors, source.labels, source.ids, source.groups)
    for part in (PseudoLabel(FlexibleThreshold(0.8), strong=FeatureDropout()), PseudoLabel(Margin(), decide="once")):
        learner = Supervised(free, Perceptron(8, 0.2), Parts(pseudo=part), steps=8, batch=8, predict_batch=16)
        check_learner(learner, free)


def test_settings():
    with pytest.raises(ConfigError, match=r"PseudoLabel: found start 0\.9 after full 0\.8"):
        PseudoLabel(start=0.9)
    with pytest.raises(UnknownName, match="did you mean 'once'"):
        PseudoLabel(decide="onc")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"PseudoLabel\.weight: found nan"):
        PseudoLabel(weight=NAN)
    with pytest.raises(ConfigError, match=r"PseudoLabel\.ratio: found 0, expected a number above 0"):
        PseudoLabel(ratio=0)
