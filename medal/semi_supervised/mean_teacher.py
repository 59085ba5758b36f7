"""Mean Teacher: the student agrees with a moving average of itself (survey, sections 4.1.2 and 5.1.1).

Tarvainen and Valpola, "Mean teachers are better role models: weight-averaged consistency targets improve
semi-supervised deep learning results", NIPS 2017.
Balaram et al., MICCAI 2022: with one Beta for each finding, where the divergence of the Betas can be the consistency.

The reference gives teacher and student one variation and one dropout mask each. Here the teacher speaks without
dropout, since its answer is the target; the student's view may be varied more strongly than the teacher's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from medal.errors import UnknownName
from medal.learners.protocol import Augmentation
from medal.learners.training_part import Batch, RunningPart, TrainingContext
from medal.semi_supervised.divergence import Divergence, check_divergence, check_head, divergence, mean_of
from medal.semi_supervised.ramps import check_share, check_weight, sigmoid_ramp
from medal.semi_supervised.stream import Stream, View, check_ratio
from medal.semi_supervised.teacher import Buffers, Teacher, check_average


@dataclass(frozen=True)
class MeanTeacher:
    """Adds weight x ramp x divergence between the teacher's and the student's prediction of unlabelled rows.

    With weight 0 the student trains as without this part, and the teacher is still the average of its weights.

    Args:
        weight: of the consistency at its full height. Short trainings of small nets on images are harmed by much of it;
            on frozen features 10 calibrates the probabilities better and leaves their ranking as it is.
        decay: of the moving average; a training of n steps wants n (1 - decay) of about 6.
        ramp: share of the training during which the weight grows.
        divergence: "squared" or "kl" of the probabilities, or "beta_kl" of the Betas of a head that gives evidence.
        ratio: unlabelled rows for each labelled one in a batch.
        strong: variation of the student's view; without it the training's own, drawn anew.
        buffers: what the teacher does with buffers, see `Teacher`.
        predict: "teacher" or "student", which predicts after the training.

    Raises:
        ConfigError: on a number out of range.
        UnknownName: on another name.
    """

    weight: float = 0.3
    decay: float = 0.98
    ramp: float = 0.4
    divergence: Divergence = "squared"
    ratio: float = 1.0
    strong: Augmentation | None = None
    buffers: Buffers = "average"
    predict: Literal["teacher", "student"] = "teacher"

    def __post_init__(self) -> None:
        check_weight("MeanTeacher", self.weight)
        check_ratio("MeanTeacher", self.ratio)
        check_average("MeanTeacher", self.decay, self.buffers)
        check_share("MeanTeacher.ramp", self.ramp)
        check_divergence("MeanTeacher", self.divergence)
        if self.predict not in ("teacher", "student"):
            raise UnknownName.near("MeanTeacher.predict", self.predict, ("teacher", "student"))

    def begin(self, context: TrainingContext) -> RunningPart:
        """Copies the student."""
        check_head("MeanTeacher", self.divergence, context.head)
        return _Running(self, context)


class _Running(RunningPart):
    def __init__(self, part: MeanTeacher, context: TrainingContext) -> None:
        self._part, self._context = part, context
        self.teacher = Teacher(context.model, part.decay, part.buffers)
        self._stream = Stream(context, part.ratio)
        self._weak, self._strong = View(context, "teacher's view"), View(context, "student's view", part.strong)

    def loss(self, batch: Batch) -> Tensor:
        weight = self._part.weight * sigmoid_ramp(batch.progress, self._part.ramp)
        if weight == 0 or self._stream.empty:
            return torch.zeros((), device=self._context.device)
        views, context = self._stream.next(), self._context
        target = context.read(self.teacher(self._weak(views.images)))
        student = context.read(context.model(self._strong(views.images)))
        return weight * mean_of(divergence(context.head, target, student, self._part.divergence), views.open)

    def after_step(self, step: int) -> None:
        self.teacher.follow(step)

    def networks(self) -> tuple[nn.Module, ...]:
        return (self.teacher.model,) if self._part.predict == "teacher" else ()
