"""A run: the recipe's arm and its baselines, each with several seeds, in one folder that can be resumed.

`run.json` is the index; each study below `studies/` keeps its own journal; `cache/` holds the decoded images.
Studies are independent, so how many run at a time changes nothing in them.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medal.errors import ConfigError, MedalError, StudyError
from medal.recipe import Recipe, task_module, validate, with_strategy
from medal.source import Progress, silent
from medal.storage import read_json, write_json, writing

FORMAT = 1
INDEX = "run.json"
Notify = Callable[[str, str, int, int], None]
"""Called as notify(study, what, done, total); study is "" for work that all studies share."""


def quiet(study: str, what: str, done: int, total: int) -> None:
    """Shows nothing."""


@dataclass(frozen=True)
class Entry:
    """One study of a run."""

    folder: str
    arm: str
    seed: int


@dataclass(frozen=True)
class Run:
    """A run folder: its recipe for each arm, and its studies.

    Args:
        folder: of the run.
        name: of the recipe.
        arms: arm -> recipe, the main arm first.
        studies: in the order in which they are played.
    """

    folder: Path
    name: str
    arms: Mapping[str, Recipe]
    studies: tuple[Entry, ...]

    @property
    def main(self) -> Recipe:
        """The recipe of the main arm."""
        return next(iter(self.arms.values()))

    @property
    def cache(self) -> Path:
        """Folder of decoded images."""
        return self.folder / "cache"

    def path(self, entry: Entry) -> Path:
        """Folder of one study."""
        return self.folder / entry.folder

    def write(self) -> None:
        """Writes the index."""
        write_json(
            self.folder / INDEX,
            {
                "format": FORMAT,
                "recipe": self.name,
                "arms": {arm: _placed(recipe) for arm, recipe in self.arms.items()},
                "studies": [{"folder": e.folder, "arm": e.arm, "seed": e.seed} for e in self.studies],
            },
        )


def _placed(recipe: Recipe) -> dict[str, Any]:
    """A recipe as plain data, with the absolute place of its data: a run may be resumed from another folder."""
    content = recipe.model_dump(mode="json")
    if isinstance(root := content["data"].get("root"), str):
        content["data"]["root"] = str(Path(root).absolute())
    return content


def plan(name: str, recipe: Recipe, folder: Path) -> Run:
    """What a run of this recipe comes to; nothing is written.

    Args:
        name: of the recipe.
        recipe: resolved.
        folder: where the run will lie.
    """
    arms = {recipe.arm: recipe} | {b: with_strategy(recipe, b) for b in recipe.baselines if b != recipe.arm}
    seeds = range(recipe.seed, recipe.seed + recipe.seeds)
    studies = tuple(Entry(f"studies/{arm}-seed{seed}", arm, seed) for seed in seeds for arm in arms)
    return Run(folder, name, arms, studies)


def load_run(folder: Path) -> Run:
    """Reads the index of a run folder.

    Raises:
        StudyError: if it is none, is damaged, or was written in another format.
    """
    if not (folder / INDEX).is_file():
        raise StudyError(f"{folder} is no run: found no {INDEX}; give the folder that `medal run` made")
    index = read_json(folder / INDEX)
    written = index.get("format") if isinstance(index, dict) else None
    if written != FORMAT:
        raise StudyError(f"{folder} was written in run format {written}, this medal reads {FORMAT}; begin a new run")
    try:
        arms = {arm: validate(values) for arm, values in index["arms"].items()}
        return Run(folder, str(index["recipe"]), arms, tuple(Entry(**entry) for entry in index["studies"]))
    except (KeyError, TypeError, AttributeError, ConfigError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise StudyError(f"{folder / INDEX} is damaged ({what}); restore it from a backup or begin a new run") from None


def settle(recipe: Recipe) -> None:
    """Fixes what numbers depend on in this process: threads and deterministic kernels."""
    import torch

    torch.set_num_threads(recipe.resources.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)


def play(recipe: Recipe, seed: int, folder: Path, cache: Path, progress: Progress = silent) -> str:
    """Plays one study to its end.

    Returns:
        Why it ended.
    """
    settle(recipe)
    loop = task_module(recipe.task).make(recipe, seed, folder, cache, progress)
    try:
        while not loop.finished:
            loop.step()
            progress(f"round {loop.pool.round}", loop.steps_done, loop.steps_total)
        return loop.run()
    finally:
        loop.study.close()


def processes_of(recipe: Recipe, studies: int) -> int:
    """How many studies to play at a time: cores over threads, unless the recipe says otherwise."""
    wanted = recipe.resources.processes
    if wanted == "auto":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        wanted = max(1, cores // recipe.resources.threads)
    return max(1, min(int(wanted), studies))


def execute(run: Run, notify: Notify = quiet) -> None:
    """Plays every study that is not finished.

    Args:
        run: its index is written first, so that it can be resumed from any moment.
        notify: told about every study's steps.

    Raises:
        MedalError: the first study's error, after the others have ended.
    """
    from medal.study import Study

    with writing(run.folder):
        run.folder.mkdir(parents=True, exist_ok=True)
    fresh = not (run.folder / INDEX).exists()
    run.write()
    try:
        _play_all(run, notify)
    except MedalError:
        # a run that could not begin a study cannot be resumed either, and must not hold the folder's name
        if fresh and not any(Study.exists(run.path(entry)) for entry in run.studies):
            (run.folder / INDEX).unlink(missing_ok=True)
        raise


def _play_all(run: Run, notify: Notify) -> None:
    from medal import assemble

    settle(run.main)
    # read every file once before the studies start, so that they find the cache filled
    assemble.open_data(run.main, run.cache, lambda what, done, total: notify("", what, done, total))
    at_a_time = processes_of(run.main, len(run.studies))
    if at_a_time == 1:
        for entry in run.studies:
            play(run.arms[entry.arm], entry.seed, run.path(entry), run.cache, _to(notify, entry.folder))
        return
    _play_in_processes(run, at_a_time, notify)


def _to(notify: Notify, study: str) -> Progress:
    return lambda what, done, total: notify(study, what, done, total)


def _play_in_processes(run: Run, at_a_time: int, notify: Notify) -> None:
    context = multiprocessing.get_context("spawn")
    messages, stop = context.Queue(), context.Event()
    listener = threading.Thread(target=_listen, args=(messages, notify), daemon=True)
    listener.start()
    try:
        with ProcessPoolExecutor(at_a_time, context, _begin_worker, (messages, stop)) as workers:
            jobs = {
                workers.submit(_work, run.arms[e.arm].model_dump(mode="json"), e, run.path(e), run.cache): e
                for e in run.studies
            }
            try:
                _raise_first(jobs)
            except KeyboardInterrupt:
                stop.set()  # leaving the block waits for the workers, which may have hours to go
                raise
    finally:
        messages.put(None)
        listener.join(timeout=5)


def _raise_first(jobs: Mapping[Future[str], Entry]) -> None:
    waiting: set[Future[str]] = set(jobs)
    failed: list[tuple[Entry, BaseException]] = []
    while waiting:
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        failed += [(jobs[job], error) for job in done if (error := job.exception()) is not None]
    if failed:
        entry, error = failed[0]
        if isinstance(error, MedalError):
            raise type(error)(f"{entry.folder}: {error}") from error
        raise StudyError(f"{entry.folder} stopped ({type(error).__name__}: {error}); `medal resume` goes on") from error


def _listen(messages: Any, notify: Notify) -> None:
    while (message := messages.get()) is not None:
        notify(*message)


_messages: Any = None


def _begin_worker(messages: Any, stop: Any) -> None:
    global _messages
    _messages = messages
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers for all
    threading.Thread(target=_end_with_parent, args=(os.getppid(), stop), daemon=True).start()


def _end_with_parent(parent: int, stop: Any) -> None:
    """Ends this worker when the run is stopped or killed, so that nobody holds a study that is to be resumed."""
    while not stop.wait(0.5) and os.getppid() == parent:
        continue
    os._exit(1)


def _work(recipe: Mapping[str, Any], entry: Entry, folder: Path, cache: Path) -> str:
    last = [0.0]

    def tell(what: str, done: int, total: int) -> None:
        # a queue message costs more than a training step of a small net
        if what.startswith("round") or time.monotonic() - last[0] > 0.2:
            last[0] = time.monotonic()
            _messages.put((entry.folder, what, done, total))

    return play(Recipe.model_validate(recipe), entry.seed, folder, cache, tell)


def study_folders(folder: Path) -> Sequence[Path]:
    """The study folders of a run that were begun, or the study folder itself."""
    from medal.study import Study

    if Study.exists(folder):
        return [folder]
    run = load_run(folder)
    return [run.path(e) for e in run.studies if Study.exists(run.path(e))]
