"""Virtual adversarial training: the size of the change, its direction, and what it leaves alone."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from unlabelled import POOL, batch, context, gradients, material

from medal.errors import ConfigError, UnknownName
from medal.learners import Beta, Parts, Perceptron, Sigmoid, Supervised
from medal.learners.heads import Head
from medal.seeding import Seed
from medal.semi_supervised import VAT
from medal.semi_supervised.divergence import divergence
from medal.semi_supervised.vat import unit_length


def asked(head: Head, normed: bool = False, **settings: Any) -> tuple[Any, Any, torch.Tensor, torch.Tensor]:
    training = context(head, normed=normed)
    running: Any = VAT(**settings).begin(training)
    images = training.source.images(training.unlabelled.rows[:9])
    with torch.no_grad():
        target = running._answer(images, batch(training))
    return training, running, images, target


@pytest.mark.parametrize("iterations", [1, 3])
@pytest.mark.parametrize("head", [Sigmoid(), Beta()])
def test_the_change_has_norm_eps_in_each_row(head: Head, iterations: int):
    training, running, images, target = asked(head, eps=0.7, unit="norm", iterations=iterations)
    change = running.change(images, target, torch.ones(9, 2, dtype=torch.bool), batch(training))
    torch.testing.assert_close(change.norm(dim=1), torch.full((9,), 0.7), rtol=1e-5, atol=0)


def test_spread_is_in_units_of_the_rows_own_entries():
    part = VAT(eps=0.1)
    images = torch.randn(3, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    expected = 0.1 * images.flatten(1).std(1, correction=0) * 6
    torch.testing.assert_close(part.radius(images), expected)
    torch.testing.assert_close(part.radius(5 * images + 2), 5 * expected, rtol=1e-4, atol=0)
    assert math.isclose(float(VAT(eps=5 / math.sqrt(3 * 224 * 224)).eps), 0.0129, abs_tol=1e-4)


def test_the_change_moves_the_prediction_more_than_chance():
    training, running, images, target = asked(Beta(), eps=0.5, unit="norm", divergence="kl", iterations=2)
    everywhere, step = torch.ones(9, 2, dtype=torch.bool), batch(training)

    def apart(change: torch.Tensor) -> float:
        with torch.no_grad():
            return float(running._distance(target, running._answer(images + change, step)).sum())

    found = apart(running.change(images, target, everywhere, step))
    generator = torch.Generator().manual_seed(0)
    by_chance = [apart(0.5 * unit_length(torch.randn(9, 8, generator=generator))) for _ in range(20)]
    assert found > max(by_chance)


def test_the_direction_is_the_main_axis_of_a_quadratic():
    """A linear network near p = 1/2: the divergence is a quadratic form, whose main axis is known."""
    training, *_ = asked(Sigmoid())
    linear = nn.Linear(8, 1, bias=False)
    vector = torch.tensor([[3.0, -4.0, 0, 0, 0, 0, 0, 0]])
    linear.weight.data = 0.01 * vector
    training = context(Sigmoid(), model=linear, read=lambda raw: raw)
    running: Any = VAT(eps=1.0, unit="norm").begin(training)
    images, target = torch.zeros(5, 8), torch.zeros(5, 1)
    change = running.change(images, target, torch.ones(5, 1, dtype=torch.bool), batch(context(Sigmoid())))
    cosine = (change @ vector.T / 5).abs().flatten()
    torch.testing.assert_close(cosine, torch.ones(5), rtol=0, atol=1e-4)


@pytest.mark.parametrize("how", ["kl", "squared", "beta_kl"])
def test_statistics_of_batches_are_untouched_and_the_student_has_a_gradient(how: Any):
    training = context(Beta(), normed=True)
    running = VAT(divergence=how).begin(training)
    norm = training.model.backbone.body[1]
    step = batch(training)
    before = {k: v.clone() for k, v in norm.state_dict().items()}
    value = running.loss(step)
    assert all(torch.equal(v, before[k]) for k, v in norm.state_dict().items())
    assert norm.track_running_stats
    assert all(p.grad is None for p in training.model.parameters())  # the search left none behind
    value.backward()
    slope = gradients(training.model)
    assert float(slope.norm()) > 0
    assert bool(torch.isfinite(slope).all())


def test_both_passes_have_the_same_masks():
    training, running, images, target = asked(Sigmoid(), normed=True)
    assert training.model.training
    again = running._answer(images, batch(training))
    torch.testing.assert_close(divergence(training.head, target, again, "kl"), torch.zeros(9, 2), rtol=0, atol=0)


def test_a_row_without_a_slope_keeps_a_direction_of_norm_one():
    otherwise = unit_length(torch.randn(2, 3, generator=torch.Generator().manual_seed(0)))
    found = unit_length(torch.tensor([[0.0, 0, 0], [0, 2, 0]]), otherwise)
    assert torch.equal(found[0], otherwise[0])
    assert found[1].tolist() == [0, 1, 0]


def trained(part: VAT | None) -> dict[str, torch.Tensor]:
    source, _, pool = material(paid=12)
    learner = Supervised(source, Perceptron(8, 0.2), Parts(Beta(), consistency=part), steps=12, batch=8)
    learner.fit(pool, pool.table(), Seed(0))
    return learner.state_dict()


def test_weight_zero_is_supervised_bit_for_bit_and_others_are_not():
    plain, nothing, something = trained(None), trained(VAT(weight=0)), trained(VAT(weight=1))
    assert all(torch.equal(plain[k], nothing[k]) for k in plain)
    assert not torch.equal(plain["head.weight"], something["head.weight"])


def test_a_pool_without_open_labels_is_no_error():
    training = context(paid=POOL)
    assert float(VAT().begin(training).loss(batch(training))) == 0


def test_settings():
    for wrong, message in (
        ({"eps": 0.0}, r"VAT\.eps: found 0\.0, expected a number above 0"),
        ({"xi": -1.0}, r"VAT\.xi: found -1\.0"),
        ({"iterations": 0}, r"VAT\.iterations: found 0, expected at least 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            VAT(**wrong)  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match="did you mean 'spread'"):
        VAT(unit="spred")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"VAT\.divergence: found beta_kl with Sigmoid"):
        VAT(divergence="beta_kl").begin(context(Sigmoid()))
    with pytest.raises(ConfigError, match=r"VAT\.ratio: found 0, expected a number above 0"):
        VAT(ratio=0)
