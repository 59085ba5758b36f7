"""What a running benchmark shows: cells that are done, cells at work, and the time that remains."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

EVERY = 60.0
"""Seconds between two lines where there is no terminal."""


class Board:
    """A context that offers `notify(cell, what, done, total)`.

    Args:
        console: where to show it.
        steps: cell -> its steps, for all cells that are still to be played.
    """

    def __init__(self, console: Console, steps: Mapping[str, int]) -> None:
        self._console = console
        self._steps = dict(steps)
        self._done: dict[str, int] = {}
        self._began = self._told = time.monotonic()
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[rest]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._all: TaskID | None = None
        self._shared: TaskID | None = None

    def __enter__(self) -> Board:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    @property
    def left(self) -> float | None:
        """Seconds that remain at the pace so far; None before the first step."""
        done, total = sum(self._done.values()), sum(self._steps.values())
        return (time.monotonic() - self._began) * (total - done) / done if done else None

    def progress(self, what: str, done: int, total: int) -> None:
        """For work that no cell owns."""
        self.notify("", what, done, total)

    def notify(self, cell: str, what: str, done: int, total: int) -> None:
        """Takes one message."""
        if not cell:
            self._shared = self._move(self._shared, what, done, total, f"{done}/{total}")
            return
        if not what.startswith("round "):
            if self._all is not None:
                self._bars.update(self._all, description=f"{cell}: {what} {done}/{total}")
            return
        self._done[cell] = min(done, self._steps.get(cell, total))
        self._steps.setdefault(cell, total)
        finished = sum(self._done.get(name, 0) >= steps for name, steps in self._steps.items())
        rest = f"{finished} of {len(self._steps)} cells, {_span(self.left)} left"
        self._all = self._move(self._all, cell, sum(self._done.values()), sum(self._steps.values()), rest)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._told > EVERY:
            self._told = now
            self._console.print(f"{cell}: {what}; {rest}", highlight=False, soft_wrap=True)

    def _move(self, task: TaskID | None, text: str, done: int, total: int, rest: str) -> TaskID:
        if task is None:
            task = self._bars.add_task(text, total=total, rest=rest)
        self._bars.update(task, description=text, completed=done, total=total, rest=rest)
        return task


def _span(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
