"""What was selected, against the pool: prevalence of labels, sex, age, view, spread over patients.

A method cannot know the pool's prevalence. It is estimated from the units that were drawn at random and paid for
(validation sets, random start sets, the random arm), never from the truth.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medal.metrics.subgroups import UNKNOWN, age_in_years
from medal.report.history import FIXED_COLUMNS, Answer, RunHistory, StudyHistory, row_id

CATEGORIES_SHOWN = 12
"""Columns with more distinct values are no categories and are left out."""
IDENTIFIERS = frozenset({"exam"})
"""Columns that name things, such as examinations, and are no categories however few there are."""
AGE_BANDS = (
    (0, 18, "under 18"),
    (18, 40, "18 to 39"),
    (40, 60, "40 to 59"),
    (60, 80, "60 to 79"),
    (80, 151, "80 and over"),
)


@dataclass(frozen=True)
class Proportion:
    """A share of `count` things; NaN when there are none."""

    share: float
    count: int

    def wilson(self) -> tuple[float, float]:
        """95 % Wilson score interval of the share.

        Example:
            >>> [round(end, 4) for end in Proportion(0.1, 100).wilson()]
            [0.0552, 0.1744]
        """
        if not self.count:
            return math.nan, math.nan
        z, n, p = 1.959963984540054, self.count, self.share
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True)
class Comparison:
    """Shares of one set of categories, for the pool (or its estimate) and for the picks of each arm.

    Args:
        name: such as "Labels" or "Sex".
        categories: rows.
        pool: one proportion for each category.
        arms: arm -> one proportion for each category.
        estimated: True when the pool is an estimate from random draws, False when it was counted.
    """

    name: str
    categories: tuple[str, ...]
    pool: tuple[Proportion, ...]
    arms: Mapping[str, tuple[Proportion, ...]]
    estimated: bool


@dataclass(frozen=True)
class Spread:
    """How the queries of one arm spread over patients, mean over its studies.

    Args:
        picks: units picked in a study.
        patients: distinct patients among them.
        most: largest number of picks from one patient in a study, over all studies.
        findings: findings present in each answered image; NaN without answers.
    """

    picks: float
    patients: float
    most: int
    findings: float


def age_band(text: str) -> str:
    """The band of an age as a data set or a DICOM header writes it.

    Example:
        >>> age_band("58"), age_band("058Y"), age_band("006M"), age_band("")
        ('40 to 59', '40 to 59', 'under 18', 'unknown')
    """
    years = age_in_years(text)
    return next((name for low, high, name in AGE_BANDS if low <= years < high), UNKNOWN)


def asked_by_strategy(study: StudyHistory) -> tuple[str, ...]:
    """Units that the arm's own strategy picked, in order."""
    return tuple(pick.unit for batch in study.queries() for pick in batch.picks)


def random_answers(run: RunHistory) -> dict[str, Answer]:
    """Answers that stand for the pool: units drawn at random, each unit once however many seeds drew it."""
    found: dict[str, Answer] = {}
    for study in run.studies:
        # people may answer in a later round than they were asked in
        drawn = {(b.purpose, pick.unit) for b in study.batches if b.at_random for pick in b.picks}
        found |= {a.unit: a for a in study.answers if (a.purpose, a.unit) in drawn and a.unit not in found}
    return found


def prevalence(answers: Iterable[Answer], labels: Sequence[str]) -> tuple[Proportion, ...]:
    """Share of present among the answers present or absent, for each label; soft answers count by their value."""
    targets = [answer.target for answer in answers]
    result = []
    for position in range(len(labels)):
        values = [target[position] for target in targets if position < len(target) and 0 <= target[position] <= 1]
        result.append(Proportion(float(np.mean(values)) if values else math.nan, len(values)))
    return tuple(result)


def label_comparison(run: RunHistory) -> Comparison | None:
    """Prevalence among what each arm's queries paid for, beside the estimate for the pool; None before any query."""
    arms = {arm: [a for study in run.of(arm) for a in study.answers if a.purpose == "query"] for arm in run.arms}
    if not any(arms.values()):
        return None
    shares = {arm: prevalence(answers, run.labels) for arm, answers in arms.items() if answers}
    return Comparison(
        "Labels", run.labels, prevalence(random_answers(run).values(), run.labels), shares, estimated=True
    )


def column_comparisons(run: RunHistory) -> tuple[Comparison, ...]:
    """Shares of every harmless column of `units.csv` among the picks, beside the counted pool."""
    columns = dict.fromkeys(
        name for s in run.studies for row in s.units.values() for name in row if name not in FIXED_COLUMNS | IDENTIFIERS
    )
    picks = {arm: [s.row(unit) for s in run.of(arm) for unit in asked_by_strategy(s)] for arm in run.arms}
    picks = {arm: rows for arm, rows in picks.items() if rows}
    if not picks:
        return ()
    pool = [row for study in _distinct_splits(run) for row in study.units.values() if row.get("split") == "pool"]
    return tuple(c for c in (_column(name, pool, picks) for name in columns) if c is not None)


def _distinct_splits(run: RunHistory) -> list[StudyHistory]:
    return list({study.split_hash: study for study in run.studies if study.units}.values())


def _column(
    name: str, pool: Sequence[Mapping[str, str]], picks: Mapping[str, Sequence[Mapping[str, str]]]
) -> Comparison | None:
    def of(row: Mapping[str, str]) -> str:
        text = str(row.get(name) or "").strip()
        return age_band(text) if name == "age" else text or UNKNOWN

    counts = {arm: Counter(of(row) for row in rows) for arm, rows in picks.items()}
    whole = Counter(of(row) for row in pool)
    found = set(whole).union(*counts.values())
    if len(found) > CATEGORIES_SHOWN or found == {UNKNOWN}:
        return None
    bands = [band for _, _, band in AGE_BANDS]
    order = sorted(found, key=lambda c: (c == UNKNOWN, bands.index(c) if name == "age" and c in bands else 0, c))
    return Comparison(
        name.replace("_", " ").capitalize(),
        tuple(order),
        _shares(whole, order),
        {arm: _shares(count, order) for arm, count in counts.items()},
        estimated=False,
    )


def _shares(counts: Counter[str], order: Sequence[str]) -> tuple[Proportion, ...]:
    total = counts.total()
    return tuple(Proportion(counts[name] / total if total else math.nan, total) for name in order)


def findings_in_each(answers: Iterable[Answer]) -> float:
    """Mean number of findings that an annotator saw in an image; NaN without answers."""
    present: dict[tuple[str, str], int] = {}
    for answer in answers:
        key = (row_id(answer.unit), answer.annotator)
        present[key] = present.get(key, 0) + sum(value == 1 for value in answer.target)
    return float(np.mean(list(present.values()))) if present else math.nan


def spread(run: RunHistory, arm: str) -> Spread | None:
    """How the queries of an arm spread over patients; None before any query."""
    picks, patients, most, findings = [], [], 0, []
    for study in run.of(arm):
        units = asked_by_strategy(study)
        if not units:
            continue
        groups = Counter(study.row(unit).get("group", unit) for unit in units)
        picks.append(len(units))
        patients.append(len(groups))
        most = max(most, *groups.values())
        findings.append(findings_in_each(a for a in study.answers if a.purpose == "query"))
    if not picks:
        return None
    known = [value for value in findings if math.isfinite(value)]
    return Spread(float(np.mean(picks)), float(np.mean(patients)), most, float(np.mean(known)) if known else math.nan)
