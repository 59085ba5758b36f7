"""The report's figures: learning curves against items and minutes, and what was selected against the pool."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from medal.metrics.seed_summary import band_name
from medal.report.curves import AXES, Curve, curve
from medal.report.history import PARTS, RANDOM, RunHistory
from medal.report.selection import Comparison
from medal.report.style import SOFT, Drawing, Pen, draw, pens, shown
from medal.report.tables import LONG
from medal.report.words import amount, number, percent

GAP = 0.6
"""Empty rows between two sets of categories."""
AXIS_NAMES = {"items": "Items paid for", "minutes": "Expert minutes, as planned"}


def learning_curves(run: RunHistory, measure: str) -> Drawing | None:
    """Macro measure of every arm against items and against minutes; None when nothing was evaluated.

    Args:
        run: history.
        measure: "auroc" or "auprc".
    """
    lines = {axis: {arm: curve(run.of(arm), measure, axis) for arm in run.arms} for axis in AXES}
    drawn = [arm for arm in run.arms if lines["items"][arm] is not None]
    if not drawn:
        return None
    styles = pens(run)

    def paint(figure: Figure, axes: Sequence[Axes]) -> None:
        for panel, axis in zip(axes, AXES, strict=True):
            for arm in reversed(drawn):
                _line(panel, lines[axis][arm], styles[arm], front=arm != RANDOM)
            panel.set_xlabel(AXIS_NAMES[axis])
            panel.xaxis.set_major_locator(MaxNLocator(7, integer=True, steps=[1, 2, 2.5, 5, 10]))
        axes[0].set_ylabel(f"Macro {LONG[measure]} ({PARTS[run.part].split()[-1] if run.part != 'test' else 'test'})")
        _legend(figure, [(run.title(arm), styles[arm]) for arm in drawn])

    ends = [_end(run.title(arm), lines["items"][arm]) for arm in drawn]
    return draw(
        f"curve_{measure}",
        (9.2, 3.9),
        (1, len(AXES)),
        paint,
        alt=f"Macro {LONG[measure]} on the {PARTS[run.part]} against items and expert minutes. {' '.join(ends)}",
        caption=_curve_caption(run, measure, drawn),
    )


def _line(panel: Axes, line: Curve | None, pen: Pen, front: bool) -> None:
    if line is None:
        return
    order = 3 if front else 2
    low, high = [s.low for s in line.y], [s.high for s in line.y]
    if line.seeds > 1:
        panel.fill_between(line.x, low, high, color=pen.colour, alpha=0.16, linewidth=0, zorder=order - 1)
    mean = [s.mean for s in line.y]
    panel.plot(
        line.x,
        mean,
        color=pen.colour,
        linestyle=pen.dash,
        marker=pen.marker,
        markersize=4.5,
        linewidth=1.8,
        zorder=order,
    )
    for x, y in line.tails:
        panel.plot(x, y, color=pen.colour, linestyle=pen.dash, linewidth=0.8, alpha=0.7, zorder=order)


def _end(title: str, line: Curve | None) -> str:
    if line is None or not line.x:
        return f"{title} has no round that all its seeds have reached."
    return f"{title} ends at {number(line.y[-1].mean)} after {amount(line.x[-1])} items."


def _curve_caption(run: RunHistory, measure: str, drawn: Sequence[str]) -> str:
    seeds = {arm: sum(bool(s.rounds) for s in run.of(arm)) for arm in drawn}
    bands = " or ".join(dict.fromkeys(band_name(count) for count in seeds.values() if count > 1))
    parts = [f"Macro {LONG[measure]} on the {PARTS[run.part]}, mean over the estimable labels."]
    parts.append("Costs include the validation and start sets.")
    if run.over_seeds:
        counts = ", ".join(f"{run.title(arm)} {count}" for arm, count in seeds.items())
        parts.append(f"Lines: mean over seeds ({counts}).")
        parts.append(f"Bands: {bands}." if bands else "With one seed there is no band.")
    elif not run.by_people:
        parts.append("With one seed there is no band.")
    if any(c is not None and c.tails for c in (curve(run.of(arm), measure, "items") for arm in drawn)):
        parts.append("Thin lines: single seeds beyond the round that every seed has reached.")
    if RANDOM in run.arms and RANDOM not in drawn:
        parts.append("The random arm has not been evaluated yet.")
    return " ".join(parts)


def _legend(figure: Figure, entries: Sequence[tuple[str, Pen]]) -> None:
    handles = [
        Line2D(
            [],
            [],
            color=pen.colour,
            linestyle=pen.dash,
            marker=pen.marker,
            markersize=5,
            linewidth=1.8,
            label=shown(title),
        )
        for title, pen in entries
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=min(len(handles), 4), handlelength=2.6)


def prevalence_figure(run: RunHistory, comparison: Comparison) -> Drawing:
    """Prevalence of every label among what the queries paid for, beside its estimate for the pool."""
    return _dots(
        run,
        [comparison],
        "selection_labels",
        f"Share of answers that say present, among what {_queries(run)} paid for. The pool's own prevalence is "
        "unknown to a method: the grey tick is its estimate from the units that were drawn at random, the grey bar the "
        "95 % Wilson interval.",
    )


def columns_figure(run: RunHistory, comparisons: Sequence[Comparison]) -> Drawing:
    """Shares of sex, age, view and other columns among the picks, beside the pool."""
    return _dots(
        run,
        comparisons,
        "selection_columns",
        f"Share of the units picked by {_queries(run)}. Grey tick: share of the pool, counted.",
    )


def _queries(run: RunHistory) -> str:
    if run.by_people:
        return "the queries"
    return "each arm's queries, all seeds together" if run.over_seeds else "each arm's queries"


def _dots(run: RunHistory, comparisons: Sequence[Comparison], name: str, caption: str) -> Drawing:
    styles = pens(run)
    arms = [arm for arm in run.arms if any(arm in comparison.arms for comparison in comparisons)]
    rows = sum(len(comparison.categories) for comparison in comparisons) + GAP * (len(comparisons) - 1)

    def paint(figure: Figure, axes: Sequence[Axes]) -> None:
        panel, y, ticks = axes[0], 0.0, []
        for comparison in comparisons:
            for position, category in enumerate(comparison.categories):
                _pool_mark(panel, comparison, position, y)
                for step, arm in enumerate(arms):
                    found = comparison.arms.get(arm)
                    offset = (step - (len(arms) - 1) / 2) * min(0.26, 0.62 / max(len(arms), 1))
                    if found and math.isfinite(found[position].share):
                        pen = styles[arm]
                        panel.plot(
                            100 * found[position].share,
                            y + offset,
                            pen.marker,
                            color=pen.colour,
                            markersize=6,
                            zorder=3,
                            clip_on=False,
                        )
                title = f"{comparison.name}: {category}" if len(comparisons) > 1 else category
                ticks.append((y, shown(title)))
                y += 1
            y += GAP
        panel.set_yticks([at for at, _ in ticks], [text for _, text in ticks])
        panel.set_ylim(max((at for at, _ in ticks), default=0) + 0.7, -0.7)
        panel.set_xlim(left=-0.015 * panel.get_xlim()[1])
        panel.set_xlabel("Share in per cent")
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.tick_params(axis="y", length=0)
        handles = [
            Line2D(
                [],
                [],
                color=styles[a].colour,
                linestyle="",
                marker=styles[a].marker,
                markersize=6,
                label=shown(run.title(a)),
            )
            for a in arms
        ]
        label = "pool (estimate)" if comparisons[0].estimated else "pool"
        handles.append(
            Line2D([], [], color=SOFT, linestyle="", marker="|", markersize=11, markeredgewidth=2.2, label=label)
        )
        figure.legend(handles=handles, loc="outside upper left", ncols=min(len(handles), 4), handlelength=1.2)

    alt = "; ".join(_said(run, comparison, arms) for comparison in comparisons)
    return draw(name, (9.2, 1.1 + 0.34 * rows), (1, 1), paint, alt=f"{caption} {alt}.", caption=caption)


def _pool_mark(panel: Axes, comparison: Comparison, position: int, y: float) -> None:
    pool = comparison.pool[position]
    if not math.isfinite(pool.share):
        return
    if comparison.estimated:
        low, high = pool.wilson()
        panel.plot([100 * low, 100 * high], [y, y], color="#c3cad0", linewidth=7, solid_capstyle="butt", zorder=1)
    panel.plot(100 * pool.share, y, "|", color=SOFT, markersize=13, markeredgewidth=2.2, zorder=2, clip_on=False)


def _said(run: RunHistory, comparison: Comparison, arms: Sequence[str]) -> str:
    """The shares in words, category by category."""
    said = []
    for position, category in enumerate(comparison.categories):
        shares = [
            f"{run.title(arm)} {percent(comparison.arms[arm][position].share)}"
            for arm in arms
            if arm in comparison.arms
        ]
        said.append(f"{category}: pool {percent(comparison.pool[position].share)}, {', '.join(shares)}")
    return f"{comparison.name}: " + "; ".join(said)
