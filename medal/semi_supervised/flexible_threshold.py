"""FlexMatch's thresholds: lower for answers that the network rarely gives with confidence (survey, section 4.1.2).

Zhang et al., "FlexMatch: boosting semi-supervised learning with curriculum pseudo labeling", NeurIPS 2021.

For independent labels there is one counter for each label and polarity: sigma(l, c) = number of rows whose last
confident answer for label l is c, present or absent. With N unused rows, those without one so far, beta(l, c) =
sigma(l, c) / max(max_c sigma(l, c), N unused), and the threshold is T = tau beta / (2 - beta).

While no row has had a confident answer, beta and T are 0 and every answer would pass. T is therefore never below
`floor`. A floor of 1 / 2, one over the number of answers, still lets everything pass, since no confidence is below it:
on frozen features of real radiographs with 60 labels this cost .04 of AUROC, so the default is higher.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from medal.learners.training_part import TrainingContext
from medal.semi_supervised.gates import RunningGate, Told, check_confidence, confidence

UNUSED = -1


def flexible(beta: Float[Tensor, "*n"], threshold: float) -> Float[Tensor, "*n"]:
    """T(beta) = threshold x beta / (2 - beta), convex from 0 to the threshold.

    Args:
        beta: learning status in [0, 1].
        threshold: tau.

    Example:
        >>> flexible(torch.tensor([0.0, 0.25, 0.5, 1.0]), 0.95)
        tensor([0.0000, 0.1357, 0.3167, 0.9500])
    """
    return threshold * beta / (2 - beta)


class LastAnswers:
    """The last confident answer for each label of each row, kept under the row's id.

    Args:
        ids: (n) of the unlabelled rows.
        open_: (n, L) bool, labels that nobody has answered; the others are not counted.
    """

    def __init__(self, ids: Sequence[str], open_: Tensor) -> None:
        self._line = {name: line for line, name in enumerate(ids)}
        self._open = open_.cpu()
        self._answers = torch.full(open_.shape, UNUSED, dtype=torch.int8)

    def note(self, ids: Sequence[str], present: Tensor, confident: Tensor) -> None:
        """Takes in the answers that are confident; the others leave what was known before.

        Args:
            ids: (R) rows.
            present: (R, L) bool, the likelier answer.
            confident: (R, L) bool.
        """
        taken = torch.where(confident, present.to(torch.int8), UNUSED).cpu()
        for name, answers in zip(ids, taken, strict=True):  # one by one: a batch may hold a row twice
            line = self._answers[self._line[name]]
            line.copy_(torch.where(answers == UNUSED, line, answers))

    def counts(self) -> Tensor:
        """(L, 3) rows of each label whose last confident answer is absent, present, or that have none."""
        answers = self._answers.masked_fill(~self._open, 2)
        return torch.stack([(answers == c).sum(0) for c in (0, 1, UNUSED)], dim=-1)

    def status(self, warm_up: bool = True) -> Tensor:
        """Learning status beta of absent and present for each label, (L, 2) in [0, 1].

        Args:
            warm_up: whether rows without a confident answer hold the status down.
        """
        counts = self.counts()
        most = counts[:, :2].amax(1)
        most = torch.maximum(most, counts[:, 2]) if warm_up else most
        return counts[:, :2] / most.clamp_min(1)[:, None]

    def state_dict(self) -> dict[str, list[int]]:
        """Answers by id: 0 absent, 1 present, -1 none so far."""
        return {name: self._answers[line].tolist() for name, line in self._line.items()}


@dataclass(frozen=True)
class FlexibleThreshold:
    """A gate with one threshold for each label and polarity.

    Args:
        threshold: tau, in [0.5, 1].
        floor: smallest threshold, in [0.5, 1]; never more than tau itself.
        warm_up: whether rows without a confident answer so far hold the thresholds of all answers down.

    Raises:
        ConfigError: on numbers out of range.
    """

    threshold: float = 0.95
    floor: float = 0.8
    warm_up: bool = True

    def __post_init__(self) -> None:
        check_confidence("FlexibleThreshold.threshold", self.threshold)
        check_confidence("FlexibleThreshold.floor", self.floor)

    def opened(self, context: TrainingContext) -> RunningGate:
        return RunningThreshold(self, LastAnswers(context.unlabelled.ids, context.unlabelled.open))


class RunningThreshold:
    """Thresholds in the middle of a training.

    Args:
        gate: its settings.
        answers: what was said with confidence so far.
    """

    def __init__(self, gate: FlexibleThreshold, answers: LastAnswers) -> None:
        self._gate = gate
        self.answers = answers

    def thresholds(self) -> Tensor:
        """Of absent and present for each label, (L, 2)."""
        flexed = flexible(self.answers.status(self._gate.warm_up), self._gate.threshold)
        return flexed.clamp_min(min(self._gate.floor, self._gate.threshold))

    def __call__(self, told: Told) -> Tensor:
        sure, present = confidence(told.marginals), told.marginals > 0.5
        self.answers.note(told.ids, present, (sure >= self._gate.threshold) & told.open)
        absent_at, present_at = self.thresholds().to(sure).unbind(-1)
        return sure >= torch.where(present, present_at, absent_at)
