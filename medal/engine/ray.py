"""The engine for more than one machine: jobs as tasks of Ray (extra `ray`).

A task whose worker is killed is begun again, on another machine if need be; a study goes on from its journal then, so
that the result is the same bit for bit. All machines must see the same files under the same paths: the run folder, the
data, and the private folder (`MEDAL_PRIVATE`). What a study folder's lock needs, the shared file system must offer.
"""

from __future__ import annotations

import contextlib
import pickle
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from medal.engine.choice import cores
from medal.engine.cluster import connected, load_ray
from medal.engine.job import Job, Notify, Outcome, quiet, spaced, values_of
from medal.engine.settled import settle_process
from medal.engine.surroundings import Surroundings
from medal.errors import StudyError

LOOK = 0.25
"""Seconds between two looks at the mailbox."""


class Ray:
    """Runs jobs on a Ray cluster.

    Args:
        threads: of each job, which takes as many cores of the cluster.
        at_most: jobs at a time; None for as many as the cluster has room for.
        address: of a running cluster; None starts one on this machine and ends it after each `run`.
        retries: how often a job is begun again when its worker was killed.

    Raises:
        MissingDependency: when ray is not installed.
    """

    def __init__(
        self, threads: int = 1, at_most: int | None = None, address: str | None = None, retries: int = 3
    ) -> None:
        load_ray()
        self.threads = threads
        self.at_most = at_most
        self.address = address
        self.retries = retries

    @property
    def cpus(self) -> int:
        """Cores of a cluster that is started here."""
        return self.threads * (self.at_most or max(1, cores() // self.threads))

    def at_a_time(self, jobs: int) -> int:
        room = jobs if self.address is not None else self.cpus // self.threads
        return max(1, min(self.at_most or room, jobs))

    def run(self, jobs: Sequence[Job], notify: Notify = quiet) -> list[Any]:
        return values_of(jobs, self.outcomes(jobs, notify))

    def outcomes(self, jobs: Sequence[Job], notify: Notify = quiet) -> list[Outcome]:
        with connected(self.cpus, self.address) as ray:
            mailbox = Mailbox(ray, notify)
            task = ray.remote(carrier()).options(num_cpus=self.threads, max_retries=self.retries)
            around = Surroundings.here()

            def submit(job: Job) -> Any:
                return task.remote(around.modules, pickle.dumps((around, _work, (job, self.threads, mailbox.slot))))

            ended = dict(as_ready(ray, jobs, submit, self.at_most, mailbox.read))
            mailbox.read()
        return [ended[n] for n in range(len(jobs))]


def carrier() -> Callable[..., Any]:
    """The function that Ray sends to workers: it makes medal importable there, then calls what it carries.

    It is made anew here, so that Ray sends its text and not its name: nothing of medal need be importable before it.
    """

    def carry(modules: Sequence[str], work: bytes, *further: Any) -> Any:
        import pickle
        import sys

        sys.path[:0] = [place for place in modules if place not in sys.path]
        around, call, arguments = pickle.loads(work)
        return call(around, *arguments, *further)

    return carry


T = TypeVar("T")


def as_ready(
    ray: Any,
    items: Sequence[T],
    submit: Callable[[T], Any],
    at_most: int | None = None,
    between: Callable[[], None] = lambda: None,
) -> Iterator[tuple[int, Outcome]]:
    """Submits a task for each item, and tells the outcomes in the order in which the tasks end.

    Args:
        ray: the connected package.
        items: what the tasks are for.
        submit: submits one task of `carrier` and returns its reference.
        at_most: tasks under way at a time; None for all at once.
        between: called while waiting.

    Yields:
        (position of the item, outcome of its task). When the caller stops early, the tasks under way are killed.
    """
    waiting = list(range(len(items)))[::-1]
    underway: dict[Any, int] = {}
    try:
        while waiting or underway:
            while waiting and (at_most is None or len(underway) < at_most):
                position = waiting.pop()
                underway[submit(items[position])] = position
            done, _ = ray.wait(list(underway), num_returns=1, timeout=LOOK)
            between()
            for reference in done:
                yield underway.pop(reference), _outcome(ray, reference)
    finally:
        for reference in underway:
            with contextlib.suppress(Exception):
                ray.cancel(reference, force=True)


def _outcome(ray: Any, reference: Any) -> Outcome:
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        # the worker was lost more often than it may be, or never began; Ray's texts run over many lines
        text = str(error).strip().splitlines()
        reason = text[0] if text else "no reason given"
        return StudyError(f"its worker was lost ({type(error).__name__}: {reason}); `medal resume` goes on"), None


def _work(around: Surroundings, job: Job, threads: int, slot: Any) -> Outcome:
    """Runs a job in the worker."""
    tell = spaced(lambda what, done, total: _post(slot, (job.name, what, done, total)))
    return guarded(around, threads, lambda: job.run(tell))


def guarded(around: Surroundings, threads: int, work: Callable[[], Any]) -> Outcome:
    """Works in a worker; an error is a result like any other, so that Ray neither retries nor changes it.

    Args:
        around: surroundings of the process that asks.
        threads: of this process.
        work: what is to be done.
    """
    try:
        around.enter()
        settle_process(threads)
        return None, work()
    except Exception as error:
        error.add_note("".join(traceback.format_exception(error)))
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            return StudyError(f"{type(error).__name__}: {error}"), None
        return error, None


def _post(slot: Any, message: tuple[str, str, int, int]) -> None:
    if slot is not None:
        with contextlib.suppress(Exception):  # nobody needs the message for the result
            slot.put.remote(message)


class Mailbox:
    """Progress of jobs on its way back; when it is lost, nothing but the display is.

    Args:
        ray: the connected package.
        notify: who is told; without anybody to tell, there is no mailbox.
    """

    def __init__(self, ray: Any, notify: Notify) -> None:
        self._ray = ray
        self._notify = notify
        self.slot = None if notify is quiet else ray.remote(_slot()).options(num_cpus=0).remote()

    def read(self) -> None:
        """Passes on what has come since."""
        if self.slot is None:
            return
        try:
            messages = self._ray.get(self.slot.take.remote(), timeout=10)
        except self._ray.exceptions.RayError:
            self.slot = None
            return
        for message in messages:
            self._notify(*message)


def _slot() -> type:
    """The class of the mailbox's actor, made anew for the same reason as in `carrier`."""

    class Slot:
        def __init__(self) -> None:
            self.messages: list[tuple[str, str, int, int]] = []

        def put(self, message: tuple[str, str, int, int]) -> None:
            self.messages.append(message)

        def take(self) -> list[tuple[str, str, int, int]]:
            taken, self.messages = self.messages, []
            return taken

    return Slot
