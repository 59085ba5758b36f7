"""The moving average of a student, and layers that keep still."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from unlabelled import network, weights

from medal.errors import ConfigError, UnknownName
from medal.learners.heads import Sigmoid
from medal.semi_supervised.batch_statistics import evaluating, statistics_untouched
from medal.semi_supervised.teacher import Teacher, check_average


def shifted(model: nn.Module, by: float) -> None:
    with torch.no_grad():
        for tensor in model.parameters():
            tensor += by


def test_after_the_first_step_the_teacher_is_the_student():
    student = network(Sigmoid())
    teacher = Teacher(student, 0.99)
    shifted(student, 1.0)
    assert not torch.equal(weights(teacher.model), weights(student))
    teacher.follow(0)
    assert torch.equal(weights(teacher.model), weights(student))


def test_the_average_ramps_up_to_its_decay():
    student = nn.Linear(1, 1, bias=False)
    teacher = Teacher(student, 0.6)
    values, expected = [3.0, -1.0, 4.0, 1.0], 0.0
    for step, value in enumerate(values):
        nn.init.constant_(student.weight, value)
        keep = min(1 - 1 / (step + 1), 0.6)
        expected = keep * expected + (1 - keep) * value
        teacher.follow(step)
        assert float(weights(teacher.model)) == pytest.approx(expected)
    # up to the cap it is the plain mean
    plain = Teacher(student, 0.999)
    for step, value in enumerate(values):
        nn.init.constant_(student.weight, value)
        plain.follow(step)
    assert float(weights(plain.model)) == pytest.approx(sum(values) / 4)


def test_buffers_are_averaged_or_copied_on_purpose():
    for how, expected in (("average", 0.5 * 0 + 0.5 * 2), ("copy", 2.0)):
        student = nn.BatchNorm1d(1)
        teacher: Any = Teacher(student, 0.5, how)  # type: ignore[arg-type]
        student.running_mean.fill_(2.0)  # type: ignore[union-attr]
        student.num_batches_tracked.fill_(7)  # type: ignore[union-attr]
        teacher.follow(5)
        assert float(teacher.model.running_mean) == pytest.approx(expected)
        assert int(teacher.model.num_batches_tracked) == 7


def test_a_teacher_has_no_gradient_no_dropout_and_no_statistics_of_its_own():
    student = network(Sigmoid(), normed=True).train()
    teacher = Teacher(student, 0.9)
    images = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    before = {k: v.clone() for k, v in teacher.model.state_dict().items()}
    first, second = teacher(images), teacher(images)
    assert torch.equal(first, second)
    assert not first.requires_grad
    assert not any(p.requires_grad for p in teacher.model.parameters())
    assert all(torch.equal(v, before[k]) for k, v in teacher.model.state_dict().items())
    assert student.training
    assert all(p.requires_grad for p in student.parameters())


def test_settings_of_an_average():
    with pytest.raises(ConfigError, match=r"X\.decay: found 1\.0, expected at least 0 and below 1"):
        check_average("X", 1.0, "copy")
    with pytest.raises(UnknownName, match="did you mean 'average'"):
        check_average("X", 0.9, "averag")


def test_statistics_stay_untouched_in_training_mode():
    model = network(Sigmoid(), normed=True).train()
    images = torch.randn(16, 8, generator=torch.Generator().manual_seed(0))
    norm = model.backbone.body[1]
    assert isinstance(norm, nn.BatchNorm1d)
    before = {k: v.clone() for k, v in norm.state_dict().items()}
    seen: list[torch.Tensor] = []
    norm.register_forward_hook(lambda _, __, output: seen.append(output.detach()))
    with statistics_untouched(model):
        model(images)
    assert all(torch.equal(v, before[k]) for k, v in norm.state_dict().items())
    # and the batch's own statistics were used
    torch.testing.assert_close(seen[0].mean(0), torch.zeros(8), rtol=0, atol=1e-5)
    model(images)
    assert int(norm.num_batches_tracked) == 1  # type: ignore[arg-type]


def test_evaluation_ends_with_the_block():
    model = network(Sigmoid(), normed=True).train()
    model.dropout.eval()
    with evaluating(model):
        assert not any(m.training for m in model.modules())
    assert model.training
    assert not model.dropout.training
