"""The paid random validation arm: what readers said about it, and how good each round's model is on it.

Its images were drawn at random and paid for, so they stand for the pool, and what is measured on them may steer the
campaign. Measures are computed again from the stored predictions and the journal's answers, so that corrections count
and every round is measured on the same labels; an arm that grew over the rounds gives early rounds fewer images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from medal.consensus import Consensus, latest
from medal.metrics.cluster_bootstrap import (
    RESAMPLES,
    Interval,
    estimable_labels,
    interval_seed,
    macro_replicates,
    patient_weights,
    percentiles,
)
from medal.report.history import POSITIVES_NEEDED, StudyHistory, row_id

VALIDATION = "validation"


@dataclass(frozen=True)
class ArmPoint:
    """One round on the arm.

    Args:
        round: number.
        labels: labelled units of the pool that the model was trained on.
        auroc: macro AUROC, with its bootstrap interval over patients where predictions are stored.
        images: of the arm that were measured; 0 when only the measure is known.
    """

    round: int
    labels: float
    auroc: Interval
    images: int


@dataclass(frozen=True)
class ArmCurve:
    """A study on its arm.

    Args:
        points: at ascending numbers of labels.
        names: labels in the mean; empty when only the measures are known.
        patients: of the arm in the last round; 0 likewise.
        replicates: (B, P) the measures on resamples of the patients, one draw for all rounds; None likewise.
    """

    points: tuple[ArmPoint, ...]
    names: tuple[str, ...] = ()
    patients: int = 0
    replicates: NDArray[np.float64] | None = None


def arm_truth(study: StudyHistory) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """What the readers agreed on about the images of the arm, by the rule of the study's recipe.

    Returns:
        Ids of the rows, sorted, and (n, L) of 1, 0, NaN and -1; as when the journal was written, a soft value counts as
        the nearer of absent and present, and as NaN in the middle.
    """
    gone = {taken.unit for taken in study.retired}
    answers = [answer for answer in study.answers if answer.unit not in gone]
    drawn = {row_id(answer.unit) for answer in answers if answer.purpose == VALIDATION}
    said: dict[str, list[tuple[str, torch.Tensor]]] = {row: [] for row in sorted(drawn)}
    for answer in answers:
        if (row := row_id(answer.unit)) in said and len(answer.target) == len(study.labels):
            said[row].append((answer.annotator, torch.tensor(answer.target, dtype=torch.float32)))
    said = {row: opinions for row, opinions in said.items() if opinions}
    readers = study.opened.get("recipe", {}).get("readers") or {}
    rule = Consensus(readers.get("rule", "majority"), readers.get("reader"))
    values = [rule.of(latest(opinions)).numpy().astype(np.float64) for opinions in said.values()]
    table = np.array(values).reshape(len(said), len(study.labels))
    hard = np.where(table > 0.5, 1.0, np.where((table >= 0) & (table < 0.5), 0.0, table))
    return tuple(said), np.where(table == 0.5, math.nan, hard)


def arm_curve(study: StudyHistory) -> ArmCurve | None:
    """Macro AUROC on the arm, round by round; None when nothing was measured there."""
    measured = _from_predictions(study)
    if measured is not None:
        return measured
    found = {}
    for r in study.rounds:
        value, labels = r.validation.macro.get("auroc", math.nan), trained_on(study, r.number)
        if math.isfinite(value) and math.isfinite(labels):
            found[labels] = ArmPoint(r.number, labels, Interval(value, math.nan, math.nan), 0)
    return ArmCurve(tuple(found[n] for n in sorted(found))) if found else None


def trained_on(study: StudyHistory, number: int) -> float:
    """Labelled units of the pool in a round: as written down, else what was paid for without the arm."""
    r = next(r for r in study.rounds if r.number == number)
    if math.isfinite(r.trained_on):
        return r.trained_on
    return r.items - math.fsum(b.items for b in study.batches if b.purpose == VALIDATION and b.round <= number)


def _from_predictions(study: StudyHistory) -> ArmCurve | None:
    ids, truth = arm_truth(study)
    place = {row: k for k, row in enumerate(ids)}
    rounds = []  # (labels, number, positions in the arm, probabilities)
    for number, told in sorted(study.arm_predictions.items()):
        kept = [(k, place[row]) for k, row in enumerate(told.ids) if row in place]
        labels = trained_on(study, number)
        if kept and math.isfinite(labels):
            lines, at = (list(column) for column in zip(*kept, strict=True))
            rounds.append((labels, number, at, told.probabilities[lines]))
    by_labels = {r[0]: r for r in rounds}  # a training after corrections takes the place of the one before
    rounds = [by_labels[labels] for labels in sorted(by_labels)]
    needed = POSITIVES_NEEDED[VALIDATION]
    enough = [set(estimable_labels(truth[at], needed)) for _, _, at, _ in rounds]
    # the same labels in every round, or the curve would rise and fall with the labels in it
    first = next((k for k in range(len(rounds)) if set.intersection(*enough[k:])), len(rounds))
    rounds, enough = rounds[first:], enough[first:]
    if not rounds:
        return None
    which = sorted(set.intersection(*enough))
    patients = [str(study.row(row).get("group", row)) for row in ids]
    names = tuple(study.labels[k] for k in which)
    weights = patient_weights(patients, interval_seed(names), RESAMPLES)  # of one label: what `medal train` shows
    both = np.concatenate([np.ones((1, len(ids))), weights])
    curves = np.stack([macro_replicates(p, truth[at], both[:, at], which) for _, _, at, p in rounds])
    points = [
        ArmPoint(number, labels, Interval(float(c[0]), *percentiles(c[1:]), len(which)), len(at))
        for (labels, number, at, _), c in zip(rounds, curves, strict=True)
    ]
    return ArmCurve(tuple(points), names, len({patients[k] for k in rounds[-1][2]}), curves[:, 1:].T)
