from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
import torch.nn.functional as F

from medal.errors import ConfigError, UnknownName
from medal.learners.heads import Beta, Head, Sigmoid
from medal.learners.losses import beta_bayes_ce, beta_loss, kl_to_uniform
from medal.seeding import Seed
from medal.uncertainty import beta_vacuity

NAN = math.nan
HEADS: list[Head] = [
    Sigmoid(),
    Beta(),
    Beta(evidence="relu"),
    Beta(evidence="exp"),
    Beta(fit="type2"),
    Beta(fit="brier"),
]
BETAS = [Beta(), Beta(evidence="relu"), Beta(evidence="exp")]


def raw_of(head: Head, *shape: int, labels: int = 3, seed: int = 0, scale: float = 2.0) -> torch.Tensor:
    width = labels if head.kind == "bernoulli" else 2 * labels
    return scale * torch.randn(*shape, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("head", HEADS, ids=repr)
def test_head_protocol(head: Head):
    assert isinstance(head, Head)
    with Seed(0).globally():
        layer = head.build(features=8, labels=3)
    raw = layer(torch.ones(4, 8))
    targets = torch.tensor([[1.0, 0.0, NAN]]).repeat(4, 1)
    loss = head.loss(raw, targets, 0.5, torch.tensor([2.0, 1.0, 1.0]))
    assert loss.shape == ()
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in layer.parameters() if p.grad is not None)
    outputs = head.outputs(raw.detach()[:, None].double())
    assert outputs["marginals"].shape == (4, 1, 3)
    assert outputs["marginals"].dtype == torch.float32
    assert ("evidence" in outputs) == (head.kind == "evidence")


@pytest.mark.parametrize("head", HEADS, ids=repr)
def test_initialisation_follows_the_seed(head: Head):
    states = []
    for seed in (0, 0, 1):
        with Seed(seed).globally():
            states.append(head.build(5, 2).state_dict()["weight"])
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


