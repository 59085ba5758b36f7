"""What of a file of answers is taken, and why the rest is not: the rules, without a file or a journal.

A row is taken as a whole or not at all. Its labels are an answer, a second opinion where another reader has answered,
or a correction where the same reader has; all of them are kept. What is wrong is said with its line, never with the
cell that may name somebody.
"""

from __future__ import annotations

import difflib
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from medal.consensus import CLINIC, latest
from medal.exchange.worklist import AnswerRow, Reading
from medal.pool import Pool
from medal.units import SEPARATOR

REASONS = ("quality", "lateral", "other body part", "rotated", "foreign object", "duplicate")
"""Reasons for "cannot label" that a journal may hold; free text may name somebody and stands there as OTHER."""
OTHER = "other"
IMPORTED = CLINIC
"""The reader of labels that a clinic brought along."""
KINDS = ("answered", "second opinion", "corrected", "volunteered", "cannot label")


@dataclass(frozen=True)
class Question:
    """The last question about a unit.

    Args:
        purpose: as in the journal.
        list: name of its work list.
        open: whether nobody has answered it yet.
    """

    purpose: str
    list: str
    open: bool


@dataclass(frozen=True)
class Batch:
    """Answers of one reader for one purpose, in canonical order; `seconds` are NaN where none were given."""

    reader: str
    purpose: str
    ids: tuple[str, ...]
    target: Tensor
    seconds: tuple[float, ...]


