"""Reads many radiographs: one after the other, or in worker processes when the wait would be longer than their start.

The results do not depend on the number of workers or on the order in which they finish. A file that kills its worker (a
decoder in native code may crash) costs that file alone.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medal.errors import BadInput
from modalities.chest_xray.frame import Frame

log = logging.getLogger(__name__)
ALONE = 64
"""Files up to which starting workers never pays."""
PATIENCE = 8.0
"""Seconds of reading alone above which workers are started, when their number is not given."""
CRASHED = "the decoder crashed on this file; check it with another viewer, or export it uncompressed"


@dataclass(frozen=True)
class Job:
    """One file and how to read it."""

    path: Path
    size: int
    body_parts: tuple[str, ...] | None


@dataclass(frozen=True)
class Reading:
    """What one file gave; `reason` is empty when it could be read. Identities are still in the clear here."""

    pixels: NDArray[np.float16] | None = None
    uid: str = ""
    patient: str = ""
    exam: str = ""
    born: str = ""
    called: str = ""
    sex: str = ""
    age: str = ""
    view: str = ""
    burned_in: bool = False
    frame: Frame | None = None
    reason: str = ""
    detail: str = ""


def read_one(job: Job) -> Reading:
    """Reads one file; what is wrong with it becomes a reason."""
    from modalities.chest_xray.reader import read_xray

    try:
        xray = read_xray(job.path, job.size, body_parts=job.body_parts)
    except BadInput as error:
        return Reading(reason=error.reason, detail=error.detail)
    return Reading(
        pixels=xray.pixels.astype(np.float16),
        uid=xray.uid,
        patient=xray.patient,
        exam=xray.exam,
        born=xray.born,
        called=xray.called,
        sex=xray.sex,
        age=xray.age,
        view=xray.view,
        burned_in=bool(xray.burned_in),
        frame=xray.frame,
    )


def _read_block(jobs: Sequence[Job]) -> list[Reading]:
    return [read_one(job) for job in jobs]


def processors() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_all(jobs: Sequence[Job], workers: int | None = None) -> Iterator[tuple[int, Reading]]:
    """Reads every file.

    Args:
        jobs: (n) files.
        workers: processes; None decides by the time that the first files take, 1 stays in this process.

    Yields:
        (position in jobs, reading), each position once.
    """
    first, most = 0, processors() if workers is None else workers
    if workers is None:
        start = time.monotonic()
        while first < len(jobs) and (first < ALONE // 2 or most == 1 or _left(start, first, len(jobs)) < PATIENCE):
            yield first, read_one(jobs[first])
            first += 1
    if first < len(jobs):
        todo = range(first, len(jobs))
        yield from _together(jobs, todo, most) if most > 1 and len(jobs) > ALONE else _alone(jobs, todo)


def _left(start: float, done: int, total: int) -> float:
    return (time.monotonic() - start) / max(done, 1) * (total - done)


def _alone(jobs: Sequence[Job], todo: Sequence[int]) -> Iterator[tuple[int, Reading]]:
    for i in todo:
        yield i, read_one(jobs[i])


def _pool(workers: int) -> ProcessPoolExecutor | None:
    """Workers that answer, or None where this program cannot start any (a script without a main guard)."""
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        pool.submit(_read_block, []).result()
    except (BrokenProcessPool, RuntimeError, OSError):
        pool.shutdown(wait=False, cancel_futures=True)
        return None
    return pool


def _together(jobs: Sequence[Job], todo: Sequence[int], workers: int) -> Iterator[tuple[int, Reading]]:
    size = max(1, min(16, len(todo) // (4 * workers)))
    blocks = deque(list(todo[i : i + size]) for i in range(0, len(todo), size))
    while blocks:
        pool = _pool(workers)
        if pool is None:
            log.warning(
                "no worker process can start, perhaps because the script has no `if __name__ == '__main__':`; "
                "reading in one process"
            )
            yield from _alone(jobs, [i for block in blocks for i in block])
            return
        lost = yield from _until_broken(pool, jobs, blocks, 4 * workers)
        yield from _carefully(jobs, lost)


def _until_broken(
    pool: ProcessPoolExecutor, jobs: Sequence[Job], blocks: deque[list[int]], ahead: int
) -> Generator[tuple[int, Reading], None, list[int]]:
    """Reads blocks until none is left or a worker dies; returns what was under way then."""
    running: deque[tuple[list[int], Future[list[Reading]]]] = deque()
    try:
        while blocks or running:
            while blocks and len(running) < ahead:
                running.append((blocks[0], pool.submit(_read_block, [jobs[i] for i in blocks[0]])))
                blocks.popleft()
            block, future = running[0]
            readings = future.result()
            running.popleft()
            yield from zip(block, readings, strict=True)
    except BrokenProcessPool:
        return [i for block, _ in running for i in block]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return []


def _carefully(jobs: Sequence[Job], lost: Sequence[int]) -> Iterator[tuple[int, Reading]]:
    """Reads what was under way when a worker died, one file at a time, each death blamed on its file."""
    pool = None
    for i in lost:
        pool = pool or _pool(1)
        try:
            yield i, pool.submit(_read_block, [jobs[i]]).result()[0] if pool else read_one(jobs[i])
        except BrokenProcessPool:
            yield i, Reading(reason=CRASHED, detail="the worker process ended")
            pool = None
    if pool is not None:
        pool.shutdown(wait=True)
