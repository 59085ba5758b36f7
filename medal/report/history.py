"""A campaign's history as plain values: what a report draws, free of folders and databases.

Everything here can be written by hand, so that figures and tables are tested without running a study.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medal.units import SEPARATOR

MEASURES = ("auroc", "auprc", "ece")
"""Measures of one label and of the macro mean over estimable labels, in the order in which they are shown."""
POSITIVES_NEEDED = {"test": 20, "validation": 5}
"""Positives, and negatives, below which a label is not estimable; an arm that was paid for is small."""
PARTS = {"test": "test set", "validation": "paid random validation arm"}
"""On what a study is measured, in words."""
FIXED_COLUMNS = frozenset({"id", "group", "split"})
"""Columns of `units.csv` that every study has; the others are harmless facts about a row, such as sex, age or view."""
IMPORTED = "imported"
"""Purpose of answers that nobody asked for: labels that were there before, and those that a reader volunteered."""
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
        purpose: "validation", "start", "query" or "relabel".
        strategy: name of the strategy that drew it.
        picks: in the order in which they were ranked.
        items: cost in items.
        minutes: planned expert minutes.
        seconds: computing time of the selection; NaN when it was not measured.
        kind: of the units as they are read and priced.
    """

    round: int
    purpose: str
    strategy: str
    picks: tuple[Pick, ...]
    items: float
    minutes: float
    seconds: float = float("nan")
    kind: str = "image"

    @property
    def at_random(self) -> bool:
        """True when the units stand for the pool: drawn for validation, or by the random strategy."""
        return self.purpose == "validation" or self.strategy == RANDOM


@dataclass(frozen=True)
class Answer:
    """What one expert said about one unit.

    Args:
        unit: id.
        round: round in which it was answered.
        purpose: as in `Batch`, or "imported" for labels that were there before.
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
    """Measures of one label in one round."""

    auroc: float
    auprc: float
    ece: float
    brier: float
    positives: int
    negatives: int
    estimable: bool


@dataclass(frozen=True)
class Measures:
    """What was measured on one part of the data.

    Args:
        macro: measure -> mean over the estimable labels; NaN where none is.
        labels: label -> measures.
    """

    macro: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, LabelMeasures] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.labels) or any(math.isfinite(value) for value in self.macro.values())


@dataclass(frozen=True)
class Subgroup:
    """Macro AUROC of one subgroup; NaN where it is not estimable.

    Args:
        patients: in the subgroup.
        auroc: mean over `labels`.
        low: lower end of the bootstrap interval over patients.
        high: upper end.
        labels: names of the labels in the mean, where they are known.
        count: of these labels.
    """

    patients: int
    auroc: float
    low: float
    high: float
    labels: tuple[str, ...]
    count: int


@dataclass(frozen=True)
class Round:
    """One evaluation.

    Args:
        number: round, from 0.
        items: items paid for so far.
        minutes: expert minutes paid for so far.
        macro: measure -> mean over the estimable labels on the test set; NaN where none is.
        labels: label -> measures on the test set.
        validation: the same on the paid random validation arm.
        trained_on: labelled units of the pool; NaN when it was not written down.
        subgroups: column -> value -> measure on the test set.
    """

    number: int
    items: float
    minutes: float
    macro: Mapping[str, float]
    labels: Mapping[str, LabelMeasures]
    validation: Measures = Measures()
    trained_on: float = float("nan")
    subgroups: Mapping[str, Mapping[str, Subgroup]] = field(default_factory=dict)

    def on(self, part: str) -> Measures:
        """The measures on the test set or on the validation arm."""
        return self.validation if part == "validation" else Measures(self.macro, self.labels)


@dataclass(frozen=True)
class Predictions:
    """What the model of one round said about the validation arm.

    Args:
        ids: (n) rows.
        probabilities: (n, L).
    """

    ids: tuple[str, ...]
    probabilities: NDArray[np.float64]


@dataclass(frozen=True)
class Retired:
    """One unit that could not be labelled.

    Args:
        unit: id.
        reason: as it was given.
        annotator: who gave it.
    """

    unit: str
    reason: str
    annotator: str


@dataclass(frozen=True)
class StudyHistory:
    """One study: one arm with one seed.

    Args:
        arm: name of the strategy.
        seed: of the study.
        opened: content of the `opened` event, with the data and the split as they are now; empty when the study has
            not begun.
        rounds: evaluations in order.
        batches: everything asked, in order.
        answers: everything answered, in order.
        training_seconds: round -> computing time of training.
        quarantined: id -> reason.
        retired: units that were taken out and not answered since.
        added: (round, images) of each time that images came in later.
        arm_predictions: round -> what was said about the validation arm.
        people: whether answers come from people, by work lists.
        wanted: macro AUROC to reach, in place of the recipe's; NaN for that.
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
    retired: tuple[Retired, ...] = ()
    added: tuple[tuple[int, int], ...] = ()
    arm_predictions: Mapping[int, Predictions] = field(default_factory=dict)
    people: bool = False
    wanted: float = math.nan
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
    def part(self) -> str:
        """What the study is measured on: the test set, or without one the paid random validation arm."""
        on_test = any(r.on("test") for r in self.rounds)
        on_arm = any(r.validation for r in self.rounds)
        return "validation" if not on_test and (on_arm or self.people) else "test"

    @property
    def target(self) -> float:
        """Macro AUROC that the campaign wants to reach; NaN when none was stated."""
        if math.isfinite(self.wanted):
            return self.wanted
        stated = (self.opened.get("recipe", {}).get("report") or {}).get("target")
        return float(stated) if isinstance(stated, int | float) else math.nan

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

    @property
    def by_people(self) -> bool:
        """Whether people answer: such a study has no random arm beside it and no planned end."""
        return bool(self.studies) and all(study.people for study in self.studies)

    @property
    def part(self) -> str:
        """What the run is measured on: the test set, unless every measured study has only a validation arm."""
        found = {study.part for study in self.studies if study.people or any(r.on(study.part) for r in study.rounds)}
        return "validation" if found == {"validation"} else "test"

    @property
    def over_seeds(self) -> str:
        """What captions say of the values of several studies; nothing where no arm has more than one."""
        return ", mean over seeds" if any(len(self.of(arm)) > 1 for arm in self.arms) else ""

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
