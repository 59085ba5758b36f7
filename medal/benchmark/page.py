"""The report page of a benchmark: one HTML file that needs nothing else, and its figures as files beside it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import medal.report
from medal.benchmark.analysis import Analysis, FigureAnalysis, rare_labels, times
from medal.benchmark.figures import curves_figure, difference_figure, penalty_figures
from medal.benchmark.folder import BenchmarkFolder
from medal.benchmark.markdown import label_rows, rank_columns, rank_rows, summary_columns, summary_rows
from medal.benchmark.outlook_tables import outlook_sections
from medal.benchmark.schema import FULL, RANDOM
from medal.benchmark.table import interval, number, signed
from medal.metrics.paired import BLOCKS_FOR_A_CLAIM
from medal.report.style import Drawing
from medal.report.tables import Table, cells
from medal.storage import write_bytes, writing

FILE = "report.html"
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Section:
    """One part of the page.

    Args:
        title: heading.
        texts: paragraphs.
        drawings: figures.
        tables: below them.
        first: number of the first figure.
    """

    title: str
    texts: tuple[str, ...]
    drawings: tuple[Drawing, ...]
    tables: tuple[Table, ...]
    first: int


def write_benchmark_report(folder: BenchmarkFolder, analysis: Analysis, out: Path | None = None) -> Path:
    """Writes `report.html` and the figures as SVG and PNG.

    Args:
        folder: of the benchmark.
        analysis: what is shown.
        out: folder; `<benchmark>/report` when None.

    Returns:
        Path of the HTML file.
    """
    target = out or folder.path / "report"
    sections = _sections(analysis)
    with writing(target):
        target.mkdir(parents=True, exist_ok=True)
        for section in sections:
            for drawing in section.drawings:
                drawing.write(target)
    write_bytes(target / FILE, page(folder, analysis, sections).encode())
    return target / FILE


def page(folder: BenchmarkFolder, analysis: Analysis, sections: Sequence[Section]) -> str:
    """The HTML; every value is escaped, because names of sets, learners and labels come from users."""
    folders = [Path(__file__).parent, Path(medal.report.__file__).parent]
    environment = Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    return environment.get_template("page.html").render(
        title=folder.plan.file.title,
        stamps=_stamps(analysis),
        sentences=headline(analysis),
        design=_design(folder, analysis),
        sections=sections,
    )


def _data_uri(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()


def _stamps(analysis: Analysis) -> list[str]:
    stamps = []
    if analysis.underpowered:
        stamps.append(f"underpowered: fewer than {BLOCKS_FOR_A_CLAIM} finished blocks")
    if analysis.results.missing:
        stamps.append(f"{len(analysis.results.missing)} cells are missing")
    return stamps


def headline(analysis: Analysis) -> list[str]:
    """What the primary measure says, favourable or not."""
    said = []
    for part in analysis.figures:
        if part.figure.key != analysis.primary:
            continue
        if not part.figure.labels:
            said.append(f"{part.set}: the primary measure has no estimable label.")
            continue
        better, worse, open_ = [], [], 0
        for c in part.comparisons:
            name = f"{c.strategy} with {c.learner} ({signed(c.area.mean)}, {interval(c.area.low, c.area.high)})"
            if c.area.blocks and c.area.adjusted <= SIGNIFICANT and not c.area.underpowered:
                (better if c.area.mean > 0 else worse).append(name)
            else:
                open_ += 1
        said.append(f"{part.set}, {part.figure.title}, area under the budget curve against random:")
        said += [f"Better: {', '.join(better)}."] if better else []
        said += [f"Worse: {', '.join(worse)}."] if worse else []
        said.append(f"Not told apart from random at 5 % after Holm: {open_} of {len(part.comparisons)} comparisons.")
        said.append(_learners(part))
    return said


def _learners(part: FigureAnalysis) -> str:
    random = [f"{s.learner} {number(s.area)}" for s in part.summaries if s.strategy == RANDOM]
    full = [f"{s.learner} {number(s.final)}" for s in part.summaries if s.strategy == FULL]
    shown = f"The learner for comparison, random queries: {', '.join(random)}"
    return f"{shown}; whole pool: {', '.join(full)}." if full else f"{shown}."


def _design(folder: BenchmarkFolder, analysis: Analysis) -> list[tuple[str, str]]:
    plan = folder.plan
    last = folder.sessions()[-1] if folder.sessions() else {}
    machine = f"{last.get('processor', '')}, {last.get('cores', '')} cores" if last else "unknown"
    code = f"medal {last.get('medal', '')} {last.get('revision', '')}".strip() if last else "unknown"
    facts = [
        ("Sets", ", ".join(plan.sets)),
        ("Blocks", f"{plan.file.blocks}: split and start set are the same for all cells of a block"),
        ("Cells", f"{len(analysis.results.cells)} of {len(plan.cells)} finished"),
        ("Cost", plan.file.cost),
        ("Played by", code),
        ("On", machine),
    ]
    return facts + [("Not drawn", f"{name}: {reason}") for name, reason in plan.file.without.items()]


def _sections(analysis: Analysis) -> list[Section]:
    found: list[Section] = []
    drawn = 1
    parts = sorted(analysis.figures, key=lambda p: p.figure.key != analysis.primary)
    for part in parts:
        curves, differences = curves_figure(analysis.results, part), difference_figure(part)
        drawings = tuple(d for d in (curves, differences) if d is not None)
        found.append(_figure_section(analysis, part, drawings, drawn))
        drawn += len(drawings)
    if analysis.standings:
        matrices = tuple(penalty_figures(analysis))
        ranks = _table(f"Ranks by {analysis.primary}.", rank_columns(), rank_rows(analysis))
        found.append(Section("Ranks and penalties", (), matrices, (ranks,), drawn))
    found += [
        Section(title, (text,), (), (_table(title, columns, rows),), 0)
        for title, text, columns, rows in outlook_sections(analysis)
    ]
    return [*found, _labels(analysis), _times(analysis)]


def _figure_section(analysis: Analysis, part: FigureAnalysis, drawings: tuple[Drawing, ...], first: int) -> Section:
    title = f"{part.set}: {part.figure.key}"
    if not part.figure.labels:
        text = (
            f"Too few positives or negatives of {', '.join(part.figure.rare)} in a block's test rows; see the counts."
        )
        return Section(title, (text,), (), (), first)
    cost = analysis.results.folder.plan.file.cost
    caption = f"{part.figure.title}; means over blocks, differences to random with the same learner in the same block."
    texts = (f"Left out, too rare: {', '.join(part.figure.rare)}.",) if part.figure.rare else ()
    return Section(title, texts, drawings, (_table(caption, summary_columns(cost), summary_rows(part)),), first)


def _labels(analysis: Analysis) -> Section:
    tables, texts = [], []
    for set_name in analysis.results.folder.plan.sets:
        columns, rows = label_rows(analysis.results, set_name)
        tables.append(_table(f"Positives of each label in a block of {set_name}.", columns, rows))
        rare = rare_labels(analysis.results, set_name)
        texts += [f"{set_name}: counts only for {', '.join(rare)}."] if rare else []
    return Section("Labels", tuple(texts), (), tuple(tables), 0)


def _times(analysis: Analysis) -> Section:
    rows = [
        [f"{t.set} / {t.learner} / {t.strategy}", str(t.cells), number(t.query, 2), number(t.training, 2)]
        for t in times(analysis.results)
    ]
    columns = ["arm", "cells", "seconds of a query", "seconds of a training"]
    return Section("Seconds", (), (), (_table("Medians over rounds and blocks.", columns, rows),), 0)


def _table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    return Table(caption, tuple(columns), tuple(cells(*row) for row in rows))
