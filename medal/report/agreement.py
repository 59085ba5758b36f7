"""Agreement between readers on the images that several of them have read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medal.consensus import CLINIC, latest
from medal.metrics.agreement import Agreement, label_agreement
from medal.report.history import RunHistory, StudyHistory, row_id
from medal.report.style import COLOURS, Drawing, draw, shown
from medal.report.tables import Cell, Table, cells
from medal.report.words import NOTHING, counted, interval, number, percent
from medal.seeding import Seed

CATEGORIES = ((0.8, "almost perfect"), (0.6, "substantial"), (0.4, "moderate"), (0.2, "fair"), (0.0, "slight"))
"""Landis and Koch, Biometrics 1977: names for kappa above each bound; arbitrary, but what readers of a report know."""


@dataclass(frozen=True)
class Readers:
    """Agreement in one study.

    Args:
        study: in words.
        readers: names of those who have read an image that another has read too.
        images: read by at least two.
        labels: label -> agreement.
    """

    study: str
    readers: tuple[str, ...]
    images: int
    labels: Mapping[str, Agreement]


def reader_agreement(run: RunHistory) -> Readers | None:
    """Agreement in the first study with second opinions; None when nobody has read after another."""
    return next((found for study in run.studies if (found := _of(study)) is not None), None)


def _of(study: StudyHistory) -> Readers | None:
    said: dict[str, list[tuple[str, torch.Tensor]]] = {}
    for answer in study.answers:
        if len(answer.target) == len(study.labels) and answer.annotator != CLINIC:  # it is nobody's reading
            said.setdefault(row_id(answer.unit), []).append((answer.annotator, torch.tensor(answer.target)))
    opinions = {row: latest(answers) for row, answers in sorted(said.items())}
    opinions = {row: by_reader for row, by_reader in opinions.items() if len(by_reader) > 1}
    if not opinions:
        return None
    readers = sorted({reader for by_reader in opinions.values() for reader in by_reader})
    missing = torch.full((len(study.labels),), math.nan)
    ratings = {r: np.array([by_reader.get(r, missing).numpy() for by_reader in opinions.values()]) for r in readers}
    found = label_agreement(ratings, study.labels, Seed(0) / "report" / "agreement")
    return Readers(study.name, tuple(readers), len(opinions), found)


def agreement_sentence(found: Readers) -> str:
    """Where readers agree best and least."""
    known = {name: a.kappa for name, a in found.labels.items() if a.kappa is not None}
    who = f"{counted(found.images, 'image')} read by at least two of {counted(len(found.readers), 'reader')}"
    if not known:
        return f"{who}; no label was both seen and denied often enough for a kappa."
    best, least = max(known, key=lambda name: known[name]), min(known, key=lambda name: known[name])
    text = f"{who}. Agreement is highest on {best} (kappa {number(known[best], 2)}, {category(known[best])})"
    if least != best:
        text += f" and lowest on {least} (kappa {number(known[least], 2)}, {category(known[least])})"
    return f"{text}; a model is not expected to agree with a reader better than another reader does."


def category(kappa: float) -> str:
    """Name of a strength of agreement.

    Example:
        >>> category(0.65), category(-0.1)
        ('substantial', 'none')
    """
    return next((name for bound, name in CATEGORIES if kappa > bound), "none")


def agreement_table(found: Readers) -> Table:
    """Kappa of each label."""
    rows = [
        cells(
            name,
            Cell(number(a.kappa, 2), interval(a.low, a.high, lambda v: number(v, 2)) if math.isfinite(a.low) else "")
            if a.kappa is not None
            else NOTHING,
            percent(a.observed),
            str(a.items),
            str(a.readers),
            a.statistic,
        )
        for name, a in found.labels.items()
    ]
    return Table(
        caption=f"Agreement between readers beyond chance ({found.study}; readers: {', '.join(found.readers)}). "
        "Cohen's kappa for two readers, Fleiss' for more, over images with at least two ratings of the label; "
        "uncertain and soft ratings are left out. In small print the 95 % bootstrap interval over images. A dash: the "
        "label was never, or always, present, so that chance explains everything.",
        columns=("Label", "Kappa", "Same answer", "Images", "Readers", "Statistic"),
        rows=tuple(rows),
        text=frozenset({5}),
    )


def agreement_figure(found: Readers) -> Drawing | None:
    """Kappa of each label with its interval; None when no kappa is defined."""
    known = [(name, a) for name, a in found.labels.items() if a.kappa is not None]
    if not known:
        return None
    known.sort(key=lambda pair: -(pair[1].kappa or 0.0))

    def paint(_figure: Figure, axes: Sequence[Axes]) -> None:
        panel = axes[0]
        for y, (_, a) in enumerate(known):
            if math.isfinite(a.low):
                panel.plot([a.low, a.high], [y, y], color=COLOURS[0], linewidth=1.4, zorder=2)
            panel.plot(a.kappa or 0.0, y, "o", color=COLOURS[0], markersize=5.5, zorder=3)
        panel.set_yticks(range(len(known)), [shown(name) for name, _ in known])
        panel.set_ylim(len(known) - 0.3, -0.7)
        panel.set_xlim(min(-0.05, *(a.low for _, a in known if math.isfinite(a.low)), 0), 1.03)
        panel.axvline(0, color="#9aa4ab", linewidth=1)
        panel.set_xlabel("Kappa (0 chance, 1 perfect)")
        panel.tick_params(axis="y", length=0)

    caption = "Agreement between readers on each label, kappa with its 95 % bootstrap interval over images."
    said = ", ".join(f"{name} {number(a.kappa or 0.0, 2)}" for name, a in known)
    return draw("agreement", (9.2, 1.0 + 0.34 * len(known)), (1, 1), paint, alt=f"{caption} {said}.", caption=caption)
