"""Chest X-ray, multi-label (survey, section 5.1.1): one campaign from a recipe, top to bottom.

Copy this file to make a recipe family of your own, and register it under the entry-point group `medal.tasks`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from medal import assemble
from medal.loop import ActiveLoop
from medal.schema import Recipe
from medal.seeding import Seed
from medal.source import Progress, silent
from modalities.chest_xray import practice as practice

if TYPE_CHECKING:
    from medal.human import HumanCampaign


def make(recipe: Recipe, seed: int, folder: Path, cache: Path, progress: Progress = silent) -> ActiveLoop:
    """Builds the campaign of one seed with a simulated expert; one that was begun goes on where it stopped.

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

    learner = assemble.learner_of(recipe, source, cache, progress, split.positions("pool"))
    strategy = assemble.strategy_of(recipe)
    oracle = assemble.oracle_of(recipe, source, truth)

    return ActiveLoop(
        study=assemble.study_of(recipe, seed, folder, source, split),
        source=source,
        pool=assemble.pool_of(recipe, source, split),
        learner=learner,
        strategy=strategy,
        oracle=oracle,
        budget=assemble.budget_of(recipe),
        cost=assemble.cost_of(recipe),
        validation=recipe.validation.items,
        start=recipe.start.items,
        seed=Seed(seed),
        examine=assemble.examiner_of(source, truth),
        progress=progress,
    )


def human(recipe: Recipe, folder: Path, cache: Path, progress: Progress = silent) -> HumanCampaign:
    """Opens a campaign with people, who are asked by work lists; images that are new in the folder are taken in.

    Args:
        recipe: as `make`; its oracle is not asked.
        folder: of the study, which exists.
        cache: of decoded images.
        progress: told during long work.
    """
    from medal.human import HumanCampaign

    return HumanCampaign.open(recipe, folder, cache, progress)
