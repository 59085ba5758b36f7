"""Which labels deserve a second look: readers disagree, or the model finds the label given unlikely.

Self-confidence, the probability that a model gives to the label that somebody gave, ranks likely label errors
(Northcutt, Jiang and Chuang, "Confident learning", JAIR 2021). The authors take probabilities from models that did not
see the label; here the last model has been trained on it, so that a mistake which it has learned by heart is missed.
What ranks low in spite of that is worth a look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medal.consensus import given_way, latest
from medal.pool import Answer


@dataclass(frozen=True)
class Doubt:
    """How doubtful the answers for one unit are.

    Args:
        disputed: (W) bool, labels about which readers differ: one says present, another absent.
        confidence: lowest probability, over the labels, that the model gives to the label given; 1 without a label.
        label: index of that label, -1 without one.
        given: that label, 0 or 1; 0 without one.
    """

    disputed: Tensor
    confidence: float
    label: int
    given: float

    @property
    def rank(self) -> tuple[int, float]:
        """Sorts the most doubtful first: by the number of disputed labels, then by confidence."""
        return -int(self.disputed.sum()), self.confidence


def doubt(answers: Sequence[Answer], agreed: Tensor, probabilities: Tensor) -> Doubt:
    """The doubt about one unit.

    Args:
        answers: every answer, oldest first.
        agreed: (W) the label that trains; anything but 0 and 1 is left out of the model's judgement.
        probabilities: (W) of the model.

    Example:
        >>> first = Answer(torch.tensor([0.0, 1.0]), "R1", 0)
        >>> found = doubt([first], first.values, torch.tensor([0.9, 0.8]))
        >>> found.label, round(found.confidence, 3), bool(found.disputed.any())
        (0, 0.1, False)
    """
    opinions = torch.stack(list(given_way(latest([(a.annotator, a.values) for a in answers])).values()))
    disputed = (opinions == 1).any(0) & (opinions == 0).any(0)
    known = (agreed == 0) | (agreed == 1)
    if not bool(known.any()):
        return Doubt(disputed, 1.0, -1, 0.0)
    confidence = torch.where(agreed == 1, probabilities, 1 - probabilities)
    confidence = torch.where(known, confidence, torch.inf)
    label = int(confidence.argmin())
    return Doubt(disputed, float(confidence[label]), label, float(agreed[label]))
