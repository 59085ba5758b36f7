"""Pseudo-labels: the network's own answers as labels of unlabelled rows (survey, sections 4.1.1, 4.1.2 and 5.1.1).

Lee, "Pseudo-label: the simple and efficient semi-supervised learning method for deep neural networks", ICML workshop
2013: hard answers, decided anew in every step, with a weight that is 0, then grows.
Wang et al., "Cost-effective active learning" (CEAL), TCSVT 2017: decided once in each round for what is sure.
Sohn et al., "FixMatch", NeurIPS 2020, and Zhang et al., "FlexMatch", NeurIPS 2021: the answer to a weakly varied view
is the label of a strongly varied one.

A pseudo-label lives in one training. The pool is not told of it: a row that got one stays a candidate, is decided anew
in the next round, and can be asked about.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from medal.errors import ConfigError, UnknownName
from medal.learners.protocol import Augmentation
from medal.learners.training_part import Batch, RunningPart, TrainingContext
from medal.semi_supervised.batch_statistics import evaluating
from medal.semi_supervised.divergence import told
from medal.semi_supervised.gates import Gate, Margin, Told
from medal.semi_supervised.ramps import check_share, check_weight, linear_ramp
from medal.semi_supervised.stream import Stream, View, check_ratio

BLOCK = 256
"""Rows that are labelled at once when they are decided once in a training."""


@dataclass(frozen=True)
class PseudoLabel:
    """Adds weight x ramp x supervised loss on what the gate lets through.

    The loss is summed over what was let through and divided by all open labels of the batch, so that few pseudo-labels
    weigh little. Answers are read in evaluation mode and without gradient.

    Args:
        gate: lets labels through.
        weight: of the loss at its full height.
        start: share of the training before which the weight is 0.
        full: share of the training after which the weight stays; it grows in between.
        decide: "always", in every step for its rows; "once", for the whole pool when the weight first is above 0.
        ratio: unlabelled rows for each labelled one in a batch.
        strong: variation of the view that is trained with; without it, the view that was decided on.

    Raises:
        ConfigError: on a number out of range.
        UnknownName: on another `decide`.
    """

    gate: Gate = field(default_factory=Margin)
    weight: float = 0.3
    start: float = 0.4
    full: float = 0.8
    decide: Literal["always", "once"] = "always"
    ratio: float = 1.0
    strong: Augmentation | None = None

    def __post_init__(self) -> None:
        check_weight("PseudoLabel", self.weight)
        check_ratio("PseudoLabel", self.ratio)
        check_share("PseudoLabel.start", self.start)
        check_share("PseudoLabel.full", self.full)
        if self.full < self.start:
            raise ConfigError(f"PseudoLabel: found start {self.start} after full {self.full}; let the weight grow")
        if self.decide not in ("always", "once"):
            raise UnknownName.near("PseudoLabel.decide", self.decide, ("always", "once"))

    def begin(self, context: TrainingContext) -> RunningPart:
        """Opens the gate."""
        return _Running(self, context)


class _Running(RunningPart):
    def __init__(self, part: PseudoLabel, context: TrainingContext) -> None:
        self._part, self._context = part, context
        self.gate = part.gate.opened(context)
        self._stream: Stream | None = Stream(context, part.ratio) if part.decide == "always" else None
        self._decided: Tensor | None = None
        self._weak = View(context, "weak view")
        self._strong = View(context, "strong view", part.strong)

    def loss(self, batch: Batch) -> Tensor:
        weight = self._part.weight * linear_ramp(batch.progress, self._part.start, self._part.full)
        nothing = torch.zeros((), device=self._context.device)
        if weight == 0:
            return nothing
        stream = self._stream or self._decide()
        if stream.empty:
            return nothing
        views, context = stream.next(), self._context
        images = self._weak(views.images)
        if self._decided is None:
            target = self.answers(images, views.ids, views.open)
        else:
            target = self._decided[views.lines].to(context.device)
        let_through = torch.isfinite(target)
        if not bool(let_through.any()):
            return nothing
        if self._part.strong is not None:
            images = self._strong(views.images)
        share = let_through.sum() / views.open.sum()
        return weight * share * context.loss(context.model(images), target, batch.progress)

    @torch.no_grad()
    def answers(self, images: Tensor, ids: tuple[str, ...], open_: Tensor) -> Tensor:
        """Pseudo-labels, (R, L) of 1 and 0, NaN where there is none."""
        context = self._context
        with evaluating(context.model):
            marginals, evidence = told(context.head, context.read(context.model(images)))
        passed = self.gate(Told(ids, marginals, evidence, open_)) & open_
        return (marginals > 0.5).to(marginals.dtype).masked_fill(~passed, torch.nan)

    def _decide(self) -> Stream:
        """Labels the unlabelled rows once, as they are, and draws from those with a pseudo-label from then on."""
        context, pool = self._context, self._context.unlabelled
        made = []
        for lines in torch.arange(len(pool)).split(BLOCK):
            images = context.source.images(pool.rows[lines]).to(context.device)
            ids = tuple(pool.ids[line] for line in lines.tolist())
            made.append(self.answers(images, ids, pool.open[lines].to(context.device)).cpu())
        self._decided = torch.cat(made) if made else torch.empty(0, pool.open.shape[1])
        chosen = torch.nonzero(torch.isfinite(self._decided).any(1)).flatten()
        self._stream = Stream(context, self._part.ratio, chosen)
        return self._stream
