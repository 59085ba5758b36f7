"""The final exam of each round: measures predictions on the test split, and is the only holder of test labels."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from medal.metrics.classification import evaluate_multilabel
from medal.source import Truth


class Examiner:
    """Measures multi-label predictions.

    Args:
        truth: labels of every row; what is used is the rows that are handed in, which the loop takes from the test
            split.
        min_positives: a label with fewer positives or negatives among the test rows is stamped "not estimable".
    """

    def __init__(self, truth: Truth, min_positives: int = 20) -> None:
        self._truth = truth
        self._min_positives = min_positives

    def __call__(self, rows: Tensor, probabilities: Tensor) -> Mapping[str, object]:
        """The `labels` and `macro` of an evaluation.

        Args:
            rows: (T) positions of test rows.
            probabilities: (T, L).
        """
        return evaluate_multilabel(probabilities, self._truth.values[rows], self._truth.labels, self._min_positives)
