"""Momentum pseudo-labels: answers that are smoothed over the iterations (survey, section 5.1.1).

Nguyen et al., "GOAL: gist-set online active learning for efficient chest X-ray image annotation", MIDL 2021: confident
images get pseudo-labels that are assigned anew in every iteration, from predictions with momentum, p_bar <- m p_bar +
(1 - m) p, so that one odd step does not turn an answer. Here each label of each row has its own p_bar, kept under the
row's id for one training; what a gate lets through is trained with as `PseudoLabel` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from medal.errors import ConfigError
from medal.learners.protocol import Augmentation
from medal.learners.training_part import Batch, RunningPart, TrainingContext
from medal.semi_supervised.batch_statistics import evaluating
from medal.semi_supervised.divergence import told
from medal.semi_supervised.gates import Confident, Gate, Told
from medal.semi_supervised.ramps import check_share, check_weight, linear_ramp
from medal.semi_supervised.stream import Stream, View, Views


class SmoothedPredictions:
    """The smoothed probability of each label of each row, kept under the row's id.

    Args:
        ids: (n) of the rows.
        labels: L.
        momentum: m, in [0, 1).
    """

    def __init__(self, ids: Sequence[str], labels: int, momentum: float) -> None:
        self._line = {name: line for line, name in enumerate(ids)}
        self._momentum = momentum
        self._smoothed = torch.full((len(ids), labels), torch.nan)

    def update(self, ids: Sequence[str], marginals: Float[Tensor, "r l"]) -> Float[Tensor, "r l"]:
        """Takes in predictions and gives the smoothed ones; the first prediction of a row is taken as it is.

        Args:
            ids: (R) rows; of a row that is named twice, the later prediction stands.
            marginals: (R, L) probabilities.
        """
        lines = torch.tensor([self._line[name] for name in ids], dtype=torch.long)
        before, now = self._smoothed[lines], marginals.detach().cpu().float()
        smoothed = torch.where(torch.isnan(before), now, self._momentum * before + (1 - self._momentum) * now)
        for line, row in zip(lines.tolist(), smoothed, strict=True):
            self._smoothed[line] = row
        return smoothed.to(marginals)

    def state_dict(self) -> dict[str, list[float]]:
        """Smoothed probabilities by id; NaN for a row that was not seen."""
        return {name: self._smoothed[line].tolist() for name, line in self._line.items()}


@dataclass(frozen=True)
class MomentumPseudoLabel:
    """Adds weight x ramp x supervised loss on labels whose smoothed prediction the gate lets through.

    Every step takes in the predictions of its rows, in evaluation mode and without gradient, and decides their
    pseudo-labels anew from the smoothed ones. A gate that asks about evidence gets that of the step. Predictions are
    taken in from the step on in which the weight is above 0, since earlier ones are those of an untrained network.

    Args:
        gate: lets labels through by their smoothed probabilities.
        momentum: m, in [0, 1); 0 is a pseudo-label of the step alone.
        weight: of the loss at its full height.
        start: share of the training before which the weight is 0.
        full: share of the training after which the weight stays; it grows in between.
        ratio: unlabelled rows for each labelled one in a batch.
        strong: variation of the view that is trained with; without it, the view that was decided on.

    Raises:
        ConfigError: on a number out of range.
    """

    gate: Gate = field(default_factory=lambda: Confident(0.9))
    momentum: float = 0.9
    weight: float = 1.0
    start: float = 0.2
    full: float = 0.6
    ratio: float = 1.0
    strong: Augmentation | None = None

    def __post_init__(self) -> None:
        check_weight("MomentumPseudoLabel", self.weight)
        check_share("MomentumPseudoLabel.start", self.start)
        check_share("MomentumPseudoLabel.full", self.full)
        if self.full < self.start:
            raise ConfigError(
                f"MomentumPseudoLabel: found start {self.start} after full {self.full}; let the weight grow"
            )
        if not 0 <= self.momentum < 1:
            raise ConfigError(f"MomentumPseudoLabel.momentum: found {self.momentum}, expected at least 0 and below 1")
        if not self.ratio > 0:
            raise ConfigError(f"MomentumPseudoLabel.ratio: found {self.ratio}, expected a number above 0")

    def begin(self, context: TrainingContext) -> RunningMomentum:
        """Begins with no prediction at all."""
        return RunningMomentum(self, context)


class RunningMomentum(RunningPart):
    """The part in the middle of a training.

    Args:
        part: its settings.
        context: of the training.
    """

    def __init__(self, part: MomentumPseudoLabel, context: TrainingContext) -> None:
        self._part, self._context = part, context
        self._gate = part.gate.opened(context)
        self._stream = Stream(context, part.ratio)
        self._weak = View(context, "weak view")
        self._strong = View(context, "strong view", part.strong)
        self.predictions = SmoothedPredictions(context.unlabelled.ids, context.unlabelled.open.shape[1], part.momentum)

    def loss(self, batch: Batch) -> Tensor:
        weight = self._part.weight * linear_ramp(batch.progress, self._part.start, self._part.full)
        nothing = torch.zeros((), device=self._context.device)
        if weight == 0 or self._stream.empty:
            return nothing
        views = self._stream.next()
        images = self._weak(views.images)
        target = self.assigned(images, views)
        let_through = torch.isfinite(target)
        if not bool(let_through.any()):
            return nothing
        if self._part.strong is not None:
            images = self._strong(views.images)
        share = let_through.sum() / views.open.sum()
        return weight * share * self._context.loss(self._context.model(images), target, batch.progress)

    @torch.no_grad()
    def assigned(self, images: Tensor, views: Views) -> Tensor:
        """Pseudo-labels of this iteration, (R, L) of 1 and 0, NaN where there is none.

        Args:
            images: (R, channels, *S) as they are decided on.
            views: the rows.
        """
        context = self._context
        with evaluating(context.model):
            marginals, evidence = told(context.head, context.read(context.model(images)))
        smoothed = self.predictions.update(views.ids, marginals)
        passed = self._gate(Told(views.ids, smoothed, evidence, views.open)) & views.open
        return (smoothed > 0.5).to(smoothed.dtype).masked_fill(~passed, torch.nan)
