"""The default engine: jobs one by one in this process, or in several processes of this machine.

Each process has one job at a time and a pool of its own, so that one that is killed, such as for want of memory, costs
the others nothing.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import Any

from medal.engine.job import Job, Notify, Outcome, quiet, spaced, to_job, values_of
from medal.engine.settled import settle_process
from medal.errors import StudyError

log = logging.getLogger(__name__)

TRIES = 2
"""How often a job is begun whose process is killed."""


class Local:
    """Runs jobs on this machine.

    Args:
        processes: jobs at a time; one runs in this very process.
        threads: of each job.
    """

    def __init__(self, processes: int = 1, threads: int = 1) -> None:
        self.processes = processes
        self.threads = threads

    def at_a_time(self, jobs: int) -> int:
        return max(1, min(self.processes, jobs))

    def run(self, jobs: Sequence[Job], notify: Notify = quiet) -> list[Any]:
        return values_of(jobs, self.outcomes(jobs, notify))

    def outcomes(self, jobs: Sequence[Job], notify: Notify = quiet) -> list[Outcome]:
        if self.at_a_time(len(jobs)) == 1:
            return [self._here(job, notify) for job in jobs]
        workers = [_Worker(self.threads, notify) for _ in range(self.at_a_time(len(jobs)))]
        try:
            ended = _in_processes(jobs, workers)
        except BaseException:
            for worker in workers:
                worker.stop()  # closing waits for the worker, which may have hours to go
            raise
        finally:
            for worker in workers:
                worker.close()
        return [ended[n] for n in range(len(jobs))]

    def _here(self, job: Job, notify: Notify) -> Outcome:
        settle_process(self.threads)
        try:
            return None, job.run(to_job(notify, job.name))
        except Exception as error:
            return error, None


def _in_processes(jobs: Sequence[Job], workers: Sequence[_Worker]) -> dict[int, Outcome]:
    """Position of each job -> its outcome."""
    waiting, idle = deque(range(len(jobs))), list(workers)
    begun = [0] * len(jobs)
    underway: dict[Future[Any], tuple[int, _Worker]] = {}
    ended: dict[int, Outcome] = {}
    while waiting or underway:
        while waiting and idle:
            position, worker = waiting.popleft(), idle.pop()
            begun[position] += 1
            underway[worker.submit(jobs[position])] = position, worker
        done, _ = wait(underway, return_when=FIRST_COMPLETED)
        for future in done:
            position, worker = underway.pop(future)
            idle.append(worker)
            error = future.exception()
            if isinstance(error, BrokenProcessPool):
                worker.close()
                worker.renew()
                if begun[position] < TRIES:
                    waiting.append(position)  # last, when fewer others want memory
                    continue
                error = StudyError(
                    "its process was ended twice from outside, as when memory runs out; take fewer "
                    "`resources.processes`, then `medal resume` goes on"
                )
            ended[position] = error, None if error is not None else future.result()
    return ended


class _Worker:
    """One process, begun with its first job, and its progress on the way back.

    Args:
        threads: of each job.
        notify: told about the jobs' progress, from a thread.
    """

    def __init__(self, threads: int, notify: Notify) -> None:
        self._threads = threads
        self._notify = notify
        self.renew()

    def renew(self) -> None:
        """Takes the place of a process that has died; nothing that it may have held when it did is used again."""
        context = multiprocessing.get_context("spawn")
        self._ours, self._theirs = context.Pipe()
        self._pool = ProcessPoolExecutor(1, context, _begin_worker, (self._threads, self._theirs))
        self._listener: threading.Thread | None = None

    def submit(self, job: Job) -> Future[Any]:
        """Begins a job; there must be no other one under way."""
        future = self._pool.submit(_work, job)
        if self._listener is None:
            self._theirs.close()  # the process has its own by now, and the line ends when it does
            self._listener = threading.Thread(target=_listen, args=(self._ours, self._notify), daemon=True)
            self._listener.start()
        return future

    def stop(self) -> None:
        """Has the process end at once, whatever it is doing."""
        with contextlib.suppress(OSError):
            self._ours.send(None)

    def close(self) -> None:
        """Waits until the process has ended."""
        self._pool.shutdown()
        if self._listener is not None:
            self._listener.join(timeout=5)


def _listen(line: Connection, notify: Notify) -> None:
    while True:
        try:
            message = line.recv()
        except (EOFError, OSError):
            return
        try:
            notify(*message)
        except Exception:
            log.exception("progress is no longer shown")
            notify = quiet  # the line has to be read on, or the worker would wait for room in it


_line: Connection


def _begin_worker(threads: int, line: Connection) -> None:
    global _line
    _line = line
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers for all
    threading.Thread(target=_end_with_parent, args=(os.getppid(), line), daemon=True).start()
    settle_process(threads)


def _end_with_parent(parent: int, line: Connection) -> None:
    """Ends this worker when the jobs are stopped or the parent is killed, so that it holds nothing that others need."""
    with contextlib.suppress(OSError):
        while not line.poll(0.5) and os.getppid() == parent:
            continue
    os._exit(1)


def _work(job: Job) -> Any:
    return job.run(spaced(lambda what, done, total: _tell((job.name, what, done, total))))


def _tell(message: tuple[str, str, int, int]) -> None:
    with contextlib.suppress(OSError):
        _line.send(message)
