"""The report: one HTML file that needs nothing else, and its figures as files beside it."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from medal.report import provenance
from medal.report.collect import collect
from medal.report.costs import cost_summary, cost_table
from medal.report.figures import columns_figure, learning_curves, prevalence_figure
from medal.report.gallery import galleries
from medal.report.headline import headline, no_measures
from medal.report.history import RANDOM, RunHistory
from medal.report.selection import column_comparisons, label_comparison
from medal.report.selection_tables import label_share_table, spread_table
from medal.report.style import Drawing
from medal.report.tables import comparison_table, curve_table, label_tables, rounds_evaluated
from medal.storage import writing

FILE = "report.html"


def write_report(run_folder: Path, out: Path | None = None) -> Path:
    """Writes the report of a run, or of a single study, finished or not.

    Args:
        run_folder: folder of a run or of a study; only read.
        out: folder that takes `report.html` and the figures as PNG and SVG; `<run_folder>/report` when None.

    Returns:
        Path of the HTML file.

    Raises:
        StudyError: if the folder is neither a run nor a study.
    """
    return write(collect(run_folder), out or run_folder / "report")


def write(run: RunHistory, folder: Path) -> Path:
    """Writes the report of a history into a folder and returns the path of the HTML file."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    curves, selected = draw_all(run)
    path = folder / FILE
    draft = path.with_suffix(f".{os.getpid()}")
    with writing(folder):
        for drawing in (*curves, *selected):
            drawing.write(folder)
        draft.write_text(page(run, curves, selected), encoding="utf-8")
        draft.replace(path)  # a reader with the page open never meets half a file
    return path


def draw_all(run: RunHistory) -> tuple[tuple[Drawing, ...], tuple[Drawing, ...]]:
    """Every figure that the history allows: the learning curves, and what was selected."""
    curves = [learning_curves(run, measure) for measure in ("auroc", "auprc")]
    labels, columns = label_comparison(run), column_comparisons(run)
    selected = [prevalence_figure(run, labels) if labels else None, columns_figure(run, columns) if columns else None]
    return tuple(c for c in curves if c is not None), tuple(s for s in selected if s is not None)


def page(run: RunHistory, curves: Sequence[Drawing] = (), selected: Sequence[Drawing] = ()) -> str:
    """The HTML of a report; every value is escaped, because names of labels, arms and reasons come from users."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    return environment.get_template("template.html").render(content(run), curves=curves, selected=selected)


def content(run: RunHistory) -> dict[str, Any]:
    """Everything that the template shows, apart from the figures."""
    labels = label_comparison(run)
    return {
        "head": headline(run),
        "has_random": RANDOM in run.arms,
        "no_measures": no_measures(run),
        "comparison": comparison_table(run),
        "points": curve_table(run),
        "rounds": [(number, label_tables(run, number)) for number in rounds_evaluated(run)],
        "shares": label_share_table(run, labels) if labels else None,
        "spread": spread_table(run),
        "galleries": galleries(run),
        "cost": cost_summary(run),
        "costs": [(run.title(arm), cost_table(run, arm)) for arm in run.arms if any(s.batches for s in run.of(arm))],
        "quarantine": provenance.quarantine_table(run),
        "studies": provenance.study_table(run),
        "origin": provenance.facts(run),
        "recipes": provenance.recipes(run),
    }


def _data_uri(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
