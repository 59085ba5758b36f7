"""Doubtful labels: disputes first, then what the model finds unlikely."""

from __future__ import annotations

import math

import pytest
import torch

from medal.doubt import doubt
from medal.pool import Answer


def answers(*pairs: tuple[str, list[float]]) -> list[Answer]:
    return [Answer(torch.tensor(values), reader, 0) for reader, values in pairs]


def test_self_confidence_is_the_probability_of_the_label_given() -> None:
    found = doubt(answers(("R1", [1.0, 0.0, 1.0])), torch.tensor([1.0, 0.0, 1.0]), torch.tensor([0.9, 0.7, 0.4]))
    assert (found.label, found.given) == (1, 0.0)
    assert found.confidence == pytest.approx(0.3)


def test_what_is_unknown_uncertain_or_soft_is_not_judged() -> None:
    agreed = torch.tensor([math.nan, -1.0, 0.6, 1.0])
    found = doubt(answers(("R1", agreed.tolist())), agreed, torch.tensor([0.0, 0.0, 0.0, 0.8]))
    assert (found.label, found.confidence) == (3, pytest.approx(0.8))
    nothing = doubt(answers(("R1", [math.nan])), torch.tensor([math.nan]), torch.tensor([0.1]))
    assert (nothing.label, nothing.confidence) == (-1, 1.0)


def test_a_dispute_is_between_present_and_absent_of_two_readers() -> None:
    pair = answers(("R1", [1.0, 1.0, -1.0, 0.0]), ("R2", [0.0, -1.0, 1.0, math.nan]))
    found = doubt(pair, torch.full((4,), math.nan), torch.full((4,), 0.5))
    assert found.disputed.tolist() == [True, False, False, False]
    corrected = answers(("R1", [1.0]), ("R2", [0.0]), ("R1", [0.0]))
    assert not doubt(corrected, torch.tensor([0.0]), torch.tensor([0.1])).disputed.any()


def test_disputes_come_before_the_models_doubts() -> None:
    disputed = doubt(answers(("R1", [1.0]), ("R2", [0.0])), torch.tensor([math.nan]), torch.tensor([0.5]))
    doubtful = doubt(answers(("R1", [1.0])), torch.tensor([1.0]), torch.tensor([0.01]))
    sure = doubt(answers(("R1", [1.0])), torch.tensor([1.0]), torch.tensor([0.99]))
    assert sorted([sure, doubtful, disputed], key=lambda d: d.rank) == [disputed, doubtful, sure]


def test_a_reader_who_differs_from_the_clinic_has_settled_it() -> None:
    pair = answers(("clinic", [1.0, 1.0]), ("R1", [0.0, math.nan]), ("R2", [math.nan, 0.0]))
    assert not doubt(pair, torch.tensor([0.0, 0.0]), torch.tensor([0.1, 0.1])).disputed.any()
