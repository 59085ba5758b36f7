"""The figures of a benchmark: learning curves, differences to random with intervals, penalty matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from medal.benchmark.analysis import Analysis, FigureAnalysis
from medal.benchmark.compare import Comparison
from medal.benchmark.results import Results
from medal.benchmark.schema import FULL, RANDOM, SELF_SUPERVISED, SHORTCUT
from medal.benchmark.standings import Penalty
from medal.benchmark.table import interval, number, signed
from medal.metrics.learning_curves import band
from medal.metrics.paired import BLOCKS_FOR_A_CLAIM
from medal.report.style import COLOURS, INK, MARKERS, SOFT, Drawing, Pen, draw

GREY = "#6b6b6b"
BESIDE = {SELF_SUPERVISED: (0, (5, 2, 1, 2)), SHORTCUT: (0, (1, 1.5))}
"""Learners whose random line stands in every panel, and how it is dashed."""
MOST_ABREAST = 3


def pens(results: Results) -> dict[str, Pen]:
    """Pen of each strategy, the same in every panel; random grey and dashed."""
    names = dict.fromkeys(strategy for _, _, strategy in results.folder.plan.arms if strategy not in (RANDOM, FULL))
    found = {RANDOM: Pen(GREY, "D", "--")}
    for position, name in enumerate(names):
        found[name] = Pen(COLOURS[position % len(COLOURS)], MARKERS[position % len(MARKERS)], "-")
    return found


def curves_figure(results: Results, part: FigureAnalysis) -> Drawing | None:
    """Learning curves of one figure, a panel for each learner; None when nothing is estimable or finished."""
    plan, set_name, key = results.folder.plan, part.set, part.figure.key
    learners = [le for le in plan.learners(set_name) if results.finished(set_name, le, RANDOM)]
    if not part.figure.labels or not learners:
        return None
    columns = min(len(learners), MOST_ABREAST)
    shape = (math.ceil(len(learners) / columns), columns)
    styles = pens(results)

    def paint(canvas: Canvas, axes: Sequence[Axes]) -> None:
        for panel, learner in zip(axes, learners, strict=False):
            _panel(panel, results, set_name, learner, key, styles)
        for panel in axes[len(learners) :]:
            panel.set_visible(False)
        axes[0].set_ylabel(part.figure.title.partition(" of ")[0])
        _legend(canvas, results, set_name, styles, learners)

    return draw(
        f"curves_{set_name}_{_file_name(key)}",
        (3.1 * columns + 0.6, 2.7 * shape[0] + 0.7),
        shape,
        paint,
        alt=f"Learning curves of {part.figure.title} on {set_name}. {_ends(results, set_name, learners, key)}",
        caption=_curve_caption(part),
    )


def _panel(panel: Axes, results: Results, set_name: str, learner: str, key: str, styles: dict[str, Pen]) -> None:
    panel.set_title(learner)
    for other, dash in BESIDE.items():
        x, y = results.mean_curve(set_name, other, RANDOM, key)
        if other != learner and y.size:
            panel.plot(x, y.mean(0), color=SOFT, linestyle=dash, linewidth=1.2, zorder=1)
    for strategy in reversed(results.folder.plan.strategies(set_name, learner)):
        x, y = results.mean_curve(set_name, learner, strategy, key)
        if not y.size:
            continue
        pen, order = styles[strategy], 2 if strategy == RANDOM else 3
        found = band(y.tolist(), "t" if len(y) >= BLOCKS_FOR_A_CLAIM else "range")
        if len(y) > 1:
            panel.fill_between(x, found.low, found.high, color=pen.colour, alpha=0.10, linewidth=0, zorder=order - 1)
        style: dict[str, Any] = {"color": pen.colour, "linestyle": pen.dash, "marker": pen.marker}
        panel.plot(x, found.mean, **style, markersize=4, linewidth=1.5, zorder=order)
    full = results.full(set_name, learner, key)
    if math.isfinite(full):
        panel.axhline(full, color=INK, linestyle=":", linewidth=1.2, zorder=1)
    panel.set_xlabel(f"{results.folder.plan.file.cost} paid for")
    panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _legend(canvas: Canvas, results: Results, set_name: str, styles: dict[str, Pen], learners: Sequence[str]) -> None:
    drawn = [s for s in styles if any(results.finished(set_name, le, s) for le in learners)]
    handles = [
        Line2D(
            [], [], color=styles[s].colour, linestyle=styles[s].dash, marker=styles[s].marker, markersize=4.5, label=s
        )
        for s in drawn
    ]
    handles += [
        Line2D([], [], color=SOFT, linestyle=dash, linewidth=1.2, label=f"{name} + random")
        for name, dash in BESIDE.items()
        if results.finished(set_name, name, RANDOM)
    ]
    if any(results.finished(set_name, le, FULL) for le in learners):
        handles.append(Line2D([], [], color=INK, linestyle=":", linewidth=1.2, label="full data, same learner"))
    canvas.legend(handles=handles, loc="outside upper left", ncols=4, handlelength=2.4)


def _ends(results: Results, set_name: str, learners: Sequence[str], key: str) -> str:
    said = []
    for learner in learners:
        for strategy in results.folder.plan.strategies(set_name, learner):
            x, y = results.mean_curve(set_name, learner, strategy, key)
            if y.size:
                said.append(f"{learner} with {strategy} ends at {number(float(y.mean(0)[-1]))} after {x[-1]:g}.")
    return " ".join(said)


def _curve_caption(part: FigureAnalysis) -> str:
    counts = [s.blocks for s in part.summaries]
    bands = "95 % t-interval of the mean" if min(counts) >= BLOCKS_FOR_A_CLAIM else "minimum to maximum"
    return (
        f"{part.figure.title} on the test rows of {part.set}: mean over blocks and band ({bands}). Every panel "
        "has its own random line; the full-data line trains the same learner once on the whole pool."
    )


def difference_figure(part: FigureAnalysis) -> Drawing | None:
    """AUBC minus random's with both intervals, a line a method; None when there is nothing to compare."""
    found = [c for c in part.comparisons if c.area.blocks]
    if not found:
        return None

    def paint(canvas: Canvas, axes: Sequence[Axes]) -> None:
        panel = axes[0]
        panel.axvline(0, color=SOFT, linewidth=1, zorder=1)
        for y, c in enumerate(found):
            _whisker(panel, c.patients.low, c.patients.high, y, GREY, 1.2)
            _whisker(panel, c.area.low, c.area.high, y, COLOURS[0], 4)
            panel.plot(c.area.mean, y, "o", color=INK, markersize=5, zorder=4)
        panel.set_yticks(range(len(found)), [f"{c.learner} / {c.strategy}" for c in found])
        panel.set_ylim(len(found) - 0.4, -0.6)
        panel.set_xlabel("AUBC minus random's, same learner and block")
        handles = [
            Line2D([], [], color=COLOURS[0], linewidth=4, label="95 % over blocks"),
            Line2D([], [], color=GREY, linewidth=1.2, label="95 % over patients and blocks"),
        ]
        canvas.legend(handles=handles, loc="outside upper left", ncols=2)

    return draw(
        f"differences_{part.set}_{_file_name(part.figure.key)}",
        (8.2, 0.9 + 0.32 * len(found)),
        (1, 1),
        paint,
        alt=f"Differences to random in {part.figure.title}. {' '.join(_said(c) for c in found)}",
        caption=f"{part.figure.title} on {part.set}: difference of the area under the budget curve to random with the "
        "same learner in the same block; to the right of zero is better than random.",
    )


