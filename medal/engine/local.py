"""The default engine: jobs one by one in this process, or in several processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from typing import Any

from medal.engine.job import Job, Notify, quiet, raise_first, spaced, to_job
from medal.engine.settled import settle_process


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
        if self.at_a_time(len(jobs)) == 1:
            return self._here(jobs, notify)
        return self._in_processes(jobs, notify)

    def _here(self, jobs: Sequence[Job], notify: Notify) -> list[Any]:
        results: list[Any] = []
        errors: dict[int, BaseException] = {}
        for position, job in enumerate(jobs):
            settle_process(self.threads)
            try:
                results.append(job.run(to_job(notify, job.name)))
            except Exception as error:
                errors[position] = error
        raise_first(jobs, errors)
        return results

    def _in_processes(self, jobs: Sequence[Job], notify: Notify) -> list[Any]:
        context = multiprocessing.get_context("spawn")
        messages, stop = context.Queue(), context.Event()
        listener = threading.Thread(target=_listen, args=(messages, notify), daemon=True)
        listener.start()
        try:
            start = (self.threads, messages, stop)
            with ProcessPoolExecutor(self.at_a_time(len(jobs)), context, _begin_worker, start) as workers:
                futures = [workers.submit(_work, job) for job in jobs]
                try:
                    wait(futures)
                except KeyboardInterrupt:
                    stop.set()  # leaving the block waits for the workers, which may have hours to go
                    raise
            raise_first(jobs, _errors(futures))
            return [future.result() for future in futures]
        finally:
            messages.put(None)
            listener.join(timeout=5)


def _errors(futures: Sequence[Future[Any]]) -> Mapping[int, BaseException]:
    return {n: error for n, future in enumerate(futures) if (error := future.exception()) is not None}


def _listen(messages: Any, notify: Notify) -> None:
    while (message := messages.get()) is not None:
        notify(*message)


_messages: Any = None


def _begin_worker(threads: int, messages: Any, stop: Any) -> None:
    global _messages
    _messages = messages
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers for all
    threading.Thread(target=_end_with_parent, args=(os.getppid(), stop), daemon=True).start()
    settle_process(threads)


def _end_with_parent(parent: int, stop: Any) -> None:
    """Ends this worker when the jobs are stopped or the parent is killed, so that it holds nothing that others need."""
    while not stop.wait(0.5) and os.getppid() == parent:
        continue
    os._exit(1)


def _work(job: Job) -> Any:
    return job.run(spaced(lambda what, done, total: _messages.put((job.name, what, done, total))))
