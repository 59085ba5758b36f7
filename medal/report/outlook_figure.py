"""The curve on the validation arm with its forecast, drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from medal.report.history import RunHistory
from medal.report.outlook import ARMS_SHOWN, Outlook
from medal.report.style import SOFT, Drawing, Pen, draw, pens, shown
from medal.report.words import amount, number

AHEAD = 2.0
"""The forecast is drawn up to this multiple of the labels at hand."""


def outlook_figure(run: RunHistory, found: tuple[Outlook, ...]) -> Drawing | None:
    """Macro AUROC on the arm against labels, with the fitted curve and its band; None when nothing was measured."""
    drawn = found[:ARMS_SHOWN]
    if not drawn:
        return None
    styles = pens(run)

    def paint(_figure: Figure, axes: Sequence[Axes]) -> None:
        for panel, o in zip(axes, drawn, strict=True):
            _forecast(panel, o, styles[o.study.arm])
            _points(panel, o, styles[o.study.arm])
            if math.isfinite(o.target):
                panel.axhline(o.target, color=SOFT, linewidth=1, linestyle=(0, (4, 3)))
                panel.annotate(
                    f"target {number(o.target)}",
                    (0.01, o.target),
                    xycoords=("axes fraction", "data"),
                    va="bottom",
                    color=SOFT,
                    fontsize=8.5,
                )
            if len(o.curve.points) == 1:
                panel.set_xlim(0, 2 * max(o.curve.points[0].labels, 1))
            panel.set_title(shown(run.title(o.study.arm)))
            panel.set_xlabel("Labels in training")
            panel.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 2.5, 5, 10]))
        axes[0].set_ylabel("Macro AUROC (validation arm)")

    return draw(
        "outlook",
        (9.2, 3.9),
        (1, len(drawn)),
        paint,
        alt="Macro AUROC on the validation arm against labels in training. " + " ".join(_said(run, o) for o in drawn),
        caption=_caption(drawn),
    )


def _points(panel: Axes, o: Outlook, pen: Pen) -> None:
    for p in o.curve.points:
        if math.isfinite(p.auroc.low):
            panel.plot([p.labels] * 2, [p.auroc.low, p.auroc.high], color=pen.colour, linewidth=1.2, zorder=3)
    x, y = [p.labels for p in o.curve.points], [p.auroc.value for p in o.curve.points]
    line = "" if o.ahead is not None else pen.dash
    panel.plot(x, y, color=pen.colour, marker=pen.marker, linestyle=line, markersize=5, zorder=4)


def _forecast(panel: Axes, o: Outlook, pen: Pen) -> None:
    if o.ahead is None:
        return
    first, last = o.ahead.labels[0], o.ahead.labels[-1]
    grid = np.linspace(first, AHEAD * last, 60)
    ends = [o.ahead.at(float(n)) for n in grid]
    panel.fill_between(
        grid, [e.low for e in ends], [e.high for e in ends], color=pen.colour, alpha=0.14, linewidth=0, zorder=1
    )
    fitted = o.ahead.curve.at(grid)
    known = grid <= last
    panel.plot(grid[known], fitted[known], color=pen.colour, linewidth=1.6, zorder=2)
    panel.plot(grid[~known], fitted[~known], color=pen.colour, linewidth=1.6, linestyle=":", zorder=2)


def _said(run: RunHistory, o: Outlook) -> str:
    last = o.curve.points[-1]
    text = f"{run.title(o.study.arm)} stands at {number(last.auroc.value)} after {amount(last.labels)} labels"
    if o.ahead is None:
        return f"{text}; too few rounds for a forecast."
    return f"{text} and is expected at {number(o.ahead.at(AHEAD * last.labels).value)} with twice as many."


def _caption(drawn: Sequence[Outlook]) -> str:
    curve = drawn[0].curve
    parts = ["Macro AUROC on the paid random validation arm"]
    if curve.names:
        parts[0] += f" ({amount(curve.points[-1].images)} images of {amount(curve.patients)} patients"
        parts[0] += f" in the last round; mean over {', '.join(curve.names)})"
    parts[0] += "."
    parts.append("Bars: 95 % bootstrap interval over patients, which the rounds share.")
    if any(o.ahead is not None for o in drawn):
        parts.append("Line and band: fitted power law with its 95 % interval, dotted beyond the labels at hand.")
    if any(o.ahead is None for o in drawn):
        parts.append("A forecast needs four rounds.")
    return " ".join(parts)
