"""What a benchmark comes to: one cell for each set, learner, strategy and block, each with a resolved recipe.

A block is a split and a start set, both named by the block's number, and every cell of a block has the same two. The
start set matters more than the query in nnActive's published runs, so nothing is ever compared across blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from medal.benchmark.schema import ALWAYS, EXTRAS, FULL, RANDOM, Benchmark, LearnerVariant
from medal.errors import ConfigError
from medal.overlay import compose, lay_overrides, lay_work, read_work
from medal.recipe import check_recipe, digest, validate, with_strategy
from medal.schema import Recipe

WHOLE_POOL = 10**9
"""Start set of the full-data line: more than any pool holds, so that all of it is taken."""
SMOKE_BLOCKS, SMOKE_DRAWS = 2, 200
Arm = tuple[str, str, str]
"""Set, learner, strategy."""


@dataclass(frozen=True, order=True)
class Cell:
    """One study of a benchmark."""

    block: int
    set: str
    learner: str
    strategy: str

    @property
    def arm(self) -> Arm:
        """The cell without its block."""
        return (self.set, self.learner, self.strategy)

    @property
    def folder(self) -> str:
        """Place of the study inside the benchmark's folder."""
        return f"cells/{self.set}/{self.learner}/{self.strategy}/block_{self.block:02d}"

    @property
    def name(self) -> str:
        """For people: the folder without its first part."""
        return self.folder.removeprefix("cells/")


@dataclass(frozen=True)
class Plan:
    """Every cell, in the order in which it is played.

    Args:
        name: of the benchmark.
        file: what was asked for.
        arms: (set, learner, strategy) -> recipe, still without block.
    """

    name: str
    file: Benchmark
    arms: Mapping[Arm, Recipe]

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Whole blocks first, so that the tables of an unfinished benchmark compare like with like."""
        return tuple(Cell(block, *arm) for block in range(self.file.blocks) for arm in self.arms)

    @property
    def sets(self) -> tuple[str, ...]:
        """Names of the sets."""
        return tuple(self.file.sets)

    def learners(self, set_name: str) -> tuple[str, ...]:
        """Learners that are drawn on a set, those of the file first."""
        return tuple(dict.fromkeys(learner for name, learner, _ in self.arms if name == set_name))

    def strategies(self, set_name: str, learner: str) -> tuple[str, ...]:
        """Strategies of a learner without the full-data line, random first."""
        found = [s for name, other, s in self.arms if (name, other) == (set_name, learner) and s != FULL]
        return tuple(found)

    def recipe(self, cell: Cell) -> Recipe:
        """The recipe of one cell, with its block laid in."""
        return at_block(self.arms[cell.arm], cell.block)

    def digest(self, cell: Cell) -> str:
        """sha256 of what decides the cell's result; where the data lie is no part of it."""
        return essence(self.recipe(cell))


def essence(recipe: Recipe) -> str:
    """sha256 of a recipe without folders, the same on every machine."""
    from medal.assemble import shareable

    return digest(validate(shareable(recipe)))


def at_block(recipe: Recipe, block: int) -> Recipe:
    """The recipe with the split and the seed of a block."""
    split = recipe.split.model_copy(update={"by": "hash"})
    return recipe.model_copy(update={"seed": block, "seeds": 1, "split": split})


def plan(
    name: str, file: Benchmark, overrides: Sequence[str] = (), smoke: bool = False, blocks: int | None = None
) -> Plan:
    """Resolves and checks every recipe; builds nothing and opens no data.

    Args:
        name: of the benchmark.
        file: as read.
        overrides: laid over every recipe, after those of the file; such as data.root=FOLDER.
        smoke: a tiny version: two blocks, the settings of `configs/smoke`, one positive is enough.
        blocks: instead of the file's.

    Raises:
        UnknownName: on a name that does not exist.
        ConfigError: on a recipe that cannot be used, naming set and learner.
    """
    if blocks is not None and blocks < 1:
        raise ConfigError(f"blocks: found {blocks}, expected at least 1")
    changes: dict[str, Any] = {"blocks": blocks or (SMOKE_BLOCKS if smoke else file.blocks)}
    if smoke:
        lenient = {k: m.model_copy(update={"min_positives": 1}) for k, m in file.measures.items()}
        changes |= {"draws": SMOKE_DRAWS, "measures": lenient}
    file = file.model_copy(update=changes)
    arms: dict[Arm, Recipe] = {}
    for set_name, set_overrides in file.sets.items():
        for learner, variant in _variants(file).items():
            try:
                made = _arms_of(file, set_overrides, learner, variant, overrides, smoke)
            except ConfigError as error:
                raise type(error)(f"set {set_name}, learner {learner}: {error}") from None
            arms |= {(set_name, learner, strategy): recipe for strategy, recipe in made.items()}
    return Plan(name, file, arms)


def _variants(file: Benchmark) -> dict[str, LearnerVariant]:
    """The learners of the file, then those that are always drawn."""
    extra = {
        name: LearnerVariant(overrides=(f"learner={name}",))
        for name in EXTRAS
        if name not in file.without and name not in file.learners
    }
    return {**file.learners, **extra}


def _arms_of(
    file: Benchmark,
    set_overrides: Sequence[str],
    learner: str,
    variant: LearnerVariant,
    overrides: Sequence[str],
    smoke: bool,
) -> dict[str, Recipe]:
    always = (RANDOM,) if learner in EXTRAS else ALWAYS
    strategies = tuple(dict.fromkeys((*always, *variant.strategies)))
    works = [f"with=[{', '.join(variant.works)}]"] if variant.works else []
    # one after the other, so that a learner's own words hold over those of the whole file
    content = compose(file.recipe, [*file.overrides, f"strategy={RANDOM}"])
    for laid in (set_overrides, [*variant.overrides, *works]):
        content = lay_overrides(content, laid)
    content = _with_parts_of(content, strategies)
    # the command line comes last: --smoke must shrink what the file says, and the user's words must hold over both
    content = lay_overrides(content, overrides, smoke)
    shared = validate({**content, "arm": RANDOM, "baselines": ()})
    check_recipe(shared)
    made = {name: with_strategy(shared, name) for name in strategies}
    for recipe in made.values():
        check_recipe(recipe)
    if FULL not in file.without:
        start = shared.start.model_copy(update={"items": WHOLE_POOL})
        budget = shared.budget.model_copy(update={"rounds": 0})
        made[FULL] = shared.model_copy(update={"arm": FULL, "start": start, "budget": budget})
    return made


def _with_parts_of(content: dict[str, Any], strategies: Sequence[str]) -> dict[str, Any]:
    """Lays what the strategies need on the learner that they share.

    Raises:
        ConfigError: if two of them need different parts, or one needs another part than the learner has.
    """
    for name in strategies:
        work = read_work(name)
        have: Mapping[str, Any] = content.get("learner") or {}
        for key, value in work.content.learner.items():
            wanted = dict(value or {}) if key == "parts" else {key: value}
            held = (have.get("parts") or {}) if key == "parts" else have
            for slot, part in wanted.items():
                if held.get(slot) not in (None, part):
                    place = f"learner.parts.{slot}" if key == "parts" else f"learner.{slot}"
                    raise ConfigError(
                        f"the strategy {name!r} needs its own {place}, which differs from what the learner has; "
                        "list it under a learner of its own"
                    )
        parts_only = work.content.model_copy(update={"strategy": None, "oracle": None, "bound": False})
        content = lay_work(content, type(work)(work.name, work.path, parts_only))
    return content
