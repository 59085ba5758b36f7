"""The last batch of an arm as pictures: what was picked, why, and what the expert said."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from medal.report import words
from medal.report.history import FIXED_COLUMNS, RANDOM, Answer, Batch, RunHistory, StudyHistory, row_id

EDGE = 240
"""Pixels of the longer side of a thumbnail; twice what is shown, for sharp prints."""


@dataclass(frozen=True)
class Card:
    """One pick.

    Args:
        unit: id.
        rank: place in the batch, from 1.
        image: data URI of a thumbnail; empty when there is no preview.
        reason: why it was picked, with its score, in words.
        answer: what the expert said, in words.
        facts: harmless columns, such as sex, age and view.
    """

    unit: str
    rank: int
    image: str
    reason: str
    answer: str
    facts: str


@dataclass(frozen=True)
class Gallery:
    """The last batch of one study of one arm."""

    title: str
    cards: tuple[Card, ...]


def galleries(run: RunHistory) -> tuple[Gallery, ...]:
    """One gallery for each active arm, of its first study that has asked; of random when no other arm has."""
    active = [arm for arm in run.arms if arm != RANDOM]
    found = [gallery for arm in active if (gallery := _gallery(run, arm)) is not None]
    if not found and RANDOM in run.arms:
        found = [gallery for gallery in [_gallery(run, RANDOM)] if gallery is not None]
    return tuple(found)


def _gallery(run: RunHistory, arm: str) -> Gallery | None:
    study = next((study for study in run.of(arm) if last_batch(study) is not None), None)
    batch = last_batch(study) if study is not None else None
    if study is None or batch is None:
        return None
    answers = [a for a in study.answers if a.purpose == batch.purpose and a.round >= batch.round]
    # the batch may have been asked for by another strategy than the arm's
    title = f"{batch.strategy}, round {batch.round}"
    if not run.by_people:
        title = f"{run.title(arm)}, seed {study.seed}, round {batch.round}"
    return Gallery(title, tuple(_card(study, batch, k, answers) for k in range(len(batch.picks))))


def last_batch(study: StudyHistory) -> Batch | None:
    """The last query of a study; before any query, its last other batch; None when it picked nothing."""
    batches = [batch for batch in study.queries() if batch.picks] or [batch for batch in study.batches if batch.picks]
    return max(batches, key=lambda batch: batch.round, default=None)


def _card(study: StudyHistory, batch: Batch, position: int, answers: Sequence[Answer]) -> Card:
    pick = batch.picks[position]
    own = [answer for answer in answers if answer.unit == pick.unit]
    said = [words.answer(answer.target, study.labels) for answer in own]
    if len(own) > 1:
        said = [f"{answer.annotator}: {text}" for answer, text in zip(own, said, strict=True)]
    row = study.row(pick.unit)
    facts = [f"{name.replace('_', ' ')} {value}" for name, value in row.items() if name not in FIXED_COLUMNS and value]
    return Card(
        unit=pick.unit,
        rank=position + 1,
        image=thumbnail(study.previews, pick.unit),
        reason=words.reason(batch, pick),
        answer=". ".join(said) or _unanswered(study, pick.unit),
        facts=", ".join(facts),
    )


def _unanswered(study: StudyHistory, unit: str) -> str:
    gone = next((r for r in study.retired if r.unit == unit), None)
    if gone is None:
        return "not answered yet"
    return ", ".join(filter(None, ("cannot be labelled", gone.reason, gone.annotator)))


def thumbnail(folder: Path | None, unit: str) -> str:
    """A small JPEG of a unit's preview as a data URI; empty when there is none that can be read.

    Args:
        folder: of `<id>.png`.
        unit: id; a unit inside a row is shown by the preview of its row.
    """
    names = [name for name in dict.fromkeys((unit, row_id(unit))) if name and Path(name).name == name]
    path = next((folder / f"{name}.png" for name in names if folder and (folder / f"{name}.png").is_file()), None)
    if path is None:
        return ""
    try:
        with Image.open(path) as picture:
            small = picture.convert("L" if picture.mode in ("1", "L", "LA", "I", "I;16") else "RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return ""
    small.thumbnail((EDGE, EDGE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
