"""From a recipe to the parts of a campaign; a task composes these, and adds what its modality needs."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import Tensor

import medal
from medal.budget import Budget, CostModel
from medal.build import build, build_strategy
from medal.consensus import Consensus
from medal.errors import ConfigError, EmptySource
from medal.examine import Examiner
from medal.learners.protocol import Learner
from medal.oracle.protocol import Oracle
from medal.places import without_places
from medal.pool import Pool
from medal.schema import Recipe
from medal.source import Opened, Progress, Source, Truth, silent
from medal.split import Split, split_by_group
from medal.strategy import Strategy
from medal.study import Study
from medal.units import Units, kind_of

VERSIONS = ("torch", "lightning", "numpy", "scikit-learn", "monai", "pydicom")


def open_data(recipe: Recipe, cache: Path, progress: Progress = silent) -> Opened:
    """Opens the recipe's data set: reads every file once, quarantines what is broken.

    Raises:
        EmptySource: if nothing is left.
    """
    opened: Opened = build(recipe.data, "data").open(cache, progress)
    if not opened.source.ids:
        broken = len(opened.source.quarantined)
        raise EmptySource(f"{opened.source.name}: no image can be read, {broken} were quarantined; check data.root")
    return opened


def split_of(recipe: Recipe, source: Source) -> Split:
    """The split by patient: the data set's own where it has one and the recipe wants it, else by hash."""
    if source.splits is not None and recipe.split.by == "source":
        return Split(tuple(source.ids), tuple(source.groups), tuple(source.splits))
    return split_by_group(source.ids, source.groups, recipe.seed, recipe.split.test, recipe.split.validation)


def units_of(recipe: Recipe, source: Source) -> Units:
    """The units that are asked about: whole rows, or each label of each row."""
    inner = tuple(source.labels) if kind_of(recipe.unit).inner else ()
    return Units(recipe.unit, tuple(source.ids), tuple(source.groups), inner)


def learner_of(
    recipe: Recipe, source: Source, cache: Path, progress: Progress = silent, pool_rows: Tensor | None = None
) -> Learner:
    """The learner with its parts; it never sees truth.

    Args:
        recipe: what it is made of.
        source: pixels.
        cache: for what is computed once, such as features.
        progress: told during long work.
        pool_rows: rows of the pool part, the only ones that unsupervised training may look at; None where a trained
            learner is brought back.
    """
    return build(recipe.learner, "learner", source=source, cache=cache, progress=progress, pool_rows=pool_rows)


def pool_of(recipe: Recipe, source: Source, split: Split) -> Pool:
    """Nobody labelled yet."""
    readers = Consensus(recipe.readers.rule, recipe.readers.reader)
    return Pool(units_of(recipe, source), tuple(source.labels), split, readers)


def examiner_of(source: Source, truth: Truth | None) -> Examiner | None:
    """Who measures the test split; None without truth."""
    return None if truth is None else Examiner(truth, source.groups, source.meta)


def strategy_of(recipe: Recipe) -> Strategy:
    """The recipe's steps."""
    return build_strategy(recipe.strategy, recipe.arm)


def cost_of(recipe: Recipe) -> CostModel:
    """Minutes for each kind of unit."""
    return CostModel(dict(recipe.cost))


def budget_of(recipe: Recipe) -> Budget:
    """What a round may cost."""
    return Budget(recipe.budget.per_round, recipe.budget.rounds, recipe.budget.unit)


def oracle_of(recipe: Recipe, source: Source, truth: Truth | None) -> Oracle:
    """Who answers.

    Raises:
        ConfigError: for a simulated expert without labels to answer from.
    """
    if truth is None:
        raise ConfigError(f"data set {source.name!r} has no labels for a simulated expert; give a table of labels")
    return build(recipe.oracle, "oracle", truth=truth, rows=source.ids, cost=cost_of(recipe))


def study_of(
    recipe: Recipe, seed: int, folder: Path, source: Source, split: Split, extra: Mapping[str, object] | None = None
) -> Study:
    """Opens the study folder, or makes it with everything that has to be fixed before round 0.

    Args:
        recipe: what is played.
        seed: of the study.
        folder: of the study.
        source: the data.
        split: of its rows.
        extra: what else the first event of a new study says.

    Raises:
        ConfigError: when the folder belongs to other data or another split.
    """
    data = {
        "name": source.name,
        "digest": source.digest,
        "rows": len(source.ids),
        "groups": len(set(source.groups)),
        "labels": list(source.labels),
        "shape": list(source.shape),
    }
    if Study.exists(folder):
        study = Study.open(folder)
        known = study.opened
        if known["data"]["digest"] != source.digest or known["split"]["hash"] != split.digest():
            study.close()
            raise ConfigError(
                f"{folder.name} was begun with other images or another split (data {known['data']['digest'][:12]}, now "
                f"{source.digest[:12]}); bring the data back as they were, or begin a new run"
            )
        return study
    opened = {
        "medal": medal.__version__,
        "task": recipe.task,
        "arm": recipe.arm,
        "seed": seed,
        "recipe": shareable(recipe),
        "data": data,
        "split": {"hash": split.digest(), "counts": split.counts()},
        "versions": versions(),
        "threads": torch.get_num_threads(),
        **(extra or {}),
    }
    columns = zip(source.ids, source.groups, split.parts, strict=True)
    rows = [
        {"id": i, "group": g, "split": p, **{k: v[n] for k, v in source.meta.items()}}
        for n, (i, g, p) in enumerate(columns)
    ]
    study = Study.create(folder, opened, rows)
    if source.quarantined:
        study.ledger.append("quarantined", {"items": dict(sorted(source.quarantined.items()))})
    return study


def shareable(recipe: Recipe) -> dict[str, object]:
    """The recipe without where files lie, since a path can tell whose they are; the private folder keeps it.

    Paths are left out whole, see `medal.places.is_place`; so is the address of a cluster.
    """
    content = without_places(recipe.model_dump(mode="json"))
    content["data"].pop("root", None)
    return content


def versions() -> Mapping[str, str]:
    """Versions that a figure may depend on."""
    found = {"python": platform.python_version()}
    for name in VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
