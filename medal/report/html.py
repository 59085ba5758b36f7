"""The report: one HTML file that needs nothing else, and its figures as files beside it."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from medal.errors import ConfigError
from medal.report import provenance
from medal.report.agreement import agreement_figure, agreement_sentence, agreement_table, reader_agreement
from medal.report.changes import change_sentences, retired_table
from medal.report.collect import collect
from medal.report.costs import cost_summary, cost_table
from medal.report.curves import points
from medal.report.figures import columns_figure, learning_curves, prevalence_figure
from medal.report.gallery import galleries
from medal.report.headline import headline, no_measures
from medal.report.history import RANDOM, RunHistory
from medal.report.outlook import Outlook, outlook_sentences, outlook_table, outlooks
from medal.report.outlook_figure import outlook_figure
from medal.report.prices import price_sentence, price_stability, price_table
from medal.report.selection import column_comparisons, label_comparison
from medal.report.selection_tables import asked_table, label_share_table, spread_table
from medal.report.style import Drawing
from medal.report.subgroups import subgroup_comparison, subgroup_figure, subgroup_sentence, subgroup_table
from medal.report.tables import comparison_table, curve_table, label_tables, rounds_evaluated
from medal.storage import writing

FILE = "report.html"


def write_report(run_folder: Path, out: Path | None = None, target: float | None = None) -> Path:
    """Writes the report of a run, or of a single study, finished or not.

    Args:
        run_folder: folder of a run or of a study; only read.
        out: folder that takes `report.html` and the figures as PNG and SVG; `<run_folder>/report` when None.
        target: macro AUROC that the forecast is asked about; that of the recipe when None.

    Returns:
        Path of the HTML file.

    Raises:
        StudyError: if the folder is neither a run nor a study.
        ConfigError: if the target is no area under a curve.
    """
    run = collect(run_folder)
    if target is not None:
        if not 0 < target <= 1:
            raise ConfigError(f"target: found {target:g}, expected a macro AUROC in (0, 1], such as 0.85")
        run = replace(run, studies=tuple(replace(study, wanted=target) for study in run.studies))
    return write(run, out or run_folder / "report")


def write(run: RunHistory, folder: Path) -> Path:
    """Writes the report of a history into a folder and returns the path of the HTML file."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    sections = draw_all(run)
    path = folder / FILE
    draft = path.with_suffix(f".{os.getpid()}")
    with writing(folder):
        for drawing in sections.all:
            drawing.write(folder)
        draft.write_text(page(run, sections), encoding="utf-8")
        draft.replace(path)  # a reader with the page open never meets half a file
    return path


@dataclass(frozen=True)
class Drawings:
    """The figures of a report, by section."""

    curves: tuple[Drawing, ...] = ()
    subgroups: tuple[Drawing, ...] = ()
    outlook: tuple[Drawing, ...] = ()
    selected: tuple[Drawing, ...] = ()
    agreement: tuple[Drawing, ...] = ()

    @property
    def all(self) -> tuple[Drawing, ...]:
        """In the order of the page."""
        return (*self.curves, *self.subgroups, *self.outlook, *self.selected, *self.agreement)


def draw_all(run: RunHistory) -> Drawings:
    """Every figure that the history allows."""
    labels, columns = label_comparison(run), column_comparisons(run)
    subgroups, readers = subgroup_comparison(run), reader_agreement(run)
    ahead = _drawn(outlook_figure(run, outlooks(run)))
    # on an arm, the curve with its interval and forecast is the learning curve
    on_arm = run.part == "validation" and bool(ahead)
    return Drawings(
        curves=ahead if on_arm else _drawn(*(learning_curves(run, measure) for measure in ("auroc", "auprc"))),
        subgroups=_drawn(subgroup_figure(run, subgroups) if subgroups else None),
        outlook=() if on_arm else ahead,
        selected=_drawn(
            prevalence_figure(run, labels) if labels else None, columns_figure(run, columns) if columns else None
        ),
        agreement=_drawn(agreement_figure(readers) if readers else None),
    )


def _drawn(*drawings: Drawing | None) -> tuple[Drawing, ...]:
    return tuple(drawing for drawing in drawings if drawing is not None)


def page(run: RunHistory, drawings: Drawings | None = None) -> str:
    """The HTML of a report; every value is escaped, because names of labels, arms and reasons come from users."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    return environment.get_template("template.html").render(content(run), drawings=drawings or Drawings())


def content(run: RunHistory) -> dict[str, Any]:
    """Everything that the template shows, apart from the figures."""
    labels = label_comparison(run)
    return {
        "head": headline(run),
        "part": run.part,
        "by_people": run.by_people,
        "has_random": RANDOM in run.arms,
        "no_measures": no_measures(run),
        "measured": any(points(study, "auroc", "items") for study in run.studies),
        "comparison": comparison_table(run),
        "points": curve_table(run),
        "rounds": [(number, label_tables(run, number)) for number in rounds_evaluated(run)],
        "subgroups": _subgroups(run),
        "outlook": _outlook(run, outlooks(run)),
        "shares": label_share_table(run, labels) if labels else None,
        "asked": asked_table(run),
        "spread": spread_table(run),
        "galleries": galleries(run),
        "agreement": _agreement(run),
        "cost": cost_summary(run),
        "costs": [(run.title(arm), cost_table(run, arm)) for arm in run.arms if any(s.batches for s in run.of(arm))],
        "prices": _prices(run),
        "changes": change_sentences(run),
        "retired": retired_table(run),
        "quarantine": provenance.quarantine_table(run),
        "studies": provenance.study_table(run),
        "origin": provenance.facts(run),
        "recipes": provenance.recipes(run),
    }


def _subgroups(run: RunHistory) -> dict[str, Any] | None:
    found = subgroup_comparison(run)
    return {"sentence": subgroup_sentence(run, found), "table": subgroup_table(run, found)} if found else None


def _outlook(run: RunHistory, found: tuple[Outlook, ...]) -> dict[str, Any] | None:
    return {"sentences": outlook_sentences(run, found), "table": outlook_table(run, found)} if found else None


def _agreement(run: RunHistory) -> dict[str, Any] | None:
    found = reader_agreement(run)
    return {"sentence": agreement_sentence(found), "table": agreement_table(found)} if found else None


def _prices(run: RunHistory) -> dict[str, Any] | None:
    found = price_stability(run)
    return {"sentence": price_sentence(found), "table": price_table(run, found)} if found else None


def _data_uri(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
