"""NoTeacher: two networks that learn from the labels and agree with each other (survey, section 5.1.1).

Unnikrishnan, Nguyen, Balaram, Li, Foo, Krishnaswamy, "Semi-supervised classification of radiology images with
NoTeacher: a teacher that is not mean", Medical Image Analysis 2021: both networks and the label are noisy views of one
consensus c, x_i | c ~ N(c, 1 / w_i). With c integrated out, -log p = 1/2 sum_(i<j) w_i w_j / W (x_i - x_j)^2, where W
is the sum of the precisions that are present.
Balaram et al., MICCAI 2022: the evidential fit stands in for the squares between a network and the label.

The training loop adds the fit of the first network with weight 1, so all terms here are relative to that one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from medal.errors import ConfigError
from medal.learners.protocol import Augmentation
from medal.learners.training_part import Batch, RunningPart, TrainingContext
from medal.semi_supervised.divergence import mean_of, told
from medal.semi_supervised.ramps import check_share, check_weight, sigmoid_ramp
from medal.semi_supervised.stream import Stream, View, check_ratio


@dataclass(frozen=True)
class Consensus:
    """Weights of the pairs, w_i w_j / W.

    Args:
        first_label: of the first network and the label.
        second_label: of the second network and the label.
        labelled: of the two networks on a labelled row.
        unlabelled: of the two networks on an unlabelled row.
    """

    first_label: float
    second_label: float
    labelled: float
    unlabelled: float


def consensus(first: float, second: float, label: float) -> Consensus:
    """Weights of the pairs from the precisions of the three nodes.

    Args:
        first: w1 of the first network, above 0.
        second: w2 of the second network, above 0.
        label: wy of the label, above 0.

    Example:
        >>> consensus(1.0, 1.0, 2.0)
        Consensus(first_label=0.5, second_label=0.5, labelled=0.25, unlabelled=0.5)
    """
    whole = first + second + label
    return Consensus(
        first * label / whole, second * label / whole, first * second / whole, first * second / (first + second)
    )


@dataclass(frozen=True)
class NoTeacher:
    """Trains a second network of the same architecture; the pair predicts together.

    Each network sees a variation of its own. Where they are apart is a score for nothing: the pair gives draws.

    Args:
        first: precision of the first network, above 0.
        second: precision of the second network, above 0.
        label: precision of the label, above 0.
        weight: factor on the agreement of the networks; 1 is the model's own.
        ramp: share of the training during which this factor grows; 0 for none.
        ratio: unlabelled rows for each labelled one in a batch.
        strong: variation of the second network's view; without it the training's own, drawn anew.

    Raises:
        ConfigError: on a number out of range.
    """

    first: float = 1.0
    second: float = 1.0
    label: float = 1.0
    weight: float = 1.0
    ramp: float = 0.4
    ratio: float = 1.0
    strong: Augmentation | None = None

    def __post_init__(self) -> None:
        for name in ("first", "second", "label"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"NoTeacher.{name}: found {value}, expected a precision above 0")
        check_weight("NoTeacher", self.weight)
        check_ratio("NoTeacher", self.ratio)
        check_share("NoTeacher.ramp", self.ramp)

    def begin(self, context: TrainingContext) -> RunningPart:
        """Makes the second network."""
        return _Running(self, context)


class _Running(RunningPart):
    def __init__(self, part: NoTeacher, context: TrainingContext) -> None:
        self._part, self._context = part, context
        self._pairs = consensus(part.first, part.second, part.label)
        self.second = context.another(1)
        self.modules = (self.second,)
        self._stream = Stream(context, part.ratio)
        self._one = View(context, "first view")
        self._two = View(context, "second view", part.strong)
        self._labelled = View(context, "second view of labelled rows", part.strong)

    def loss(self, batch: Batch) -> Tensor:
        context, pairs = self._context, self._pairs
        raw = self.second(self._labelled(context.source.images(batch.rows)))
        fit = context.loss(raw, batch.target, batch.progress)
        value = pairs.second_label * fit
        weight = self._part.weight * sigmoid_ramp(batch.progress, self._part.ramp)
        if weight > 0:
            known = batch.target >= 0
            value = value + weight * pairs.labelled * mean_of(self._apart(batch.raw, raw), known)
        if weight > 0 and not self._stream.empty:
            views = self._stream.next()
            first, second = context.model(self._one(views.images)), self.second(self._two(views.images))
            value = value + weight * pairs.unlabelled * mean_of(self._apart(first, second), views.open)
        return value / pairs.first_label

    def _apart(self, first: Tensor, second: Tensor) -> Tensor:
        """Half the squared difference of the two networks' probabilities, (R, L); both are moved by it."""
        context = self._context
        p, _ = told(context.head, context.read(first))
        q, _ = told(context.head, context.read(second))
        return 0.5 * (p - q).square()

    def networks(self) -> tuple[nn.Module, ...]:
        return (self._context.model, self.second)
