"""NoTeacher: the weights of its pairs against the integral, its two networks, and how the pair predicts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy import integrate
from unlabelled import POOL, batch, context, gradients, material

from medal.errors import ConfigError
from medal.learners import Beta, Parts, Perceptron, Sigmoid, Supervised
from medal.learners.heads import Head
from medal.seeding import Seed
from medal.semi_supervised import NoTeacher
from medal.semi_supervised.divergence import told
from medal.semi_supervised.no_teacher import consensus


def integrated(values: tuple[float, ...], precisions: tuple[float, ...]) -> float:
    """-log of the integral over c of prod exp(-w (x - c)^2 / 2), without what does not hang on the values."""
    import math

    def density(c: float) -> float:
        return math.exp(-0.5 * sum(w * (x - c) ** 2 for x, w in zip(values, precisions, strict=True)))

    whole, _ = integrate.quad(density, -30, 30, limit=400)
    return -math.log(whole) + 0.5 * math.log(2 * math.pi / sum(precisions))


@pytest.mark.parametrize("w", [(1.0, 1.0, 1.0), (0.5, 2.0, 3.0), (4.0, 1.0, 0.25)])
def test_weights_of_pairs_are_what_the_consensus_integrates_to(w: tuple[float, float, float]):
    pairs = consensus(*w)
    x1, x2, y = 0.3, 0.8, 1.0
    labelled = pairs.first_label * (x1 - y) ** 2 + pairs.second_label * (x2 - y) ** 2 + pairs.labelled * (x1 - x2) ** 2
    assert 0.5 * labelled == pytest.approx(integrated((x1, x2, y), w), rel=1e-5)
    assert 0.5 * pairs.unlabelled * (x1 - x2) ** 2 == pytest.approx(integrated((x1, x2), w[:2]), rel=1e-5)


@pytest.mark.parametrize("head", [Sigmoid(), Beta()])
def test_the_loss_is_that_of_its_pairs(head: Head):
    training = context(head, paid=POOL - 8, batch=32)
    second = training.another(1).eval()
    training.model.eval()
    training = context(head, paid=POOL - 8, batch=32, model=training.model, another=lambda _: second)
    running: Any = NoTeacher(first=1.0, second=2.0, label=4.0, weight=0.7, ratio=0.5).begin(training)
    step = batch(training, progress=0.9)
    found = running.loss(step)
    pairs = consensus(1.0, 2.0, 4.0)

    def half_squares(rows: torch.Tensor) -> torch.Tensor:
        images = training.source.images(rows)
        p, q = (told(head, training.read(m(images)))[0] for m in (training.model, second))
        return 0.5 * (p - q).square().mean()

    raw = second(training.source.images(step.rows))
    expected = pairs.second_label * training.loss(raw, step.target, step.progress)
    expected = expected + 0.7 * pairs.labelled * half_squares(step.rows)
    expected = expected + 0.7 * pairs.unlabelled * half_squares(training.unlabelled.rows)
    torch.testing.assert_close(found, expected / pairs.first_label, rtol=1e-4, atol=1e-6)


def test_both_networks_learn_from_labels_and_from_each_other():
    training = context(Beta())
    running = NoTeacher().begin(training)
    (second,) = running.modules
    value = running.loss(batch(training))
    value.backward()
    assert float(gradients(training.model).norm()) > 0
    assert float(gradients(second).norm()) > 0
    assert running.networks() == (training.model, second)


def test_labels_that_nobody_knows_tie_nothing_on_labelled_rows():
    training = context(Sigmoid(), paid=POOL)
    running = NoTeacher().begin(training)
    step = batch(training)
    unknown = type(step)(step.step, 0.9, step.seed, step.rows, torch.full_like(step.target, torch.nan), step.raw)
    assert float(running.loss(unknown).detach()) == 0


def learner_of(part: NoTeacher | None, **settings: Any) -> tuple[Supervised, Any]:
    source, _, pool = material(paid=12)
    settings = {"steps": 30, "batch": 8, "lr": 1e-2} | settings
    return Supervised(source, Perceptron(8, 0.2), Parts(Beta(), consistency=part), **settings), pool


def test_the_pair_predicts_with_mean_evidence_and_gives_draws():
    learner, pool = learner_of(NoTeacher())
    learner.fit(pool, pool.table(), Seed(0))
    rows = torch.arange(POOL)
    outputs = learner.predict()
    assert outputs.available == {"marginals", "features", "evidence", "draws"}
    draws = outputs.get("draws", rows)
    assert draws.shape == (POOL, 2, 2)
    assert float((draws[:, 0] - draws[:, 1]).abs().max()) > 0.01
    torch.testing.assert_close(outputs.get("marginals", rows)[:, 0], draws.mean(1))


def test_agreement_brings_the_networks_together():
    apart = []
    for weight in (0.0, 30.0):
        learner, pool = learner_of(NoTeacher(weight=weight, ramp=0.0), steps=80)
        learner.fit(pool, pool.table(), Seed(0))
        draws = learner.predict().get("draws", torch.arange(12, POOL))
        apart.append(float((draws[:, 0] - draws[:, 1]).abs().mean()))
    assert apart[1] < 0.7 * apart[0]


def test_the_second_network_starts_elsewhere_and_is_trained():
    learner, pool = learner_of(NoTeacher())
    learner.fit(pool, pool.table(), Seed(0))
    first, second = (network.state_dict() for network in learner.networks)
    assert not torch.equal(first["head.weight"], second["head.weight"])


def test_settings():
    with pytest.raises(ConfigError, match=r"NoTeacher\.label: found 0\.0, expected a precision above 0"):
        NoTeacher(label=0.0)
    with pytest.raises(ConfigError, match=r"NoTeacher\.weight: found -1"):
        NoTeacher(weight=-1.0)
    with pytest.raises(ConfigError, match=r"NoTeacher\.ratio: found 0, expected a number above 0"):
        NoTeacher(ratio=0)
