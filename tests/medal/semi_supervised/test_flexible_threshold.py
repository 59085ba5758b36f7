"""FlexMatch's thresholds: golden values, counters by id, and what holds before anything is confident."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from unlabelled import context

from medal.learners import Sigmoid
from medal.semi_supervised import Confident, FlexibleThreshold
from medal.semi_supervised.flexible_threshold import LastAnswers, RunningThreshold, flexible
from medal.semi_supervised.gates import Told

NAMES = tuple(f"row {i}" for i in range(6))
OPEN = torch.ones(6, 2, dtype=torch.bool)
YES, NO = True, False


def told(p: Tensor, ids: tuple[str, ...] = NAMES, open_: Tensor = OPEN) -> Told:
    return Told(ids, p, None, open_[: len(p)])


def running(answers: LastAnswers | None = None, **settings: float | bool) -> RunningThreshold:
    return RunningThreshold(FlexibleThreshold(**settings), answers or LastAnswers(NAMES, OPEN))  # type: ignore[arg-type]


def test_golden_thresholds():
    found = flexible(torch.tensor([0.0, 0.25, 0.5, 1.0]), 0.95)
    torch.testing.assert_close(found, torch.tensor([0.0, 0.136, 0.317, 0.95]), rtol=0, atol=5e-4)


def test_counters_are_of_labels_and_polarities():
    answers = LastAnswers(NAMES, OPEN)
    present = torch.tensor([[YES, NO], [NO, NO], [NO, NO], [NO, YES]])
    confident = torch.tensor([[YES, YES], [YES, YES], [YES, NO], [NO, YES]])
    answers.note(NAMES[:4], present, confident)
    assert answers.counts().tolist() == [[2, 1, 3], [2, 1, 3]]
    # warm-up: the three rows without an answer hold every status down
    assert answers.status().tolist() == [[pytest.approx(2 / 3), pytest.approx(1 / 3)]] * 2
    assert answers.status(warm_up=False).tolist() == [[1, 0.5]] * 2


def test_an_answer_stays_until_another_confident_one():
    answers = LastAnswers(NAMES, OPEN)
    one = torch.ones(1, 2, dtype=torch.bool)
    answers.note(NAMES[:1], one, one)
    answers.note(NAMES[:1], ~one, torch.tensor([[True, False]]))
    answers.note(NAMES[:1], one, ~one)
    assert answers.state_dict()["row 0"] == [0, 1]
    assert answers.state_dict()["row 1"] == [-1, -1]


def test_answered_labels_are_not_counted():
    open_ = OPEN.clone()
    open_[:4, 0] = False
    answers = LastAnswers(NAMES, open_)
    assert answers.counts().tolist() == [[0, 0, 2], [0, 0, 6]]


def test_shuffling_the_rows_changes_nothing():
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(6, 2, generator=generator)
    p = torch.where(p > 0.5, 0.9 + 0.1 * p, 0.1 * p)
    shuffled = torch.randperm(6, generator=generator)
    first = running()
    second = running(LastAnswers([NAMES[i] for i in shuffled], OPEN))
    straight = first(told(p))
    for lines in (shuffled[:3], shuffled[3:]):
        second(told(p[lines], tuple(NAMES[i] for i in lines)))
    assert first.answers.state_dict() == second.answers.state_dict()
    assert torch.equal(first.thresholds(), second.thresholds())
    assert torch.equal(second(told(p[shuffled], tuple(NAMES[i] for i in shuffled))), straight[shuffled])


def test_with_every_status_at_1_it_is_fixmatch():
    answers = LastAnswers(NAMES, OPEN)
    answers.note(NAMES, torch.arange(6)[:, None].expand(6, 2) % 2 == 0, OPEN)  # three of each polarity
    gate = running(answers, threshold=0.9)
    assert gate.answers.status().tolist() == [[1, 1], [1, 1]]
    assert torch.equal(gate.thresholds(), torch.full((2, 2), 0.9))
    # confident answers that agree with what is known leave the status at 1
    p = torch.tensor([[0.95, 0.92], [0.05, 0.11], [0.89, 0.6]])
    found, fixed = gate(told(p, NAMES[:3])), Confident(0.9).opened(context(Sigmoid()))(told(p, NAMES[:3]))
    assert torch.equal(found, fixed)
    assert fixed.tolist() == [[True, True], [True, False], [False, False]]


def test_before_anything_is_confident_the_floor_holds():
    gate = running(threshold=0.95, floor=0.5)
    assert gate.answers.status().tolist() == [[0, 0], [0, 0]]
    assert float(flexible(gate.answers.status(), 0.95).max()) == 0  # unclipped, everything would pass at 0
    assert gate.thresholds().tolist() == [[0.5, 0.5], [0.5, 0.5]]
    p = torch.full((6, 2), 0.6)
    assert bool(gate(told(p)).all())  # a confidence is never below a half
    assert not bool(running(threshold=0.95, floor=0.8)(told(p)).any())


def test_rare_answers_have_lower_thresholds():
    gate = running(floor=0.5, threshold=0.95)
    p = torch.tensor([[0.01, 0.01]] * 5 + [[0.99, 0.99]])
    gate(told(p))
    absent, present = gate.thresholds()[0].tolist()
    assert absent == pytest.approx(0.95)
    assert present == pytest.approx(max(0.5, 0.95 * 0.2 / 1.8))


def test_a_gate_begins_with_the_trainings_own_rows():
    training = context(Sigmoid())
    gate = FlexibleThreshold().opened(training)
    assert isinstance(gate, RunningThreshold)
    assert tuple(gate.answers.state_dict()) == training.unlabelled.ids
