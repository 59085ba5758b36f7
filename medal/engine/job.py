"""Jobs and engines: what is to be done, and the protocol of whoever does it.

A job is a function that can be found again in another process, with plain arguments. Jobs share nothing but files, so
that a result depends neither on the engine nor on how many jobs run at a time. A job that is killed is begun again or
reported; what it must not lose it keeps on the disk, as a study keeps its journal.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol, runtime_checkable

from medal.errors import MedalError, StudyError
from medal.source import Progress

Notify = Callable[[str, str, int, int], None]
"""Called as notify(job's name, what, done, total); the name is "" for work that all jobs share."""
Outcome = tuple[BaseException | None, Any]
"""Error and value of a job; the error is None when it ended well, else the value is None."""
PAUSE = 0.2
"""Seconds between two messages of one job; a message costs more than a training step of a small net."""

log = logging.getLogger(__name__)


def quiet(name: str, what: str, done: int, total: int) -> None:
    """Shows nothing."""


@dataclass(frozen=True)
class Job:
    """One call that an engine makes, perhaps in another process or on another machine.

    Args:
        name: how messages and errors call it, such as the folder of a study.
        call: a function of a module (no lambda, no method, nothing defined inside a function). It is called with
            `arguments` and the further keyword `progress` (`medal.source.Progress`), and returns plain data.
        arguments: keyword arguments, picklable and small: numbers, texts, paths, frozen dataclasses.

    Example:
        >>> from medal.engine.local import Local
        >>> Local(processes=1).run([Job("sum", add_all, {"numbers": [1, 2]}), Job("more", add_all, {"numbers": [4]})])
        [3, 4]
    """

    name: str
    call: Callable[..., Any]
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def run(self, progress: Progress) -> Any:
        """Makes the call here."""
        return self.call(**self.arguments, progress=progress)


def add_all(numbers: Sequence[int], progress: Progress) -> int:
    """A job for examples: the sum of numbers."""
    progress("adding", len(numbers), len(numbers))
    return sum(numbers)


@runtime_checkable
class Engine(Protocol):
    """Runs jobs. Every engine keeps the same promises.

    * Results come in the order of the jobs and are those of a call in this process, bit for bit: threads and kernels
      are settled (`medal.engine.settled`) wherever a job runs.
    * A job whose worker is killed is begun again; one that costs its worker again and again fails like any other.
    * An error of one job does not stop the others. When all have ended, the error of the first job in order is raised:
      a `MedalError` as its own type with the job's name before the text, anything else as a `StudyError`.
    * `KeyboardInterrupt` stops all jobs at once and is raised again.
    * No job outlives the process that called `run`, however that ends.
    """

    def at_a_time(self, jobs: int) -> int:
        """How many of this many jobs run at a time, at least 1."""
        ...

    def outcomes(self, jobs: Sequence[Job], notify: Notify = quiet) -> list[Outcome]:
        """Runs every job to its end, and raises none of their errors.

        Args:
            jobs: with distinct names.
            notify: as in `run`.

        Returns:
            Error and value of each, in the order of `jobs`.
        """
        ...

    def run(self, jobs: Sequence[Job], notify: Notify = quiet) -> list[Any]:
        """Runs every job to its end.

        Args:
            jobs: with distinct names.
            notify: told about the jobs' progress; called in this process, perhaps from another thread.

        Returns:
            What the jobs returned, in the order of `jobs`.

        Raises:
            MedalError: the first failed job's error.
        """
        ...


def to_job(notify: Notify, name: str) -> Progress:
    """A job's progress as messages to `notify`."""
    return lambda what, done, total: notify(name, what, done, total)


def spaced(tell: Progress) -> Progress:
    """A progress that passes on finished rounds, and of all else one message in a while."""
    last = [float("-inf")]

    def sometimes(what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if what.startswith("round") or now - last[0] > PAUSE:
            last[0] = now
            tell(what, done, total)

    return sometimes


def values_of(jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> list[Any]:
    """What the jobs returned; raises as `raise_first` when one has failed."""
    raise_first(jobs, {n: error for n, (error, _) in enumerate(outcomes) if error is not None})
    return [value for _, value in outcomes]


def raise_first(jobs: Sequence[Job], errors: Mapping[int, BaseException]) -> None:
    """Raises the error of the first job that has one, with the job's name; does nothing without errors.

    Args:
        jobs: all of them.
        errors: position of a job -> what it raised.

    Raises:
        MedalError: of the job's own type when it raised one, else a `StudyError`.
    """
    if errors:
        first = min(errors)
        _raise_named(jobs[first].name, errors[first])


def _raise_named(name: str, error: BaseException) -> NoReturn:
    if isinstance(error, MedalError):
        raise type(error)(f"{name}: {error}") from error
    # a defect, not something that a user got wrong: whoever mends it needs the lines
    log.error("%s stopped", name, exc_info=error)
    raise StudyError(f"{name} stopped ({type(error).__name__}: {error}); `medal resume` goes on") from error
