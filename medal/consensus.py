"""Which labels train when readers differ.

A reader's later answer corrects the earlier one, so that each reader has one opinion; the rule then makes one value of
the opinions, label by label. Uncertain (-1) gives way to a reader who decided, and stands where nobody did.
Labels that a clinic brought along are nobody's reading of an image for this study: they count where no reader has
answered, label by label.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from medal.errors import ConfigError, UnknownName

RULES = ("majority", "soft", "first", "reader")
CLINIC = "clinic"
"""Who answers for labels that a clinic brought along."""
Rule = Literal["majority", "soft", "first", "reader"]


@dataclass(frozen=True)
class Consensus:
    """A rule for units with several opinions.

    Args:
        rule: "majority" (a tie is left out of training), "soft" (mean over readers, uncertain as one half), "first"
            (the first reader who answered) or "reader" (one reader's answers alone).
        reader: whose answers, for the rule "reader".

    Raises:
        UnknownName: on another rule.
        ConfigError: when a reader is missing, or named for a rule that asks nobody by name.

    Example:
        >>> opinions = {"R1": torch.tensor([1.0]), "R2": torch.tensor([0.0]), "R3": torch.tensor([1.0])}
        >>> Consensus("majority").of(opinions), Consensus("soft").of(opinions)
        (tensor([1.]), tensor([0.6667]))
    """

    rule: Rule = "majority"
    reader: str | None = None

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise UnknownName.near("rule of readers", self.rule, RULES)
        if (self.rule == "reader") != bool(self.reader):
            found = f"rule {self.rule!r} with reader {self.reader!r}"
            raise ConfigError(f"readers: found {found}; name a reader exactly for the rule 'reader'")

    def of(self, opinions: Mapping[str, Tensor]) -> Tensor:
        """One value a label.

        Args:
            opinions: reader -> (W) values as in `Annotations`, in the order in which the readers first answered.

        Returns:
            (W) float32: 1, 0, a soft value, -1 uncertain, or NaN when there is nothing to train with.
        """
        if self.rule == "reader":
            named = opinions.get(str(self.reader))
            return torch.full_like(next(iter(opinions.values())), math.nan) if named is None else named.clone()
        values = torch.stack(list(given_way(opinions).values()))
        if len(values) == 1:
            return values[0].clone()
        if self.rule == "first":
            return _first(values)
        given = ~torch.isnan(values)
        if self.rule == "soft":
            return _or_uncertain(_mean(torch.where(values == -1, 0.5, values), given), values)
        share = _mean(values, given & (values != -1))
        return _or_uncertain(torch.where(share > 0.5, 1.0, torch.where(share < 0.5, 0.0, math.nan)), values)


def latest(answers: Sequence[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """Each reader's present opinion; blank cells of a later answer leave the earlier value.

    Args:
        answers: (reader, (W) values), oldest first.

    Returns:
        reader -> (W) values, in the order in which the readers first answered.

    Example:
        >>> latest([("R1", torch.tensor([1.0, 0.0])), ("R1", torch.tensor([math.nan, 1.0]))])["R1"]
        tensor([1., 1.])
    """
    opinions: dict[str, Tensor] = {}
    for reader, values in answers:
        before = opinions.get(reader)
        opinions[reader] = values if before is None else torch.where(torch.isnan(values), before, values)
    return opinions


def given_way(opinions: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The opinions, with the clinic's labels left out wherever a reader has answered.

    Args:
        opinions: reader -> (W) values.

    Example:
        >>> given_way({CLINIC: torch.tensor([1.0, 1.0]), "R1": torch.tensor([0.0, math.nan])})[CLINIC]
        tensor([nan, 1.])
    """
    readers = [values for reader, values in opinions.items() if reader != CLINIC]
    if CLINIC not in opinions or not readers:
        return dict(opinions)
    answered = ~torch.stack(readers).isnan().all(0)
    return {**opinions, CLINIC: torch.where(answered, math.nan, opinions[CLINIC])}


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """Mean of the counted values, NaN where none counts."""
    return torch.where(counted, values, 0.0).sum(0) / counted.sum(0)


def _or_uncertain(value: Tensor, values: Tensor) -> Tensor:
    """-1 where everybody who answered was uncertain."""
    given = ~torch.isnan(values)
    return torch.where(((values == -1) | ~given).all(0) & given.any(0), -1.0, value)


def _first(values: Tensor) -> Tensor:
    chosen = values[0].clone()
    for later in values[1:]:
        chosen = torch.where(torch.isnan(chosen), later, chosen)
    return chosen
