"""The final exam of each round: measures predictions on the test split, and is the only holder of test labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from medal.metrics.classification import evaluate_multilabel
from medal.seeding import Seed
from medal.source import Truth

ARM_POSITIVES = 5
"""Positives and negatives below which a label of the validation arm is not estimable; arms are small, and their
intervals say so."""
SUBGROUP_POSITIVES = 10
"""Positives and negatives that a label needs inside a subgroup: fewer than in the whole, as each has its interval."""
SUBGROUPS = ("sex", "age", "view", "site")
"""Columns by which performance is told apart, where a source has them."""


class Examiner:
    """Measures multi-label predictions.

    Args:
        truth: labels of every row; what is used is the rows that are handed in, which the loop takes from the test
            split.
        groups: (R) patient of each row; with them and `columns`, a thorough examination measures subgroups.
        columns: harmless columns of (R) strings each; those in `SUBGROUPS` are used.
        min_positives: a label with fewer positives or negatives among the test rows is stamped "not estimable".
    """

    def __init__(
        self,
        truth: Truth,
        groups: Sequence[str] = (),
        columns: Mapping[str, Sequence[str]] | None = None,
        min_positives: int = 20,
    ) -> None:
        self._truth = truth
        self._groups = groups
        self._columns = {name: values for name, values in (columns or {}).items() if name in SUBGROUPS}
        self._min_positives = min_positives

    def __call__(self, rows: Tensor, probabilities: Tensor, *, thorough: bool = False) -> Mapping[str, object]:
        """The `labels` and `macro` of an evaluation; `subgroups` too when thorough.

        Args:
            rows: (T) positions of test rows.
            probabilities: (T, L).
            thorough: also measure subgroups, with intervals.
        """
        truth = self._truth.values[rows]
        measured = evaluate_multilabel(probabilities, truth, self._truth.labels, self._min_positives)
        if not thorough or not self._groups or not self._columns:
            return measured
        from medal.metrics.subgroups import subgroup_measures

        at = [int(r) for r in rows]
        subgroups = subgroup_measures(
            probabilities.numpy(),
            truth.numpy(),
            [self._groups[r] for r in at],
            {name: [values[r] for r in at] for name, values in self._columns.items()},
            Seed(0) / "subgroups",
            min(self._min_positives, SUBGROUP_POSITIVES),
        )
        return {**measured, "subgroups": subgroups}


def measure_arm(probabilities: Tensor, targets: Tensor, labels: Sequence[str]) -> Mapping[str, object]:
    """The `labels` and `macro` on the paid random validation arm.

    Beside the test split, its labels are the only ones that no strategy chose.

    Args:
        probabilities: (V, L).
        targets: (V, L), NaN where nothing was answered; a soft label counts as the nearer of absent and present.
        labels: (L) names.
    """
    return evaluate_multilabel(probabilities, decided(targets), tuple(labels), ARM_POSITIVES)


def decided(targets: Tensor) -> Tensor:
    """Soft labels as the nearer of absent and present, and NaN in the middle: readers in balance say neither.

    Args:
        targets: any shape, of 1, 0, soft values between, NaN and -1.

    Example:
        >>> decided(torch.tensor([0.75, 0.25, 0.5, -1.0])).tolist()
        [1.0, 0.0, nan, -1.0]
    """
    hard = torch.where(targets > 0.5, 1.0, torch.where((targets >= 0) & (targets < 0.5), 0.0, targets))
    return torch.where(targets == 0.5, torch.nan, hard)
