"""What a long run shows: one bar for each study at work, one for all of them, with the time that remains."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Screen:
    """A context that offers `notify(study, what, done, total)`.

    Args:
        console: where to show it; without a terminal, one line is written for each finished round.
        studies: how many studies there are, 0 for work that has none.
    """

    def __init__(self, console: Console, studies: int = 0) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._steps: dict[str, int] = {}
        self._studies = studies
        self._all: TaskID | None = None

    def __enter__(self) -> Screen:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def progress(self, what: str, done: int, total: int) -> None:
        """For work without studies."""
        self.notify("", what, done, total)

    def notify(self, study: str, what: str, done: int, total: int) -> None:
        """Takes one message."""
        name = study.removeprefix("studies/")
        if not study:
            self._move(what, what, done, total)
            return
        if not what.startswith("round "):
            if name in self._tasks:
                self._bars.update(self._tasks[name], description=f"{name}: {what} {done}/{total}")
            return
        self._move(name, f"{name}: {what}", done, total)
        self._steps[name] = done
        if self._all is None:
            self._all = self._bars.add_task("all studies", total=total * self._studies)
        self._bars.update(self._all, completed=sum(self._steps.values()), total=total * self._studies)
        if not self._console.is_terminal and done % 4 == 2:
            self._console.print(f"{name}: {what}, step {done} of {total}", highlight=False)

    def _move(self, key: str, text: str, done: int, total: int) -> None:
        if key not in self._tasks:
            self._tasks[key] = self._bars.add_task(text, total=total)
        self._bars.update(self._tasks[key], description=text, completed=done, total=total)
        if done >= total:
            self._bars.remove_task(self._tasks.pop(key))
