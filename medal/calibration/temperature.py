"""Temperature scaling, one temperature a label (survey, section 6.1).

Guo, Pleiss, Sun, Weinberger, "On calibration of modern neural networks", ICML 2017: one scalar on the logits that
minimises the negative log-likelihood of held-out labels. Here each label has its own; a Beta head divides its evidence.

Fit it on paid validation labels, never on queried ones, which are biased to hard cases.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from medal.errors import ConfigError, OutputError

GRID = 61
"""Points of the first pass; evidence can have more than one valley, so the finer search starts from the best point."""
GOLDEN = (math.sqrt(5) - 1) / 2
STEPS = 40
"""Golden sections of the finer search; each narrows the valley by 0.618."""


@runtime_checkable
class Tempered(Protocol):
    """What calibration needs of a head; `medal.learners.heads.Head` has it."""

    def nll(self, raw: Tensor, targets: Tensor) -> Tensor:
        """Log score of the marginals, (n, L); 0 where a label is not known."""
        ...

    def temper(self, raw: Tensor, temperature: Tensor) -> Tensor:
        """Raw outputs at temperatures (L)."""
        ...


@dataclass(frozen=True)
class Temperature:
    """Fits the temperatures of a trained head.

    Args:
        min_each: known positives and known negatives that a label needs, else its temperature stays 1.
        low: smallest temperature, above 0.
        high: largest temperature.

    Raises:
        ConfigError: when the bounds do not hold 1 between them, or `min_each` is below 1.
    """

    min_each: int = 5
    low: float = 0.05
    high: float = 20.0

    def __post_init__(self) -> None:
        if self.min_each < 1:
            raise ConfigError(f"Temperature.min_each: found {self.min_each}, expected at least 1")
        if not 0 < self.low < 1 < self.high:
            raise ConfigError(f"Temperature: found bounds {self.low} and {self.high}, expected 0 < low < 1 < high")

    def fit(self, head: Tempered, raw: Float[Tensor, "n ..."], targets: Float[Tensor, "n l"]) -> Float[Tensor, " l"]:
        """Temperatures that minimise the log score of the marginals.

        The search is deterministic and never worsens the score on the labels that it was given. Where these are told
        apart without error, the temperature ends at its lower bound.

        Args:
            head: reads the raw outputs.
            raw: (n, D) raw outputs on validation rows, or (n, M, D) where M networks speak together.
            targets: (n, L) paid labels; NaN and -1 are left out.

        Returns:
            (L) float32 in [low, high].

        Raises:
            OutputError: when the rows differ in number or a raw output is not finite.
        """
        if len(raw) != len(targets):
            raise OutputError(f"{len(raw)} raw outputs for {len(targets)} validation labels; give one row for each")
        if not torch.isfinite(raw).all():
            raise OutputError("a raw output on the validation rows is not finite; lower the learning rate")
        enough = ((targets > 0.5).sum(0) >= self.min_each) & (
            ((targets >= 0) & (targets < 0.5)).sum(0) >= self.min_each
        )
        wide = raw.double()

        def score(log_temperature: Tensor) -> Tensor:
            return head.nll(head.temper(wide, log_temperature.exp()), targets).sum(0)

        one = torch.zeros(targets.shape[1], dtype=torch.float64, device=raw.device)
        best = _valley(score, one, math.log(self.low), math.log(self.high))
        better = enough & (score(best) < score(one))
        return torch.where(better, best, one).exp().clamp(self.low, self.high).float()


def _valley(score: Callable[[Tensor], Tensor], like: Tensor, low: float, high: float) -> Tensor:
    """Position of the lowest score in [low, high], for all labels at once."""
    grid = torch.linspace(low, high, GRID, dtype=like.dtype, device=like.device)
    scores = torch.stack([score(torch.full_like(like, float(x))) for x in grid])
    start = scores.argmin(0)
    left, right = grid[(start - 1).clamp_min(0)], grid[(start + 1).clamp_max(GRID - 1)]
    for _ in range(STEPS):
        inner_left, inner_right = right - GOLDEN * (right - left), left + GOLDEN * (right - left)
        lower = score(inner_left) <= score(inner_right)
        left, right = torch.where(lower, left, inner_left), torch.where(lower, inner_right, right)
    middle = (left + right) / 2
    return torch.where(score(middle) <= scores.amin(0), middle, grid[start])
