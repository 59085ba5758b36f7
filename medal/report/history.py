"""A campaign's history as plain values: what a report draws, free of folders and databases.

Everything here can be written by hand, so that figures and tables are tested without running a study.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medal.units import SEPARATOR

MEASURES = ("auroc", "auprc", "ece")
"""Measures of one label and of the macro mean over estimable labels, in the order in which they are shown."""
POSITIVES_NEEDED = 20
"""Positives in the test set below which a label is not estimable."""
FIXED_COLUMNS = frozenset({"id", "group", "split"})
"""Columns of `units.csv` that every study has; the others are harmless facts about a row, such as sex, age or view."""
RANDOM = "random"
"""Name of the arm that every other arm is compared with."""


@dataclass(frozen=True)
class Pick:
    """One unit of a batch.

    Args:
        unit: id.
        score: bigger = more worth annotating; NaN when the strategy gives none.
        terms: breakdown of the score, name -> value.
    """

    unit: str
    score: float
    terms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """What was asked at once.

    Args:
        round: 0 for validation and start set, then 1, 2, ...
        purpose: "validation", "start" or "query".
        strategy: name of the strategy that drew it.
        picks: in the order in which they were ranked.
        items: cost in items.
        minutes: planned expert minutes.
        seconds: computing time of the selection; NaN when it was not measured.
    """

    round: int
    purpose: str
    strategy: str
    picks: tuple[Pick, ...]
    items: float
    minutes: float
    seconds: float = float("nan")

    @property
    def at_random(self) -> bool:
        """True when the units stand for the pool: drawn for validation, or by the random strategy."""
        return self.purpose == "validation" or self.strategy == RANDOM


@dataclass(frozen=True)
class Answer:
    """What one expert said about one unit.

    Args:
        unit: id.
        round: round in which it was asked.
        purpose: as in `Batch`.
        target: (L) one value for each label: 1 present, 0 absent, NaN not answered, -1 stated as uncertain.
        seconds: expert time.
        annotator: who answered.
    """

    unit: str
    round: int
    purpose: str
    target: tuple[float, ...]
    seconds: float
    annotator: str


@dataclass(frozen=True)
class LabelMeasures:
    """Test measures of one label in one round."""

    auroc: float
    auprc: float
    ece: float
    brier: float
    positives: int
    negatives: int
    estimable: bool


@dataclass(frozen=True)
class Round:
    """One evaluation.

    Args:
        number: round, from 0.
        items: items paid for so far.
        minutes: expert minutes paid for so far.
        macro: measure -> mean over the estimable labels; NaN where none is.
        labels: label -> measures.
    """

    number: int
    items: float
    minutes: float
    macro: Mapping[str, float]
    labels: Mapping[str, LabelMeasures]


@dataclass(frozen=True)
class StudyHistory:
    """One study: one arm with one seed.

    Args:
        arm: name of the strategy.
        seed: of the study.
        opened: content of the `opened` event; empty when the study has not begun.
        rounds: evaluations in order.
        batches: everything asked, in order.
        answers: everything answered, in order.
        training_seconds: round -> computing time of training.
        quarantined: id -> reason.
        closed: reason of the end; None while the study is unfinished.
        head: hash at the head of the ledger.
        units: rows of `units.csv` by id.
        previews: folder of `<id>.png`, or None.
    """

    arm: str
    seed: int
    opened: Mapping[str, Any] = field(default_factory=dict)
    rounds: tuple[Round, ...] = ()
    batches: tuple[Batch, ...] = ()
    answers: tuple[Answer, ...] = ()
    training_seconds: Mapping[int, float] = field(default_factory=dict)
    quarantined: Mapping[str, str] = field(default_factory=dict)
    closed: str | None = None
    head: str = ""
    units: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    previews: Path | None = None

    @property
    def name(self) -> str:
        """Arm and seed in words."""
        return f"{self.arm}, seed {self.seed}"

    @property
    def labels(self) -> tuple[str, ...]:
        """(L) names of what is asked."""
        return tuple(self.opened.get("data", {}).get("labels", ()))

    @property
    def split_hash(self) -> str:
        """Hash of the split into pool, validation and test."""
        return str(self.opened.get("split", {}).get("hash", ""))

    @property
    def bound(self) -> bool:
        """True when the recipe reads the truth and is therefore a bound, not a strategy."""
        return says_bound(self.opened.get("recipe", {}))

    @property
    def block(self) -> str:
        """What two studies must share to be paired: seed, data, split and learner."""
        learner = self.opened.get("recipe", {}).get("learner")
        data = self.opened.get("data", {}).get("digest")
        return json.dumps([self.seed, data, self.split_hash, learner], sort_keys=True, default=str)

    def queries(self) -> tuple[Batch, ...]:
        """The batches chosen by the arm's own strategy; validation and start sets are left out."""
        return tuple(batch for batch in self.batches if batch.purpose == "query")

    def row(self, unit: str) -> Mapping[str, str]:
        """The row of `units.csv` on which a unit lies; empty when it has none."""
        return self.units.get(unit) or self.units.get(row_id(unit)) or {}


@dataclass(frozen=True)
class RunHistory:
    """Several studies that belong together, in the order of the run's index.

    Args:
        name: of the recipe.
        studies: one for each arm and seed.
    """

    name: str
    studies: tuple[StudyHistory, ...]

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms, random first, then in the order of the index."""
        names = dict.fromkeys(study.arm for study in self.studies)
        return tuple(sorted(names, key=lambda name: name != RANDOM))

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of what is asked, from the first study that has begun."""
        return next((study.labels for study in self.studies if study.labels), ())

    def of(self, arm: str) -> tuple[StudyHistory, ...]:
        """The studies of one arm."""
        return tuple(study for study in self.studies if study.arm == arm)

    def bound(self, arm: str) -> bool:
        """True when an arm reads the truth."""
        return any(study.bound for study in self.of(arm))

    def title(self, arm: str) -> str:
        """Name of an arm with the stamp that it must carry wherever it is drawn."""
        return f"{arm} (bound)" if self.bound(arm) else arm


def row_id(unit: str) -> str:
    """The row of a unit: the id itself, or what stands before the separator.

    Example:
        >>> row_id("Iabc#Effusion"), row_id("Iabc")
        ('Iabc', 'Iabc')
    """
    return unit.split(SEPARATOR, 1)[0]


def says_bound(value: Any) -> bool:
    """True when a resolved recipe carries `bound: true` at any depth.

    Example:
        >>> says_bound({"strategy": {"steps": [{"bound": True}]}}), says_bound({"bound": False})
        (True, False)
    """
    if isinstance(value, Mapping):
        return value.get("bound") is True or any(says_bound(inner) for inner in value.values())
    if isinstance(value, list | tuple):
        return any(says_bound(inner) for inner in value)
    return False
