"""What the campaign cost: items, planned and measured expert minutes, computing time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from medal.report.history import RunHistory, StudyHistory
from medal.report.tables import Table, cells
from medal.report.words import amount, duration, number

COLUMNS = ("Items", "Planned minutes", "Expert minutes", "Selecting", "Training")
Cost = tuple[float, float, float, float, float]


def cost_of_round(study: StudyHistory, n: int) -> Cost:
    """Cost of one round of one study.

    Returns:
        items, planned minutes, expert minutes, seconds of selection, of training; NaN where nothing was measured.
    """
    batches = [batch for batch in study.batches if batch.round == n]
    expert = [answer.seconds / 60 for answer in study.answers if answer.round == n]
    return (
        math.fsum(batch.items for batch in batches),
        math.fsum(batch.minutes for batch in batches),
        _measured(expert),
        _measured([batch.seconds for batch in batches]),
        _measured([study.training_seconds.get(n, math.nan)]),
    )


def cost_summary(run: RunHistory) -> Table:
    """Cost of a study of each arm so far, mean over seeds."""
    rows = []
    for arm in run.arms:
        studies = [study for study in run.of(arm) if study.batches]
        if studies:
            spent = [_sum([cost_of_round(study, n) for n in _rounds([study])]) for study in studies]
            rows.append(cells(run.title(arm), str(len(studies)), *_written(_mean(spent))))
    return Table(
        caption=f"Cost of one study so far{run.over_seeds}. Planned minutes are the cost model's when a batch was "
        "asked, expert minutes the answers'; computing time was measured on the machine that ran the study.",
        columns=("Arm", "Seeds", *COLUMNS),
        rows=tuple(rows),
    )


def cost_table(run: RunHistory, arm: str) -> Table:
    """Cost of each round of one arm, mean over seeds, and its sum."""
    studies = [study for study in run.of(arm) if study.batches]
    numbers = _rounds(studies)
    by_round = [_mean([cost_of_round(s, n) for s in studies if n in _rounds([s])]) for n in numbers]
    rows = [cells(_title(studies, n), *_written(cost)) for n, cost in zip(numbers, by_round, strict=True)]
    means = ", mean over the seeds that have reached it" if len(studies) > 1 else ""
    if len(rows) > 1:
        rows.append(cells("All rounds", *_written(_sum(by_round))))
    return Table(
        caption=f"{run.title(arm)}: cost of each round{means}.",
        columns=("Round", *COLUMNS),
        rows=tuple(rows),
    )


def _rounds(studies: Sequence[StudyHistory]) -> list[int]:
    """Rounds in which something was asked, or read in a measured time."""
    asked = {batch.round for study in studies for batch in study.batches}
    return sorted(asked.union(a.round for s in studies for a in s.answers if math.isfinite(a.seconds)))


def _title(studies: Sequence[StudyHistory], n: int) -> str:
    purposes = dict.fromkeys(batch.purpose for study in studies for batch in study.batches if batch.round == n)
    names = {"validation": "validation", "start": "start set", "query": "query"}
    return f"{n} ({' and '.join(names.get(purpose, purpose) for purpose in purposes) or 'answers alone'})"


def _measured(values: Sequence[float]) -> float:
    """Sum of what was measured; NaN when nothing was."""
    finite = [value for value in values if math.isfinite(value)]
    return math.fsum(finite) if finite else math.nan


def _sum(costs: Sequence[Cost]) -> Cost:
    items, planned, expert, selecting, training = (_measured(column) for column in zip(*costs, strict=True))
    return items, planned, expert, selecting, training


def _mean(costs: Sequence[Cost]) -> Cost:
    columns = [[value for value in column if math.isfinite(value)] for column in zip(*costs, strict=True)]
    items, planned, expert, selecting, training = (float(np.mean(c)) if c else math.nan for c in columns)
    return items, planned, expert, selecting, training


def _written(cost: Sequence[float]) -> tuple[str, ...]:
    items, planned, expert, selecting, training = cost
    return amount(items), number(planned, 1), number(expert, 1), duration(selecting), duration(training)