def _whisker(panel: Axes, low: float, high: float, y: float, colour: str, width: float) -> None:
    if math.isfinite(low) and math.isfinite(high):
        panel.plot([low, high], [y, y], color=colour, linewidth=width, solid_capstyle="butt", zorder=2)


def _said(c: Comparison) -> str:
    ends = interval(c.area.low, c.area.high)
    return f"{c.learner} with {c.strategy}: {signed(c.area.mean)}, {ends}, worse in {c.area.worse} of {c.area.blocks}."


def penalty_figures(analysis: Analysis) -> list[Drawing]:
    """A penalty matrix for each learner with two strategies or more, by the exact test on the area."""
    return [_penalty_figure(analysis.primary, p) for p in analysis.penalties if len(p.by_area.methods) > 1]


def _penalty_figure(primary: str, penalty: Penalty) -> Drawing:
    side = len(penalty.by_area.methods)

    def paint(_: Canvas, axes: Sequence[Axes]) -> None:
        _matrix(axes[0], penalty)

    return draw(
        f"penalty_{_file_name(penalty.learner)}",
        (2.4 + 0.8 * side, 1.4 + 0.4 * side),
        (1, 1),
        paint,
        alt=f"Penalty matrix of {penalty.learner}: {_wins(penalty)}.",
        caption=f"Penalty matrix of {penalty.learner} by {primary}: sets in which the row's strategy beats the "
        "column's (exact sign-flip test on the area under the budget curve, two-sided 5 %); in brackets the form of "
        "the literature, a t-test at every budget.",
    )


def _matrix(panel: Axes, penalty: Penalty) -> None:
    area, methods = penalty.by_area, penalty.by_area.methods
    panel.grid(visible=False)
    for y, (line, other) in enumerate(zip(area.wins, penalty.by_budget.wins, strict=True)):
        for x, (wins, parts) in enumerate(zip(line, other, strict=True)):
            share = wins / max(area.settings, 1)
            panel.fill_between([x - 0.5, x + 0.5], y - 0.5, y + 0.5, color=COLOURS[0], alpha=0.75 * share, linewidth=0)
            text = "" if x == y else f"{wins:g} ({parts:.1f})"
            panel.text(x, y, text, ha="center", va="center", fontsize=8, color=INK)
    panel.set_xticks(range(len(methods)), [*methods], rotation=35, ha="right")
    panel.set_yticks(range(len(methods)), [*methods])
    panel.tick_params(axis="both", length=0)
    panel.set_xlim(-0.5, len(methods) - 0.5)
    panel.set_ylim(len(methods) - 0.5, -0.5)
    panel.set_title(penalty.learner)


def _wins(penalty: Penalty) -> str:
    pairs = [
        f"{ours} beats {theirs}"
        for ours, line in zip(penalty.by_area.methods, np.asarray(penalty.by_area.wins), strict=True)
        for theirs, wins in zip(penalty.by_area.methods, line, strict=True)
        if wins > 0
    ]
    return ", ".join(pairs) or "no strategy beats another"


def _file_name(key: str) -> str:
    return "".join(c if c.isalnum() or c in "_-" else "_" for c in key).strip("_")