@dataclass
class Intake:
    """What becomes of a file.

    Args:
        batches: answers to record.
        retired: (ids, reason, reader) to record.
        refused: (line, id or "", what is wrong); the id only where the study knows it.
        counts: rows of each of `KINDS`.
        unchanged: rows that say what is known already.
        overtaken: lines whose answer the same reader gave before and has corrected since; they change nothing.
        blank: rows that say nothing yet.
        comments: (id, reader, text) for the private table.
    """

    batches: list[Batch] = field(default_factory=list)
    retired: list[tuple[tuple[str, ...], str, str]] = field(default_factory=list)
    refused: list[tuple[int, str, str]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    unchanged: int = 0
    overtaken: list[int] = field(default_factory=list)
    blank: int = 0
    comments: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def taken(self) -> int:
        """Rows that change the study."""
        return sum(self.counts.values())


_Answers = dict[tuple[str, str], dict[str, tuple[Tensor, float]]]
"""(reader, purpose) -> unit -> values and seconds."""


@dataclass
class _Taken:
    """What was taken of a file so far: answers by reader and purpose, and units that were taken out."""

    answers: _Answers = field(default_factory=dict)
    retired: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Desk:
    """Decides about rows.

    Args:
        pool: who has answered what.
        questions: unit -> last question about it.
        retired_by: unit -> who took it out.
        quarantined: id -> why the file cannot be read.
        reader: who answered where a row does not say.
        extra: take labels that nobody asked for.
        back: take answers that the same reader has corrected since; without it, an old file that is told again undoes
            no correction.
    """

    pool: Pool
    questions: Mapping[str, Question]
    retired_by: Mapping[str, str]
    quarantined: Mapping[str, str]
    reader: str
    extra: bool = False
    back: bool = False

    def sort(self, reading: Reading, again: Container[int] | None = None) -> Intake:
        """Goes through every row; nothing is recorded.

        Whoever took an image out and labels it now comes first, and labels come before what cannot be labelled,
        wherever they stand: the order of a file decides nothing.

        Args:
            reading: the file, as its format read it.
            again: lines that count, the others are known already; None when all of them count.
        """
        intake, taken = Intake(), _Taken()
        for row in sorted(reading.rows, key=self._turn):
            if row.blank:
                intake.blank += 1
                continue
            if again is not None and row.line not in again:
                intake.unchanged += 1
                continue
            known = row.id if row.id in self._rows else ""
            problem = "; ".join(row.problems) or self._foreign(row)
            if not problem and row.cannot_label:
                problem = self._retire(row, intake, taken)
            elif not problem:
                problem = self._answer(row, intake, taken.answers)
            if problem:
                intake.refused.append((row.line, known, problem))
            elif row.comment or row.cannot_label not in ("", *REASONS):
                text = "; ".join(t for t in (row.cannot_label, row.comment) if t)
                intake.comments.append((row.id, self._reader(row), text))
        for (reader, purpose), answers in sorted(taken.answers.items()):
            intake.batches.append(self._batch(reader, purpose, answers))
        intake.retired.sort()
        intake.refused.sort()
        intake.comments.sort()
        return intake

    def _turn(self, row: AnswerRow) -> tuple[bool, bool, str]:
        reader = self._reader(row)
        returns = any(self.retired_by.get(unit) == reader for unit in (row.id, *self._inner(row.id)))
        return row.cannot_label != "", not returns, reader

    def _inner(self, name: str) -> list[str]:
        """Every unit inside a row; none where rows are the units."""
        return [f"{name}{SEPARATOR}{label}" for label in self.pool.labels] if self.pool.units.inner else []

    def _reader(self, row: AnswerRow) -> str:
        return row.reader or self.reader

    @cached_property
    def _rows(self) -> Mapping[str, int]:
        return {name: row for row, name in enumerate(self.pool.units.rows)}

    def _foreign(self, row: AnswerRow) -> str:
        """Why the image cannot be answered for at all; "" when it can."""
        if row.id in self._rows:
            part = self.pool.split.parts[self._rows[row.id]]
            return "belongs to the test part, which is never labelled in a study" if part == "test" else ""
        if row.id in self.quarantined:
            return f"the file cannot be read: {self.quarantined[row.id]}"
        near = difflib.get_close_matches(row.id, self.pool.units.rows, n=1, cutoff=0.85)
        return f"unknown id; {f'did you mean {near[0]}?' if near else 'take the ids from the work list'}"

    def _units(self, row: AnswerRow) -> list[tuple[str, Tensor]]:
        """The units that a row answers, each with its values (W)."""
        if not self.pool.units.inner:
            target = torch.full((len(self.pool.labels),), float("nan"))
            for name, value in row.values.items():
                target[self.pool.labels.index(name)] = value
            return [(row.id, target)]
        return [(f"{row.id}{SEPARATOR}{name}", torch.tensor([value])) for name, value in sorted(row.values.items())]

    def _answer(self, row: AnswerRow, intake: Intake, taken: _Answers) -> str:
        """Takes one row; returns what is wrong with it, or ""."""
        reader, units = self._reader(row), self._units(row)
        problems = [problem for unit, _ in units if (problem := self._refusal(unit, row, reader, taken))]
        if problems:
            return problems[0]
        if not self.back and all(self._overtaken(unit, values, reader) for unit, values in units):
            intake.overtaken.append(row.line)
            return ""
        kinds = [self._kind(unit, values, row, reader) for unit, values in units]
        new = [(unit, values, kind) for (unit, values), kind in zip(units, kinds, strict=True) if kind]
        if not new:
            intake.unchanged += 1
            return ""
        for unit, values, _ in new:
            question = self.questions.get(unit)
            purpose = question.purpose if question else "imported"
            taken.setdefault((reader, purpose), {})[unit] = values, row.seconds / len(new)
        intake.counts[min((kind for _, _, kind in new), key=KINDS.index)] += 1
        return ""

    def _refusal(self, unit: str, row: AnswerRow, reader: str, taken: _Answers) -> str:
        taker = self.retired_by.get(unit)
        if taker is not None and taker not in (reader, *(who for (who, _), found in taken.items() if unit in found)):
            return f"{taker} stated that it cannot be labelled; a label by {taker} would bring it back"
        if unit in self.questions:
            return ""
        if self.pool.split.parts[self._rows[row.id]] == "validation":
            return "was not drawn for measuring; a label that was not drawn at random would bias the measurement"
        what = "this image" if not self.pool.units.inner else unit.removeprefix(row.id + SEPARATOR)
        return "" if self.extra else f"nobody asked about {what}; --extra takes labels that were not asked for"

    def _overtaken(self, unit: str, values: Tensor, reader: str) -> bool:
        """Whether the reader gave just this answer before, and something else since."""
        mine = [a.values for a in self.pool.opinions(unit) if a.annotator == reader]
        later = mine if self.retired_by.get(unit) == reader else mine[:-1]
        if not any(torch.equal(old.nan_to_num(-9), values.nan_to_num(-9)) for old in later):
            return False
        present = latest([(reader, old) for old in mine])[reader]
        changed = not torch.equal(torch.where(values.isnan(), present, values).nan_to_num(-9), present.nan_to_num(-9))
        return changed or self.retired_by.get(unit) == reader

    def _kind(self, unit: str, values: Tensor, row: AnswerRow, reader: str) -> str:
        """Which of `KINDS` an answer is; "" when it says what is known already."""
        answers = self.pool.opinions(unit)
        mine = latest([(a.annotator, a.values) for a in answers if a.annotator == reader]).get(reader)
        question = self.questions.get(unit)
        if mine is None:
            others = any(a.annotator != IMPORTED for a in answers)
            return "volunteered" if question is None else "second opinion" if others else "answered"
        same = torch.equal(torch.nan_to_num(torch.where(values.isnan(), mine, values), -9), torch.nan_to_num(mine, -9))
        if not same or unit in self.retired_by:
            return "corrected"
        # the same answer is news only where the very list is told on which it was asked again
        return "answered" if question is not None and question.open and row.ask == question.list else ""

    def _retire(self, row: AnswerRow, intake: Intake, taken: _Taken) -> str:
        """Takes an image out; returns what is wrong, or ""."""
        reader = self._reader(row)
        units = [row.id]
        if self.pool.units.inner:
            every = self._inner(row.id)
            units = [unit for unit in every if unit in self.questions] or every
        others = {a.annotator for unit in units for a in self.pool.opinions(unit)} - {reader, IMPORTED}
        labelling = {
            who for (who, _), answers in taken.answers.items() if who != reader and answers.keys() & set(units)
        }
        out = not labelling and all(unit in self.retired_by for unit in units)
        if out or taken.retired.issuperset(units):
            intake.unchanged += 1
            return ""
        others |= labelling
        if others:
            return f"{', '.join(sorted(others))} could label it; settle it, a correction by the same reader is taken"
        if not self.extra and not any(unit in self.questions for unit in units):
            return "nobody asked about this image; --extra takes answers that were not asked for"
        reason = row.cannot_label.strip().lower()
        intake.retired.append((tuple(units), reason if reason in REASONS else OTHER, reader))
        taken.retired.update(units)
        intake.counts["cannot label"] += 1
        return ""

    def _batch(self, reader: str, purpose: str, answers: Mapping[str, tuple[Tensor, float]]) -> Batch:
        ids: Sequence[str] = sorted(answers)
        target = torch.stack([answers[unit][0] for unit in ids])
        return Batch(reader, purpose, tuple(ids), target, tuple(answers[unit][1] for unit in ids))
