"""Gates: which labels get a pseudo-label."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from unlabelled import context

from medal.errors import ConfigError
from medal.learners import Beta, Sigmoid
from medal.semi_supervised import Confident, EntropyBelow, Evident, FlexibleThreshold, Margin
from medal.semi_supervised.gates import Gate, Told, confidence

P = torch.tensor([[0.02, 0.4], [0.5, 0.96], [0.9, 0.71]])


def passed(gate: Gate, number: int = 0, p: Tensor = P, evidence: Tensor | None = None) -> list[list[bool]]:
    training = context(Beta() if evidence is not None else Sigmoid(), number=number)
    told = Told(training.unlabelled.ids[: len(p)], p, evidence, torch.ones_like(p, dtype=torch.bool))
    return gate.opened(training)(told).tolist()


@pytest.mark.parametrize("kind", [Margin, EntropyBelow, Confident, Evident, FlexibleThreshold])
def test_every_gate_is_one(kind: type):
    assert isinstance(kind(), Gate)


def test_margin():
    assert passed(Margin()) == [[True, True], [False, True], [True, True]]
    assert passed(Margin(0.3)) == [[True, False], [False, True], [True, False]]


def test_confident_answers_may_be_absent_or_present():
    assert passed(Confident(0.9)) == [[True, False], [False, True], [True, False]]
    assert confidence(P).tolist() == [
        [pytest.approx(0.98), pytest.approx(0.6)],
        [0.5, pytest.approx(0.96)],
        [pytest.approx(0.9), pytest.approx(0.71)],
    ]


def test_entropy_is_in_nats_of_one_label():
    p = torch.tensor([[0.1, 0.11]])
    threshold = -(0.1 * math.log(0.1) + 0.9 * math.log(0.9)) + 1e-4
    assert passed(EntropyBelow(threshold), p=p) == [[True, False]]
    # in bits or summed over labels it would not pass
    assert passed(EntropyBelow(threshold), p=torch.tensor([[0.1, 0.1]])) == [[True, True]]
    assert passed(EntropyBelow(0.5), p=torch.tensor([[0.0, 1.0]])) == [[True, True]]
    assert passed(EntropyBelow(0.0), p=torch.tensor([[0.0, 1.0]])) == [[False, False]]


def test_the_entropy_threshold_falls_with_the_rounds_and_never_below_0():
    gate, delta = EntropyBelow(0.05, 0.0033), 0.05
    for number in range(1, 12):
        delta = max(0.0, delta - 0.0033 * number)  # as the reference counts it
        assert gate.threshold(number) == pytest.approx(delta)
        assert gate.threshold(number) >= 0
    assert gate.threshold(0) == 0.05


def test_a_label_that_passed_in_a_round_can_be_shut_out_in_the_next():
    p = torch.tensor([[0.0085, 0.001]])
    gate = EntropyBelow(0.05, 0.0033)
    assert passed(gate, 0, p) == [[True, True]]
    assert passed(gate, 1, p) == [[False, True]]
    assert passed(gate, 9, p) == [[False, False]]


def test_evidence_needs_a_clear_probability_and_little_vacuity():
    evidence = torch.tensor([[[1.0, 39.0], [1.0, 9.0]], [[30.0, 10.0], [1.05, 1.0]], [[60.0, 1.0], [20.0, 20.0]]])
    p = evidence[..., 0] / evidence.sum(-1)
    found = passed(Evident(0.15, 0.9, 0.1), p=p, evidence=evidence)
    assert found == [[True, False], [False, False], [True, False]]


def test_evidence_needs_a_head_that_gives_it():
    with pytest.raises(ConfigError, match="Evident: Sigmoid gives no evidence, expected a head such as Beta; lay"):
        passed(Evident())


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (Margin, {"margin": 0.5}, r"Margin\.margin: found 0\.5, expected at least 0 and below 0\.5"),
        (EntropyBelow, {"delta": -1.0}, r"EntropyBelow\.delta: found -1\.0"),
        (EntropyBelow, {"decay": math.nan}, r"EntropyBelow\.decay: found nan"),
        (Confident, {"threshold": 0.4}, r"Confident\.threshold: found 0\.4, expected a confidence in \[0\.5, 1\]"),
        (Evident, {"low": 0.9, "high": 0.1}, r"Evident: found low 0\.9 and high 0\.1"),
        (Evident, {"vacuity": 0.0}, r"Evident\.vacuity: found 0\.0"),
        (FlexibleThreshold, {"floor": 0.2}, r"FlexibleThreshold\.floor: found 0\.2"),
    ],
)
def test_settings(kind: type, settings: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        kind(**settings)
