"""Virtual adversarial training: a prediction stays as it is under the small change that would move it most.

Miyato, Maeda, Koyama, Ishii, "Virtual adversarial training: a regularization method for supervised and semi-supervised
learning", TPAMI 2018 (survey, section 5.1.1): the direction by power iteration on the divergence.
Balaram et al., MICCAI 2022: with the divergence of the Betas, where the head gives evidence.

Both passes of a comparison have the same dropout masks, so that the divergence is that of the change alone; and the
statistics of batch normalisation are left as the labelled batches made them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from medal.errors import ConfigError, UnknownName
from medal.learners.training_part import Batch, RunningPart, TrainingContext
from medal.semi_supervised.batch_statistics import statistics_untouched
from medal.semi_supervised.divergence import Divergence, check_divergence, check_head, divergence, mean_of
from medal.semi_supervised.ramps import check_share, check_weight, sigmoid_ramp
from medal.semi_supervised.stream import Stream, View, check_ratio

Unit = Literal["norm", "spread"]


@dataclass(frozen=True)
class VAT:
    """Adds weight x ramp x divergence between the predictions of unlabelled rows and of their adversarial neighbours.

    Args:
        weight: of the loss at its full height.
        eps: size of the change, above 0, in `unit`.
        unit: "norm": `eps` is the Euclidean norm of each row's change. "spread": it is the root mean square of the
            change in standard deviations of the row's own entries, which fits images and features of any scale; a norm
            of 5 on a normalised image of 3 x 224 x 224 is a spread of 0.013.
        xi: size of the step that probes for the direction, as a share of `eps`.
        iterations: of the power method.
        ramp: share of the training during which the weight grows.
        divergence: "kl" or "squared" of the probabilities, or "beta_kl" of the Betas of a head that gives evidence.
        ratio: unlabelled rows for each labelled one in a batch.

    Raises:
        ConfigError: on a number out of range.
        UnknownName: on another name.
    """

    weight: float = 0.1
    eps: float = 0.05
    unit: Unit = "spread"
    xi: float = 0.1
    iterations: int = 1
    ramp: float = 0.4
    divergence: Divergence = "kl"
    ratio: float = 1.0

    def __post_init__(self) -> None:
        check_weight("VAT", self.weight)
        check_ratio("VAT", self.ratio)
        check_share("VAT.ramp", self.ramp)
        check_divergence("VAT", self.divergence)
        for name, value in (("eps", self.eps), ("xi", self.xi)):
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"VAT.{name}: found {value}, expected a number above 0")
        if self.unit not in ("norm", "spread"):
            raise UnknownName.near("VAT.unit", self.unit, ("norm", "spread"))
        if self.iterations < 1:
            raise ConfigError(f"VAT.iterations: found {self.iterations}, expected at least 1")

    def begin(self, context: TrainingContext) -> RunningPart:
        """Opens a stream of unlabelled rows."""
        check_head("VAT", self.divergence, context.head)
        return _Running(self, context)

    def radius(self, images: Tensor) -> Tensor:
        """Norm of each row's change, (R,).

        Args:
            images: (R, ...).
        """
        flat = images.flatten(1)
        if self.unit == "norm":
            return torch.full((len(images),), self.eps, device=images.device)
        return self.eps * math.sqrt(flat.shape[1]) * flat.std(1, correction=0).clamp_min(1e-12)


def unit_length(change: Tensor, otherwise: Tensor | None = None) -> Tensor:
    """Each row scaled to norm 1; a row without a direction takes that of `otherwise`.

    Args:
        change: (R, ...).
        otherwise: (R, ...) of norm 1.
    """
    norm = change.flatten(1).norm(dim=1).view(-1, *[1] * (change.ndim - 1))
    scaled = change / norm.clamp_min(torch.finfo(change.dtype).tiny)
    return scaled if otherwise is None else torch.where((norm > 0) & torch.isfinite(norm), scaled, otherwise)


class _Running(RunningPart):
    def __init__(self, part: VAT, context: TrainingContext) -> None:
        self._part, self._context = part, context
        self._stream, self._view = Stream(context, part.ratio), View(context, "view")

    def loss(self, batch: Batch) -> Tensor:
        weight = self._part.weight * sigmoid_ramp(batch.progress, self._part.ramp)
        if weight == 0 or self._stream.empty:
            return torch.zeros((), device=self._context.device)
        views = self._stream.next()
        images = self._view(views.images)
        with statistics_untouched(self._context.model):
            target = self._answer(images, batch).detach()
            moved = images + self.change(images, target, views.open, batch)
            return weight * mean_of(self._distance(target, self._answer(moved, batch)), views.open)

    def change(self, images: Tensor, target: Tensor, taking_part: Tensor, batch: Batch) -> Tensor:
        """The adversarial change of each row, of norm `radius`; the model keeps no gradient of the search."""
        radius = self._part.radius(images).view(-1, *[1] * (images.ndim - 1))
        generator = (batch.seed / "direction").torch()
        direction = unit_length(torch.randn(images.shape, generator=generator).to(images))
        for _ in range(self._part.iterations):
            probe = (self._part.xi * radius * direction).requires_grad_()
            apart = self._distance(target, self._answer(images + probe, batch)).where(taking_part, 0.0).sum()
            (slope,) = torch.autograd.grad(apart, probe)
            direction = unit_length(slope, otherwise=direction)
        return radius * direction

    def _answer(self, images: Tensor, batch: Batch) -> Tensor:
        with (batch.seed / "masks").globally():
            return self._context.read(self._context.model(images))

    def _distance(self, target: Tensor, student: Tensor) -> Tensor:
        return divergence(self._context.head, target, student, self._part.divergence)