@pytest.mark.parametrize("head", HEADS, ids=repr)
def test_nll_is_minus_the_log_of_the_marginal(head: Head):
    raw = raw_of(head, 50)
    targets = torch.tensor([[1.0, 0.0, NAN], [-1.0, 0.25, 1.0]]).repeat(25, 1)
    p = head.outputs(raw[:, None])["marginals"][:, 0]
    known = targets >= 0
    y = targets.nan_to_num()
    expected = torch.where(known, -(y * p.log() + (1 - y) * (1 - p).log()), torch.zeros_like(p))
    torch.testing.assert_close(head.nll(raw, targets), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", HEADS, ids=repr)
def test_temperature_one_changes_nothing_and_higher_softens(head: Head):
    raw = raw_of(head, 40, 2)
    ones = torch.ones(3)
    before = head.outputs(raw)
    same = head.outputs(head.temper(raw, ones))
    for name, value in before.items():
        torch.testing.assert_close(same[name], value, rtol=1e-5, atol=1e-6)
    soft = head.outputs(head.temper(raw, 4 * ones))["marginals"]
    assert ((soft - 0.5).abs() <= (before["marginals"] - 0.5).abs() + 1e-6).all()
    assert ((soft - 0.5).abs() < (before["marginals"] - 0.5).abs() - 1e-3).any()


@pytest.mark.parametrize("head", HEADS, ids=repr)
def test_temperature_is_per_label(head: Head):
    raw = raw_of(head, 10, 1)
    mixed = head.outputs(head.temper(raw, torch.tensor([1.0, 3.0, 0.5])))["marginals"]
    for label, temperature in enumerate((1.0, 3.0, 0.5)):
        single = head.outputs(head.temper(raw, torch.full((3,), temperature)))["marginals"]
        torch.testing.assert_close(mixed[..., label], single[..., label])


def test_sigmoid_tempers_its_logits():
    torch.testing.assert_close(
        Sigmoid().temper(torch.tensor([[2.0, -6.0]]), torch.tensor([2.0, 3.0])), torch.tensor([[1.0, -2.0]])
    )


@pytest.mark.parametrize("head", BETAS, ids=repr)
@pytest.mark.parametrize("temperature", [0.05, 0.5, 3.0, 20.0])
def test_beta_divides_its_evidence(head: Beta, temperature: float):
    reach = 6.0 if head.evidence == "exp" else 60.0  # within the exponential's clamp after division
    raw = torch.linspace(-reach, reach, 242, dtype=torch.float64).reshape(1, -1)
    t = torch.full((121,), temperature, dtype=torch.float64)
    expected = (head.concentration(raw) - 1) / temperature
    torch.testing.assert_close(head.concentration(head.temper(raw, t)) - 1, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("head", HEADS, ids=repr)
@pytest.mark.parametrize("temperature", [0.05, 20.0])
def test_extreme_raw_outputs_stay_finite(head: Head, temperature: float):
    raw = torch.tensor([[-1e4, -100.0, -20.0, 20.0, 100.0, 1e4]])
    labels = 6 if head.kind == "bernoulli" else 3
    outputs = head.outputs(head.temper(raw, torch.full((labels,), temperature))[:, None])
    assert all(torch.isfinite(v).all() for v in outputs.values())
    assert ((outputs["marginals"] >= 0) & (outputs["marginals"] <= 1)).all()


def test_beta_outputs_by_hand():
    # relu evidence of two members: (3, 0) and (1, 2); mean evidence (2, 1), so alpha, beta = 3, 2
    raw = torch.tensor([[[3.0, -5.0], [1.0, 2.0]]])
    outputs = Beta(evidence="relu").outputs(raw)
    assert outputs["evidence"].tolist() == [[[3.0, 2.0]]]
    torch.testing.assert_close(outputs["marginals"], torch.tensor([[[4 / 5], [2 / 5]]]))


def test_one_member_has_the_mean_of_its_beta():
    head = Beta()
    outputs = head.outputs(raw_of(head, 7, 1))
    evidence = outputs["evidence"]
    torch.testing.assert_close(outputs["marginals"][:, 0], evidence[..., 0] / evidence.sum(-1))
    assert (evidence >= 1).all()


@pytest.mark.parametrize("head", HEADS, ids=repr)
def test_members_and_labels_permute(head: Head):
    raw = raw_of(head, 4, 3)
    before, after = head.outputs(raw), head.outputs(raw[:, [2, 0, 1]])
    torch.testing.assert_close(after["marginals"], before["marginals"][:, [2, 0, 1]])
    if head.kind == "evidence":
        torch.testing.assert_close(after["evidence"], before["evidence"])
        order = torch.tensor([4, 5, 0, 1, 2, 3])
    else:
        order = torch.tensor([2, 0, 1])
    permuted = head.outputs(raw[..., order])
    torch.testing.assert_close(permuted["marginals"], before["marginals"][..., [2, 0, 1]])


def test_activations():
    raw = torch.tensor([[-1.0, 2.0]])
    torch.testing.assert_close(Beta().concentration(raw), (F.softplus(raw) + 1).reshape(1, 1, 2))
    assert Beta(evidence="relu").concentration(raw).tolist() == [[[1.0, 3.0]]]
    torch.testing.assert_close(Beta(evidence="exp").concentration(raw), (raw.exp() + 1).reshape(1, 1, 2))
    big = Beta(evidence="exp").concentration(torch.tensor([[1e6, -1e6]]))
    torch.testing.assert_close(big, torch.tensor([[[math.exp(10) + 1, math.exp(-10) + 1]]]))


def test_divergence_is_annealed():
    head, targets = Beta(anneal=0.5), torch.tensor([[1.0, 0.0, 1.0]]).repeat(6, 1)
    raw = raw_of(head, 6)
    evidence = head.concentration(raw)
    fit, penalty = beta_bayes_ce(evidence, targets), kl_to_uniform(evidence, targets)
    for progress, weight in ((0.0, 0.0), (0.25, 0.5), (0.5, 1.0), (1.0, 1.0)):
        torch.testing.assert_close(head.loss(raw, targets, progress), fit + weight * penalty)


def test_loss_passes_its_choices_on():
    head, targets, weight = Beta(fit="brier"), torch.tensor([[1.0, -1.0, 0.5]]), torch.tensor([3.0, 2.0, 1.0])
    raw = raw_of(head, 1)
    expected = beta_loss(head.concentration(raw), targets, fit="brier", positive_weight=weight)
    torch.testing.assert_close(head.loss(raw, targets, 1.0, weight), expected)


def test_stated_uncertainty_teaches_vacuity():
    head = Beta()
    raw = torch.tensor([[4.0, 1.0, 4.0, 1.0]], requires_grad=True)
    optimiser = torch.optim.Adam([raw], lr=0.2)
    for _ in range(200):
        optimiser.zero_grad()
        head.loss(raw, torch.tensor([[-1.0, 1.0]])).backward()
        optimiser.step()
    vacuity = beta_vacuity(head.outputs(raw.detach()[:, None])["evidence"])[0]
    assert float(vacuity[0]) > 0.95
    assert float(vacuity[1]) < 0.3


def test_half_precision_gives_float32():
    raw = raw_of(Beta(), 2).bfloat16()
    assert Beta().loss(raw, torch.ones(2, 3)).dtype == torch.float32
    assert Beta().outputs(raw[:, None])["evidence"].dtype == torch.float32


@pytest.mark.skipif(hasattr(Beta.outputs, "__wrapped__"), reason="the run-time type checker refuses it first")
def test_unknown_names_are_errors():
    with pytest.raises(UnknownName, match="unknown fit 'brire'; did you mean 'brier'"):
        Beta(fit="brire")  # pyright: ignore[reportArgumentType]
    with pytest.raises(UnknownName, match="unknown evidence 'softmax'; did you mean 'softplus'"):
        Beta(evidence="softmax")  # pyright: ignore[reportArgumentType]


def test_anneal_is_a_part_of_the_training():
    with pytest.raises(ConfigError, match=r"Beta.anneal: found 10.0, expected a part of the training in \[0, 1\]"):
        Beta(anneal=10.0)


# ---- undoing the weights of positives


def test_sigmoid_unweighted_has_the_odds_divided_by_the_weight() -> None:
    raw, weight = torch.tensor([[0.3, -1.0, 2.0]], dtype=torch.float64), torch.tensor([1.0, 4.0, 20.0])
    odds = torch.exp(Sigmoid().unweight(raw, weight))
    torch.testing.assert_close(odds, torch.exp(raw) / weight)


@pytest.mark.parametrize("evidence", ["softplus", "relu", "exp"])
def test_beta_unweighted_has_the_evidence_for_a_label_divided(evidence: Literal["softplus", "relu", "exp"]) -> None:
    head = Beta(evidence=evidence)
    raw = torch.tensor([[0.5, 1.5, 3.0, 0.2]], dtype=torch.float64)
    before = head.concentration(raw) - 1
    after = head.concentration(head.unweight(raw, torch.tensor([5.0, 1.0]))) - 1
    torch.testing.assert_close(after[..., 0], before[..., 0] / torch.tensor([5.0, 1.0]))
    torch.testing.assert_close(after[..., 1], before[..., 1])


@pytest.mark.parametrize("head", [Sigmoid(), Beta()])
def test_weights_of_one_change_nothing(head: Sigmoid | Beta) -> None:
    raw = torch.linspace(-2, 2, 8, dtype=torch.float64).reshape(2, 4)
    labels = 4 if isinstance(head, Sigmoid) else 2
    torch.testing.assert_close(head.unweight(raw, torch.ones(labels)), raw)
