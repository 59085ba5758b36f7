"""What a benchmark will cost before it is begun: a short trial of each learner, scaled up to its cells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medal.benchmark.plan import Plan, at_block
from medal.benchmark.schema import FULL, RANDOM
from medal.source import Progress, silent


@dataclass(frozen=True)
class LearnerCost:
    """One learner on one set.

    Args:
        set: name of the set.
        learner: name of the learner.
        strategies: compared within it, with the full-data line.
        cells: over all blocks.
        seconds: of all of them on this machine, by a trial; filling the caches is not counted.
    """

    set: str
    learner: str
    strategies: tuple[str, ...]
    cells: int
    seconds: float


def estimate(plan: Plan, folder: Path, progress: Progress = silent) -> tuple[LearnerCost, ...]:
    """Opens each set, trains each learner a few steps, and scales up; only the caches are written.

    Args:
        plan: every cell.
        folder: of the benchmark; its caches are filled.
        progress: told while data are read.
    """
    from medal.estimate import estimate as trial
    from medal.run import Entry, Run

    found = []
    for set_name in plan.sets:
        for learner in plan.learners(set_name):
            recipe = at_block(plan.arms[(set_name, learner, RANDOM)], 0)
            strategies = plan.strategies(set_name, learner)
            lines = len(strategies)
            # the full-data line is one training of many
            parts = lines + ((set_name, learner, FULL) in plan.arms) / (recipe.budget.rounds + 1)
            studies = tuple(Entry(f"studies/{n}", RANDOM, n) for n in range(lines * plan.file.blocks))
            told = trial(Run(folder, plan.name, {RANDOM: recipe}, studies), folder / "cache" / set_name, progress)
            drawn = (*strategies, FULL) if (set_name, learner, FULL) in plan.arms else strategies
            found.append(
                LearnerCost(set_name, learner, drawn, len(drawn) * plan.file.blocks, told.seconds * parts / lines)
            )
    return tuple(found)
