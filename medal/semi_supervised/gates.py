"""Gates: which labels of which unlabelled rows get a pseudo-label (survey, section 4.1.1).

Every label of a row is gated by itself, since a multi-label network is sure of some findings and not of others.

Lee, "Pseudo-label", ICML workshop 2013: all of them; a margin keeps the coin tosses out.
Wang, Zhang, Li, Zhang, Lin, "Cost-effective active learning" (CEAL), TCSVT 2017: entropy below a threshold that falls
with the rounds.
Sohn et al., "FixMatch", NeurIPS 2020: confidence above a threshold.
Balaram et al., MICCAI 2022 (section 5.1.1): a clear probability with enough evidence behind it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from medal.errors import ConfigError
from medal.learners.training_part import TrainingContext
from medal.uncertainty.evidential import beta_vacuity


@dataclass(frozen=True)
class Told:
    """What the network says about a batch of unlabelled rows.

    Args:
        ids: (R) of the rows.
        marginals: (R, L) probabilities that mean prevalence.
        evidence: (R, L, 2) alpha and beta; None when the head gives none.
        open: (R, L) bool, labels that nobody has answered.
    """

    ids: Sequence[str]
    marginals: Float[Tensor, "r l"]
    evidence: Float[Tensor, "r l 2"] | None
    open: Bool[Tensor, "r l"]


class RunningGate(Protocol):
    """A gate in the middle of a training."""

    def __call__(self, told: Told) -> Tensor:
        """True where the network's answer may be trained with, (R, L) bool."""
        ...


@runtime_checkable
class Gate(Protocol):
    """Configuration of a gate."""

    def opened(self, context: TrainingContext) -> RunningGate:
        """The gate at the beginning of a training.

        Raises:
            ConfigError: when the head does not give what the gate asks about.
        """
        ...


def confidence(marginals: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Probability of the likelier answer, in [0.5, 1]."""
    return torch.maximum(marginals, 1 - marginals)


@dataclass(frozen=True)
class Margin:
    """Probabilities that are further than `margin` from a half.

    Args:
        margin: in [0, 0.5); 0 keeps all but exact halves.

    Raises:
        ConfigError: on another margin.
    """

    margin: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.margin < 0.5:
            raise ConfigError(f"Margin.margin: found {self.margin}, expected at least 0 and below 0.5")

    def opened(self, context: TrainingContext) -> RunningGate:
        return lambda told: (told.marginals - 0.5).abs() > self.margin


@dataclass(frozen=True)
class EntropyBelow:
    """Labels whose entropy is below delta, which falls with the rounds of the campaign.

    delta is `delta` in round 0 and sinks by `decay` x t from round t - 1 to round t, never below 0. Entropies are those
    of one label's Bernoulli distribution, in nats.

    Args:
        delta: threshold of round 0 in nats, at least 0; no entropy is above log 2.
        decay: at least 0.

    Raises:
        ConfigError: on a negative number.

    Example:
        >>> [round(EntropyBelow(0.05, 0.0033).threshold(t), 4) for t in (0, 1, 2, 3, 9)]
        [0.05, 0.0467, 0.0401, 0.0302, 0.0]
    """

    delta: float = 0.05
    decay: float = 0.0033

    def __post_init__(self) -> None:
        for name, value in (("delta", self.delta), ("decay", self.decay)):
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"EntropyBelow.{name}: found {value}, expected a number of at least 0")

    def threshold(self, number: int) -> float:
        """Threshold of a round, in nats.

        Args:
            number: of the round, from 0.
        """
        return max(0.0, self.delta - self.decay * number * (number + 1) / 2)

    def opened(self, context: TrainingContext) -> RunningGate:
        threshold = self.threshold(context.round)

        def gate(told: Told) -> Tensor:
            wide = told.marginals.double()
            return torch.special.entr(wide) + torch.special.entr(1 - wide) < threshold

        return gate


@dataclass(frozen=True)
class Confident:
    """Labels whose likelier answer has a probability of at least `threshold`, as in FixMatch.

    Args:
        threshold: in [0.5, 1].

    Raises:
        ConfigError: on another threshold.
    """

    threshold: float = 0.95

    def __post_init__(self) -> None:
        check_confidence("Confident.threshold", self.threshold)

    def opened(self, context: TrainingContext) -> RunningGate:
        return lambda told: confidence(told.marginals) >= self.threshold


@dataclass(frozen=True)
class Evident:
    """Labels with a clear probability and little vacuity; for heads that give evidence.

    Args:
        low: probabilities below are clear, in [0, 1].
        high: probabilities above are clear, from `low` to 1.
        vacuity: of the label's Beta must be below, in (0, 1].

    Raises:
        ConfigError: on numbers out of range.
    """

    low: float = 0.1
    high: float = 0.9
    vacuity: float = 0.3

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= 1:
            raise ConfigError(f"Evident: found low {self.low} and high {self.high}, expected 0 <= low <= high <= 1")
        if not 0 < self.vacuity <= 1:
            raise ConfigError(f"Evident.vacuity: found {self.vacuity}, expected above 0 and at most 1")

    def opened(self, context: TrainingContext) -> RunningGate:
        if context.head.kind != "evidence":
            raise ConfigError(
                f"Evident: {type(context.head).__name__} gives no evidence, expected a head such as Beta; lay "
                "`learner.parts.head: {use: medal.learners.Beta}` over the recipe"
            )

        def gate(told: Told) -> Tensor:
            if told.evidence is None:
                return torch.zeros_like(told.open)
            clear = (told.marginals < self.low) | (told.marginals > self.high)
            return clear & (beta_vacuity(told.evidence) < self.vacuity)

        return gate


def check_confidence(name: str, threshold: float) -> None:
    """Refuses a threshold that no confidence of two answers can straddle.

    Raises:
        ConfigError: naming the setting.
    """
    if not 0.5 <= threshold <= 1:
        raise ConfigError(f"{name}: found {threshold}, expected a confidence in [0.5, 1]")
