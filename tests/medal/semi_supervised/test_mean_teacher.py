"""Mean Teacher: the gradient reaches the student alone, the average follows, labels of the pool are all it needs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from unlabelled import POOL, batch, context, gradients, material, network, weights

from medal.contracts import check_learner
from medal.errors import ConfigError, UnknownName
from medal.learners import Beta, MCDropout, Parts, Perceptron, Sigmoid, Supervised
from medal.learners.training_part import RunningPart
from medal.seeding import Seed
from medal.semi_supervised import FeatureDropout, MeanTeacher

EVERY = torch.arange(60)


def moved(running: RunningPart, by: float = 0.3) -> RunningPart:
    """The same part with a student that has moved away from its teacher."""
    with torch.no_grad():
        for tensor in running._context.model.parameters():  # type: ignore[attr-defined]
            tensor += by * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(1))
    return running


@pytest.mark.parametrize(
    ("head", "how"), [(Sigmoid(), "squared"), (Beta(), "squared"), (Beta(), "kl"), (Beta(), "beta_kl")]
)
def test_the_loss_has_a_gradient_in_the_student_and_none_in_the_teacher(head: Sigmoid | Beta, how: Any):
    training = context(head)
    running: Any = moved(MeanTeacher(divergence=how).begin(training))
    value = running.loss(batch(training))
    assert float(value.detach()) > 0
    value.backward()
    slope = gradients(training.model)
    assert bool(torch.isfinite(slope).all())
    assert float(slope.norm()) > 0
    assert all(p.grad is None for p in running.teacher.model.parameters())


def test_the_loss_is_the_squared_difference_of_unweighted_probabilities():
    training = context(Sigmoid(), paid=POOL - 8, batch=16)
    training.model.eval()  # no dropout, so that both passes can be repeated
    running: Any = moved(MeanTeacher(weight=3.0, ramp=0.5).begin(training))
    images = training.source.images(training.unlabelled.rows)
    p, q = (torch.sigmoid(training.read(m(images))) for m in (running.teacher.model, training.model))
    for progress, height in ((0.0, 0.0067379), (0.25, 0.2865048), (0.75, 1.0)):
        found = running.loss(batch(training, progress=progress))
        torch.testing.assert_close(found, 3.0 * height * (p - q).square().mean(), rtol=1e-4, atol=1e-7)


def test_only_open_labels_take_part():
    training = context(Sigmoid(), paid=POOL - 8, batch=16)
    training.model.eval()
    half = replace(training.unlabelled, open=training.unlabelled.open & torch.tensor([True, False]))
    training = replace(training, unlabelled=half)
    running = moved(MeanTeacher().begin(training))
    (running.loss(batch(training))).backward()
    head = training.model.head
    assert float(head.weight.grad[1].abs().max()) == 0  # type: ignore[union-attr]
    assert float(head.weight.grad[0].abs().max()) > 0  # type: ignore[union-attr]


def test_the_student_may_see_a_stronger_view():
    training = context(Sigmoid(), paid=POOL - 8)
    training.model.eval()
    seen: list[Tensor] = []

    def strong(images: Tensor, generator: torch.Generator) -> Tensor:
        seen.append(images)
        return images + 100.0

    running: Any = MeanTeacher(strong=strong, ratio=0.5).begin(training)
    asked: list[Tensor] = []
    training.model.backbone.register_forward_pre_hook(lambda _, given: asked.append(given[0]))
    running.loss(batch(training))
    assert len(seen) == 1
    assert seen[0].shape == (4, 8)
    assert torch.equal(asked[-1], seen[0] + 100.0)


def trained(part: MeanTeacher | None, **settings: Any) -> Supervised:
    source, _, pool = material(paid=12)
    parts = Parts(Beta(), consistency=part)
    settings = {"steps": 12, "batch": 8, "predict_batch": 16, "dropout": 0.2} | settings
    learner = Supervised(source, Perceptron(8, 0.2), parts, **settings)
    learner.fit(pool, pool.table(), Seed(0))
    return learner


def test_without_weight_the_student_is_the_supervised_one_bit_for_bit():
    plain, student = trained(None), trained(MeanTeacher(weight=0, predict="student"))
    first, second = plain.state_dict(), student.state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_the_teacher_predicts_and_is_the_average_of_the_student():
    teacher, student = trained(MeanTeacher(weight=0)), trained(None)
    assert not torch.equal(teacher.state_dict()["head.weight"], student.state_dict()["head.weight"])
    alone = trained(MeanTeacher(weight=0, decay=0.0))
    assert all(torch.equal(v, student.state_dict()[k]) for k, v in alone.state_dict().items())


def test_rows_of_test_and_validation_are_never_read():
    trained(MeanTeacher(), steps=60)  # the source refuses them


def test_every_unlabelled_row_is_read():
    training = context(Sigmoid(), paid=12)
    seen: list[int] = []
    images = training.source.images

    def noting(rows: Any) -> Tensor:
        seen.extend(torch.as_tensor(rows).tolist())
        return images(rows)

    object.__setattr__(training.source, "images", noting)
    running = MeanTeacher().begin(training)
    start = batch(training, 0)
    seen.clear()
    for step in range(7):  # 28 rows in batches of 8: two passes end with step 7
        running.loss(replace(start, step=step, seed=training.seed / step))
    assert sorted(seen) == sorted([*range(12, POOL), *range(12, POOL)])


def test_a_pool_without_open_labels_is_no_error():
    training = context(paid=POOL)
    running: Any = MeanTeacher().begin(training)
    assert float(running.loss(batch(training))) == 0
    shifted = weights(training.model)
    moved(running)
    running.after_step(0)
    assert not torch.equal(weights(running.teacher.model), shifted)


def test_contract():
    source, _, _ = material()
    from toy import VectorSource

    free = VectorSource(source.vectors, source.labels, source.ids, source.groups)
    for parts in (
        Parts(consistency=MeanTeacher(strong=FeatureDropout())),
        Parts(Beta(), MCDropout(3), consistency=MeanTeacher(divergence="beta_kl")),
    ):
        check_learner(Supervised(free, Perceptron(8, 0.2), parts, steps=6, batch=8, predict_batch=16), free)


def test_settings():
    with pytest.raises(ConfigError, match=r"MeanTeacher\.weight: found -1"):
        MeanTeacher(weight=-1)
    with pytest.raises(ConfigError, match=r"MeanTeacher\.decay: found 1"):
        MeanTeacher(decay=1)
    with pytest.raises(ConfigError, match=r"MeanTeacher\.ramp: found 2"):
        MeanTeacher(ramp=2)
    with pytest.raises(UnknownName, match=r"MeanTeacher\.predict.*did you mean 'student'"):
        MeanTeacher(predict="studnt")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"MeanTeacher\.divergence: found beta_kl with Sigmoid"):
        MeanTeacher(divergence="beta_kl").begin(context(Sigmoid()))
    assert network(Sigmoid()) is not None
    with pytest.raises(ConfigError, match=r"MeanTeacher\.ratio: found 0, expected a number above 0"):
        MeanTeacher(ratio=0)
