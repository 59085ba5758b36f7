"""Chest X-ray, multi-label (survey, section 5.1.1): one campaign from a recipe, top to bottom.

Copy this file to make a recipe family of your own, and register it under the entry-point group `medal.tasks`.
"""

from __future__ import annotations

from pathlib import Path

from medal import assemble
from medal.examine import Examiner
from medal.loop import ActiveLoop
from medal.pool import Pool
from medal.schema import Recipe
from medal.seeding import Seed
from medal.source import Progress, silent


def make(recipe: Recipe, seed: int, folder: Path, cache: Path, progress: Progress = silent) -> ActiveLoop:
    """Builds the campaign of one seed; one that was begun goes on where it stopped.

    Args:
        recipe: what the campaign is made of.
        seed: root of every generator.
        folder: of the study.
        cache: of decoded images, shared between studies.
        progress: told during long work.
    """
    opened = assemble.open_data(recipe, cache, progress)
    source, truth = opened.source, opened.truth
    split = assemble.split_of(recipe, source)
    pool = Pool(assemble.units_of(recipe, source), tuple(source.labels), split)

    learner = assemble.learner_of(recipe, source, cache, progress)
    strategy = assemble.strategy_of(recipe)
    oracle = assemble.oracle_of(recipe, source, truth)

    return ActiveLoop(
        study=assemble.study_of(recipe, seed, folder, source, split),
        source=source,
        pool=pool,
        learner=learner,
        strategy=strategy,
        oracle=oracle,
        budget=assemble.budget_of(recipe),
        cost=assemble.cost_of(recipe),
        validation=recipe.validation.items,
        start=recipe.start.items,
        seed=Seed(seed),
        examine=Examiner(truth) if truth is not None else None,
        progress=progress,
    )
