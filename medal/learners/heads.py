"""Heads: the last layer, its loss, and what it says about a row (survey, sections 3.1.3 and 5.1.1).

A head is a frozen configuration; the learner builds the layer from it in each round and handles raw outputs, (..., D),
which only the head can read. `Sigmoid` gives one Bernoulli probability a label; `Beta` (Sensoy et al., NeurIPS 2018;
Balaram et al., MICCAI 2022) gives one Beta distribution a label from a single pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from medal.errors import ConfigError, UnknownName
from medal.learners.losses import FITS, Fit, annealed, bernoulli, beta_loss, beta_type2

LIMIT = 10.0
"""Largest |z| that the exponential sees; exp(10) is evidence of 22026 cases."""
TAIL = 20.0
"""Beyond |z| of this softplus is z or exp(z) to nine digits."""


@runtime_checkable
class Head(Protocol):
    """Turns features into raw outputs, and raw outputs into a loss and into named outputs.

    Attributes:
        kind: "bernoulli" or "evidence".
    """

    kind: ClassVar[Literal["bernoulli", "evidence"]]

    def build(self, features: int, labels: int) -> nn.Module:
        """A fresh layer (R, features) -> (R, D); initialised from the global torch state, which the caller seeds."""
        ...

    def loss(
        self, raw: Tensor, targets: Tensor, progress: float = 1.0, positive_weight: Tensor | None = None
    ) -> Tensor:
        """Scalar training loss.

        Args:
            raw: (R, D).
            targets: (R, L) of 1, 0, soft values, NaN and -1.
            progress: part of the training that is done, in [0, 1].
            positive_weight: (L) weight of each label's positives.
        """
        ...

    def nll(self, raw: Tensor, targets: Tensor) -> Tensor:
        """Log score of the marginals, without weight or regulariser: (R, L) in nats, 0 where a label is not known."""
        ...

    def unweight(self, raw: Tensor, positive_weight: Tensor) -> Tensor:
        """Raw outputs as if positives had not been weighted in training, so that probabilities mean prevalence again.

        Args:
            raw: (..., D).
            positive_weight: (L), the weights that `loss` was given.
        """
        ...

    def temper(self, raw: Tensor, temperature: Tensor) -> Tensor:
        """Raw outputs that say the same with less confidence (T > 1) or more (T < 1).

        Args:
            raw: (..., D).
            temperature: (L), above 0.
        """
        ...

    def outputs(self, raw: Tensor) -> dict[str, Tensor]:
        """Named outputs in float32.

        Args:
            raw: (R, M, D), M members.

        Returns:
            "marginals" (R, M, L); kind "evidence" adds "evidence" (R, L, 2), alpha and beta of the mean evidence over
            the members.
        """
        ...


@dataclass(frozen=True)
class Sigmoid:
    """One logit a label, trained with binary cross-entropy; D = L.

    Example:
        >>> Sigmoid().outputs(torch.zeros(1, 1, 2))["marginals"]
        tensor([[[0.5000, 0.5000]]])
    """

    kind: ClassVar[Literal["bernoulli", "evidence"]] = "bernoulli"

    def build(self, features: int, labels: int) -> nn.Module:
        return nn.Linear(features, labels)

    def loss(
        self, raw: Tensor, targets: Tensor, progress: float = 1.0, positive_weight: Tensor | None = None
    ) -> Tensor:
        return bernoulli(raw, targets, positive_weight=positive_weight)

    def nll(self, raw: Tensor, targets: Tensor) -> Tensor:
        return bernoulli(raw, targets, reduction="none")

    def unweight(self, raw: Tensor, positive_weight: Tensor) -> Tensor:
        """Weighting positives w times multiplies the odds by w."""
        return raw - positive_weight.to(raw.dtype).log()

    def temper(self, raw: Tensor, temperature: Tensor) -> Tensor:
        return raw / temperature.to(raw.dtype)

    def outputs(self, raw: Float[Tensor, "r m d"]) -> dict[str, Tensor]:
        return {"marginals": torch.sigmoid(raw.float())}


@dataclass(frozen=True)
class Beta:
    """Evidence for and against each label; D = 2 L, ordered (for, against) label by label.

    Args:
        fit: "cross_entropy", "type2" or "brier".
        evidence: activation that makes evidence of raw outputs: "softplus", "relu" (no gradient below 0) or "exp" of z
            clamped to [-10, 10].
        anneal: part of the training after which the divergence to the uniform has its full weight, in [0, 1].

    Raises:
        UnknownName: on another fit or activation.
        ConfigError: when `anneal` is outside [0, 1].

    Example:
        >>> Beta(evidence="relu").outputs(torch.tensor([[[3.0, -1.0]]]))
        {'evidence': tensor([[[4., 1.]]]), 'marginals': tensor([[[0.8000]]])}
    """

    kind: ClassVar[Literal["bernoulli", "evidence"]] = "evidence"

    fit: Fit = "cross_entropy"
    evidence: Literal["softplus", "relu", "exp"] = "softplus"
    anneal: float = 0.25

    def __post_init__(self) -> None:
        if self.fit not in FITS:
            raise UnknownName.near("fit", self.fit, FITS)
        if self.evidence not in ACTIVATIONS:
            raise UnknownName.near("evidence", self.evidence, ACTIVATIONS)
        if not 0 <= self.anneal <= 1:
            raise ConfigError(f"Beta.anneal: found {self.anneal}, expected a part of the training in [0, 1]")

    def build(self, features: int, labels: int) -> nn.Module:
        return nn.Linear(features, 2 * labels)

    def concentration(self, raw: Tensor) -> Tensor:
        """Alpha and beta, (..., L, 2), each at least 1, from raw outputs (..., 2 L)."""
        activate, _ = ACTIVATIONS[self.evidence]
        wide = raw.to(torch.promote_types(raw.dtype, torch.float32))
        return activate(wide).unflatten(-1, (-1, 2)) + 1

    def loss(
        self, raw: Tensor, targets: Tensor, progress: float = 1.0, positive_weight: Tensor | None = None
    ) -> Tensor:
        return beta_loss(
            self.concentration(raw),
            targets,
            fit=self.fit,
            kl_weight=annealed(progress, self.anneal),
            positive_weight=positive_weight,
        )

    def nll(self, raw: Tensor, targets: Tensor) -> Tensor:
        return beta_type2(self.concentration(raw), targets, reduction="none")

    def unweight(self, raw: Tensor, positive_weight: Tensor) -> Tensor:
        """A positive that was counted w times gave w times the evidence for its label, which is divided by w."""
        _, divide = ACTIVATIONS[self.evidence]
        weight = positive_weight.to(raw.dtype)
        return divide(raw, torch.stack([weight, torch.ones_like(weight)], dim=-1).flatten())

    def temper(self, raw: Tensor, temperature: Tensor) -> Tensor:
        """Raw outputs whose evidence is divided by the temperature; "exp" stays within its clamp."""
        _, divide = ACTIVATIONS[self.evidence]
        return divide(raw, temperature.to(raw.dtype).repeat_interleave(2))

    def outputs(self, raw: Float[Tensor, "r m d"]) -> dict[str, Tensor]:
        each = self.concentration(raw.float())
        return {"evidence": each.mean(1), "marginals": each[..., 0] / each.sum(-1)}


def _exp(raw: Tensor) -> Tensor:
    return raw.clamp(-LIMIT, LIMIT).exp()


def _divide_softplus(raw: Tensor, temperature: Tensor) -> Tensor:
    """softplus^-1(softplus(z) / T), with softplus^-1(e) = e + log(1 - exp(-e))."""
    share = F.softplus(raw) / temperature
    inverse = share + torch.log(-torch.expm1(-share))
    return torch.where(raw < -TAIL, raw - temperature.log(), inverse)


def _divide_relu(raw: Tensor, temperature: Tensor) -> Tensor:
    return raw / temperature


def _divide_exp(raw: Tensor, temperature: Tensor) -> Tensor:
    return (raw.clamp(-LIMIT, LIMIT) - temperature.log()).clamp(-LIMIT, LIMIT)


ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "softplus": (F.softplus, _divide_softplus),
    "relu": (F.relu, _divide_relu),
    "exp": (_exp, _divide_exp),
}
"""Activation, and division of its result by a temperature in terms of the raw output."""
