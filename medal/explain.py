"""Why a unit was asked: the text of `medal explain ID`, from the ledgers of a run or of one study."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path

from medal.consensus import CLINIC
from medal.errors import UnitError
from medal.report import words
from medal.report.collect import collect
from medal.report.history import IMPORTED, Answer, Batch, Pick, RunHistory, StudyHistory, row_id
from medal.units import SEPARATOR

NEAREST = 3
"""Ids that are named where one is unknown."""


def explain(folder: Path, unit: str) -> str:
    """Tells when a unit was asked, why, what was answered and what it cost, in every study of a run.

    Args:
        folder: of a run or of a study.
        unit: id of a unit, or of an image whose findings are the units.

    Returns:
        Lines of text.

    Raises:
        UnitError: on an unknown id; names the nearest ones.
        StudyError: if the folder is neither a run nor a study.
    """
    return explain_history(collect(folder), unit)


def explain_history(run: RunHistory, unit: str) -> str:
    """As `explain`, from a history that was read before."""
    require_known(run, unit)
    lines = [_title(run, unit)]
    for study in run.studies:
        lines += ["", *_study(run, study, unit)]
    return "\n".join(lines)


def require_known(run: RunHistory, unit: str) -> None:
    """Raises `UnitError` with the nearest ids unless the unit belongs to the run."""
    row, _, inside = unit.partition(SEPARATOR)
    rows = dict.fromkeys(name for study in run.studies for name in (*map(row_id, study.units), *study.quarantined))
    asked = {pick.unit for study in run.studies for batch in study.batches for pick in batch.picks}
    if unit in asked or (row in rows and (not inside or inside in run.labels)):
        return
    nearest = [row] if row in rows else difflib.get_close_matches(row, list(rows), n=NEAREST, cutoff=0.5)
    if inside:
        nearest = [f"{name}{SEPARATOR}{_near(inside, run.labels) or inside}" for name in nearest]
    hint = f"did you mean {' or '.join(map(repr, nearest))}?" if nearest else "ids stand in units.csv"
    raise UnitError(f"unit {unit!r} is not in this study; {hint}")


def _near(name: str, known: Iterable[str]) -> str:
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)), "")


def _title(run: RunHistory, unit: str) -> str:
    row = next((found for study in run.studies if (found := study.row(unit))), {})
    facts = [f"patient {row['group']}"] if row.get("group") else []
    facts += [
        f"{name.replace('_', ' ')} {value}" for name, value in row.items() if name not in ("id", "group") and value
    ]
    return f"{unit}" + (f" ({', '.join(facts)})" if facts else "")


def _study(run: RunHistory, study: StudyHistory, unit: str) -> list[str]:
    head = run.title(study.arm) if run.by_people else f"{run.title(study.arm)}, seed {study.seed}"
    if unit in study.quarantined:
        return [f"{head}: not used, {study.quarantined[unit]}"]
    found = [line for batch, rank, pick in _asked(study, unit) for line in _pick(study, batch, rank, pick)]
    found += [line for name in _unasked(study, unit) for line in _outcome(study, name)]
    return [head, *found] if found else [f"{head}: never asked"]


def _unasked(study: StudyHistory, unit: str) -> list[str]:
    """The unit, or findings of it, that somebody answered or took out although nobody had asked."""
    asked = {pick.unit for batch in study.batches for pick in batch.picks}
    told = dict.fromkeys([*(a.unit for a in study.answers), *(r.unit for r in study.retired)])
    mine = [name for name in told if name == unit or (SEPARATOR not in unit and row_id(name) == unit)]
    return [name for name in mine if name not in asked]


def _asked(study: StudyHistory, unit: str) -> Iterator[tuple[Batch, int, Pick]]:
    """Every time the unit, or a finding of it, was asked: the batch, the rank from 1, the pick."""
    for batch in study.batches:
        for rank, pick in enumerate(batch.picks, start=1):
            if pick.unit == unit or (SEPARATOR not in unit and row_id(pick.unit) == unit):
                yield batch, rank, pick


def _pick(study: StudyHistory, batch: Batch, rank: int, pick: Pick) -> Iterator[str]:
    yield (
        f"  round {batch.round}: asked as {pick.unit}, pick {rank} of {len(batch.picks)} "
        f"({batch.purpose}, strategy {batch.strategy})"
    )
    yield f"    why: {words.reason(batch, pick, top=0)}"
    if local := words.findings(pick):
        yield "    by finding: " + ", ".join(f"{name} {words.number(value)}" for name, value in local)
    yield from _outcome(study, pick.unit) or ["    answer: not answered yet"]
    items = "1 item" if batch.items == 1 else f"{words.amount(batch.items)} items"
    yield f"    cost of the batch: {items}, {words.number(batch.minutes, 1)} planned minutes"


def _outcome(study: StudyHistory, unit: str) -> list[str]:
    """What was answered about a unit, and why it was taken out; a reader's later label brings it back."""
    answers = [a for a in study.answers if a.unit == unit]
    lines = [f"    {_kind(answer)}: {_answer(study, answer)}" for answer in answers]
    gone = [r for r in study.retired if r.unit == unit]
    return lines + [
        f"    retired by {r.annotator or 'an unnamed reader'}: cannot be labelled"
        + (f", {r.reason}" if r.reason else "")
        for r in gone
    ]


def _kind(answer: Answer) -> str:
    if answer.purpose != IMPORTED:
        return "answer"
    return "label that was there before" if answer.annotator == CLINIC else "volunteered"


def _answer(study: StudyHistory, answer: Answer) -> str:
    text = f"{words.answer(answer.target, study.labels)}; by {answer.annotator or 'an unnamed annotator'}"
    spent = words.duration(answer.seconds)
    return text if spent == words.NOTHING else f"{text} in {spent}"
