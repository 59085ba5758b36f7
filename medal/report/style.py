"""How figures look and how they are written: for colour-blind readers too, and the same bytes every time.

Only matplotlib's object interface is used; its global settings are put back after every figure.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from medal.report.history import RANDOM, RunHistory

INK, SOFT, GRID = "#1a2530", "#5b6670", "#e3e7ea"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#AA4499", "#56B4E9", "#E69F00", "#332288")
"""Okabe and Ito's palette, the stronger tones first, with two of Tol's for contrast on white."""
MARKERS = ("o", "s", "^", "v", "P", "X", "p")
SETTINGS: dict[Any, Any] = {
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "svg.hashsalt": "medal",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Pen:
    """How one arm is drawn, the same in every figure."""

    colour: str
    marker: str
    dash: Literal["-", "--", ":"]


@dataclass(frozen=True)
class Drawing:
    """One finished figure.

    Args:
        name: of its files, without ending.
        svg: bytes.
        png: bytes.
        alt: what it shows, for readers who cannot see it.
        caption: set below it.
    """

    name: str
    svg: bytes
    png: bytes
    alt: str
    caption: str

    def write(self, folder: Path) -> None:
        """Writes `<name>.svg` and `<name>.png`."""
        (folder / f"{self.name}.svg").write_bytes(self.svg)
        (folder / f"{self.name}.png").write_bytes(self.png)


def pens(run: RunHistory) -> dict[str, Pen]:
    """Pen of each arm: random grey and dashed, bounds dotted, the others in the order of the index."""
    found: dict[str, Pen] = {}
    for arm in run.arms:
        position = len([name for name in found if name != RANDOM])
        if arm == RANDOM:
            found[arm] = Pen("#6b6b6b", "D", "--")
        else:
            dash = ":" if run.bound(arm) else "-"
            found[arm] = Pen(COLOURS[position % len(COLOURS)], MARKERS[position % len(MARKERS)], dash)
    return found


def shown(label: str) -> str:
    """A name as matplotlib will draw it: a leading underscore would drop it from the legend."""
    return f" {label}" if label.startswith("_") else label


@contextmanager
def settings() -> Iterator[None]:
    """The report's settings, whatever the user's own matplotlib settings are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(SETTINGS)
        yield


def draw(
    name: str,
    size: tuple[float, float],
    shape: tuple[int, int],
    paint: Callable[[Figure, Sequence[Axes]], None],
    alt: str,
    caption: str,
) -> Drawing:
    """Draws a figure and returns its files.

    Args:
        name: of the files.
        size: inches.
        shape: rows and columns of axes; they share the y axis.
        paint: draws onto the figure and its axes.
        alt: text for readers who cannot see it.
        caption: text below it.
    """
    with settings(), warnings.catch_warnings():
        # A label in a script that the font lacks is drawn as boxes; that is no reason to fail or to fill the log.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        paint(figure, list(figure.subplots(*shape, sharey=True, squeeze=False).flat))
        return Drawing(name, _bytes(figure, "svg"), _bytes(figure, "png"), alt, caption)


def _bytes(figure: Figure, kind: str) -> bytes:
    # Dates and versions would make the same history give different bytes.
    metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, metadata=metadata, facecolor="white")
    return buffer.getvalue()
