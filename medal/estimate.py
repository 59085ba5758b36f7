"""What a run will cost before it is begun: a short trial of the first round, scaled up."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from medal import assemble
from medal.learners.protocol import Learner
from medal.learners.training import Schedule
from medal.loop import ActiveLoop
from medal.recipe import task_module
from medal.run import Run, processes_of, settle
from medal.source import Progress, silent
from medal.strategy import score_units

TRIAL_STEPS = 8
TRIAL_ROWS = 64


@dataclass(frozen=True)
class Estimate:
    """What a run comes to.

    Args:
        rows: rows of each split.
        patients: in all.
        items: bought by each study, with start set and validation arm.
        minutes: expert minutes of each study.
        studies: how many.
        at_a_time: studies played together.
        seconds: wall time of all of them, by a trial on this machine.
    """

    rows: dict[str, int]
    patients: int
    items: float
    minutes: float
    studies: int
    at_a_time: int
    seconds: float


def estimate(run: Run, cache: Path, progress: Progress = silent) -> Estimate:
    """Opens the data, trains a few steps, reads a few rows, and scales up; the run's folder is not touched.

    Args:
        run: the plan.
        cache: of decoded images.
        progress: told while the data are read.
    """
    recipe = run.main
    settle(recipe)
    with tempfile.TemporaryDirectory(prefix="medal-trial-") as folder:
        loop = task_module(recipe.task).make(recipe, recipe.seed, Path(folder, "study"), cache, progress)
        try:
            wanted = _shorten(loop.learner)
            while (trained := loop.study.ledger.last("trained")) is None:
                loop.step()
            steps, fit = int(trained.content["steps"]), float(trained.aside["seconds"])
            per_row = _time_of_reading(loop)
            split = loop.pool.split
            patients = len(set(split.groups))
            left = float(len(loop.pool.candidates()))
        finally:
            loop.study.close()
    counts = split.counts()
    validation = min(recipe.validation.items, counts["validation"])
    start, rounds = min(recipe.start.items, counts["pool"]), recipe.budget.rounds
    bought = recipe.budget.per_round * rounds
    price = assemble.cost_of(recipe).of(recipe.unit)
    items = min(bought if recipe.budget.unit == "items" else bought / price, left)
    paid = validation + start
    read = (counts["pool"] + counts["test"]) * per_row
    # the number of paid rows halfway stands for all rounds
    labels = max(1, min(counts["pool"], int(start + items / 2)))
    study = (rounds + 1) * (fit / steps * (wanted.count(labels) if wanted else steps) + read)
    at_a_time = processes_of(recipe, len(run.studies))
    return Estimate(
        rows=counts,
        patients=patients,
        items=paid + items,
        minutes=paid * assemble.cost_of(recipe).of("image") + items * price,
        studies=len(run.studies),
        at_a_time=at_a_time,
        seconds=study * -(-len(run.studies) // at_a_time),
    )


def _shorten(learner: Learner) -> Schedule | None:
    """Cuts the learner's schedule down to a trial and returns the one that it had; None when it has none."""
    schedule = getattr(learner, "schedule", None)
    if not isinstance(schedule, Schedule):
        return None
    setattr(learner, "schedule", replace(schedule, steps=TRIAL_STEPS, epochs=None))  # noqa: B010 - not in the protocol
    return schedule


def _time_of_reading(loop: ActiveLoop) -> float:
    """Seconds to score one row."""
    candidates = loop.pool.candidates()[:TRIAL_ROWS]
    outputs = loop.learner.predict()
    started = time.perf_counter()
    steps = [s for s in loop.strategy.steps if s.score is not None and s.score.pointwise]
    for step in steps:
        score_units(step, outputs, candidates, loop.pool)
    if not steps:
        for _ in outputs.chunks(outputs.resolve({"prediction"}, "trial"), loop.pool.units.row[candidates]):
            continue
    return (time.perf_counter() - started) / max(len(candidates), 1)
