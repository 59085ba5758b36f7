"""Pool: who is labelled. It holds no images, and labels only what was paid for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from medal.consensus import Consensus, latest
from medal.errors import LabelNotPaid, UnitError
from medal.split import PARTS, Split
from medal.types import Targets
from medal.units import Units


@dataclass(frozen=True)
class Annotations:
    """Answers of one annotator to one query.

    Args:
        ids: (K) units.
        target: (K, W) float32; W = L for whole rows, 1 for a unit inside a row. 1 present, 0 absent, between 0 and 1
            soft, NaN not given, -1 stated as uncertain.
        kind: kind of the units.
        seconds: (K) working time of the annotator, NaN when not measured.
        annotator: who answered, as a pseudonym or a simulator's name.

    Raises:
        UnitError: when the three lengths differ, or on a value that is no label.
    """

    ids: tuple[str, ...]
    target: Tensor
    kind: str
    seconds: tuple[float, ...]
    annotator: str

    def __post_init__(self) -> None:
        if self.target.ndim != 2 or len(self.target) != len(self.ids) or len(self.seconds) != len(self.ids):
            raise UnitError(
                f"{len(self.ids)} ids, target of shape {tuple(self.target.shape)}, {len(self.seconds)} times; "
                "expected one row and one time for each id"
            )
        strange = self.target[((self.target < 0) & (self.target != -1)) | (self.target > 1)]
        if len(strange):
            raise UnitError(f"an answer is {float(strange[0]):g}; expected 1, 0, a soft value between, NaN or -1")

    @property
    def mask(self) -> Tensor:
        """(K, W) bool: what was answered at all."""
        return ~torch.isnan(self.target)


@dataclass(frozen=True)
class LabelTable:
    """Paid labels by row, ready for training.

    Args:
        rows: (n,) positions of rows with at least one paid unit, ascending.
        target: (n, L) float32, NaN where nothing was paid or answered.
    """

    rows: Tensor
    target: Targets

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Answer:
    """One paid answer: the values, who gave them, when, and for what it was asked."""

    values: Tensor
    annotator: str
    round: int
    purpose: str = "query"


@dataclass
class Pool:
    """State of one campaign: paid answers and retired units, by position.

    Args:
        units: every unit, in canonical order.
        labels: (L) names of what is asked about a row.
        split: part of each row.
        consensus: which labels train when readers differ.
    """

    units: Units
    labels: tuple[str, ...]
    split: Split
    consensus: Consensus = field(default_factory=Consensus)
    round: int = 0
    _answers: dict[int, list[Answer]] = field(default_factory=dict, repr=False)
    _retired: set[int] = field(default_factory=set, repr=False)
    _asked: frozenset[int] = field(default=frozenset(), repr=False)
    _tables: dict[str, LabelTable] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.split.rows != self.units.rows:
            raise UnitError("split and units list different rows; make both from the same source")
        self._part = torch.tensor([PARTS.index(p) for p in self.split.parts], dtype=torch.int8)[self.units.row]

    def candidates(self) -> Tensor:
        """Units that may be asked: in the pool part, unpaid, not retired; (U,) int64 ascending."""
        free = self._part == PARTS.index("pool")
        taken = [*self._answers, *self._retired, *self._asked]
        if taken:
            free[torch.tensor(taken)] = False
        return torch.nonzero(free).flatten()

    def awaiting(self, ids: Iterable[str]) -> Pool:
        """The same pool in which these units are no candidates, because an answer is awaited; to be read only."""
        return replace(self, _asked=frozenset(self.units.positions(ids).tolist()))

    def covered(self) -> Tensor:
        """Units of the pool part that are paid or awaited, and not retired, (n,) int64 ascending."""
        known = torch.tensor(sorted((self._answers.keys() | self._asked) - self._retired), dtype=torch.long)
        return known[self._part[known] == PARTS.index("pool")]

    def labelled(self, part: str = "pool") -> Tensor:
        """Paid units of one part that were not retired, (n,) int64 ascending."""
        paid = torch.tensor(sorted(self._answers.keys() - self._retired), dtype=torch.long)
        return paid[self._part[paid] == PARTS.index(part)]

    def is_paid(self, position: int) -> bool:
        """Whether somebody has answered for this unit."""
        return position in self._answers

    def check(self, annotations: Annotations) -> None:
        """Whether these answers could be recorded; a journal asks before it writes them down for good.

        Raises:
            UnitError: on unknown or doubled ids, on a unit of the test part, or on a target of the wrong kind or width.
        """
        if annotations.kind != self.units.kind:
            raise UnitError(f"answers are about units of kind {annotations.kind!r}, the pool holds {self.units.kind!r}")
        if len(set(annotations.ids)) != len(annotations.ids):
            raise UnitError("one batch of answers names a unit twice; send a correction as a batch of its own")
        width = 1 if self.units.inner else len(self.labels)
        if annotations.target.shape[1] != width:
            raise UnitError(
                f"answers have {annotations.target.shape[1]} values for each {self.units.kind}, expected {width}"
            )
        positions = self.units.positions(annotations.ids)
        held_out = positions[self._part[positions] == PARTS.index("test")]
        if len(held_out):
            name = self.units.ids[int(held_out[0])]
            raise UnitError(f"unit {name!r} belongs to the test split, which is never annotated in a campaign")

    def answer(self, annotations: Annotations, purpose: str = "query") -> None:
        """Records paid answers. A reader's later answer corrects the earlier one; another reader's is a second opinion.

        Args:
            annotations: of one reader.
            purpose: what they were asked for, as in the journal.

        Raises:
            UnitError: as `check`; nothing is recorded then.
        """
        self.check(annotations)
        self._tables.clear()
        for p, values in zip(self.units.positions(annotations.ids).tolist(), annotations.target, strict=True):
            answer = Answer(values.to(torch.float32, copy=True), annotations.annotator, self.round, purpose)
            self._answers.setdefault(p, []).append(answer)

    def retire(self, ids: Iterable[str]) -> None:
        """Takes units out: they cannot be labelled. What was answered about them is kept, but trains no more."""
        self._retired.update(self.units.positions(ids).tolist())
        self._tables.clear()

    def bring_back(self, ids: Iterable[str]) -> None:
        """Takes units in again: who had called them impossible to label has labelled them after all."""
        self._retired.difference_update(self.units.positions(ids).tolist())
        self._tables.clear()

    @property
    def retired(self) -> tuple[str, ...]:
        """Ids that were taken out."""
        return tuple(self.units.ids[p] for p in sorted(self._retired))

    def label(self, unit: str) -> Tensor:
        """The paid answer for one unit by the rule of readers, (W,) float32.

        Raises:
            LabelNotPaid: if nobody has answered for it.
        """
        position = int(self.units.positions([unit])[0])
        if position not in self._answers:
            raise LabelNotPaid(f"the label of {unit!r} was never paid for; ask the oracle through a query")
        return self._agreed(position)

    def opinions(self, unit: str) -> Sequence[Answer]:
        """Every answer for one unit, oldest first; empty when unpaid."""
        return tuple(self._answers.get(int(self.units.positions([unit])[0]), ()))

    def table(self, part: str = "pool") -> LabelTable:
        """Paid labels of one part, one line for each row that has any.

        Args:
            part: "pool" (what the learner is trained with) or "validation" (what it is calibrated with).

        Returns:
            A copy; the pool keeps its own until the next answer, since reducers ask for it block by block.
        """
        if part not in self._tables:
            self._tables[part] = self._made_table(part)
        known = self._tables[part]
        return LabelTable(known.rows.clone(), known.target.clone())

    def _agreed(self, position: int) -> Tensor:
        return self.consensus.of(latest([(a.annotator, a.values) for a in self._answers[position]]))

    def _made_table(self, part: str) -> LabelTable:
        paid = self.labelled(part)
        if part == "validation":  # labels that a clinic chose to have do not stand for its patients
            paid = torch.tensor([p for p in paid.tolist() if self._drawn(p)], dtype=torch.long)
        if not len(paid):
            return LabelTable(torch.empty(0, dtype=torch.long), torch.empty(0, len(self.labels)))
        rows, line = torch.unique(self.units.row[paid], return_inverse=True)
        target = torch.full((len(rows), len(self.labels)), float("nan"))
        for p, i in zip(paid.tolist(), line.tolist(), strict=True):
            values = self._agreed(p)
            if self.units.inner:
                target[i, int(self.units.index[p])] = values[0]
            else:
                target[i] = values
        return LabelTable(rows, target)

    def _drawn(self, position: int) -> bool:
        """Whether a unit was asked at random, and not only imported."""
        return any(a.purpose != "imported" for a in self._answers[position])

    def positives(self) -> Tensor:
        """Paid positives of each label in the pool part, (L,) int64."""
        return (self.table().target == 1).sum(0)

    def prevalence(self) -> Tensor:
        """Share of positives among the paid answers of each label, (L,) in (0, 1).

        The estimate of Jeffreys' prior, (0.5 + n1) / (1 + n); soft and uncertain answers are left out.
        """
        target = self.table().target
        return (0.5 + (target == 1).sum(0)) / (1.0 + ((target == 1) | (target == 0)).sum(0))
