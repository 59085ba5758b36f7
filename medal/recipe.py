"""Recipes: YAML to a checked, frozen `Recipe`, and back to YAML, a JSON schema and a digest.

`load` lays files and overrides over each other (`medal.overlay`), checks keys and types (`medal.schema`), and checks
every node against the signature of what it names (`medal.build`). Importing this module loads no torch; checking does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from medal.build import check, check_strategy
from medal.canonical import canonical
from medal.errors import ConfigError
from medal.import_paths import module
from medal.messages import invalid
from medal.overlay import Plain, compose, lay_overrides, read_work
from medal.schema import Recipe as Recipe
from medal.strict_yaml import dump

TASKS = "medal.tasks"
"""Entry-point group of recipe families."""
CONTEXT: Mapping[str, tuple[str, ...]] = {
    "data": (),
    "oracle": ("truth", "rows", "cost"),
    "learner": ("source", "parts", "cache", "progress", "pool_rows"),
}
"""Names that a task gives when it builds these parts; a recipe need not set parameters of these names."""


def validate(content: Plain) -> Recipe:
    """Plain data as a recipe; keys and types are checked, import paths are not.

    Raises:
        UnknownName: on an unknown key.
        ConfigError: on a value that does not fit, with its dotted path.
    """
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise invalid(error, content) from None


def load(name: str, overrides: Sequence[str] = (), smoke: bool = False) -> Recipe:
    """A recipe, ready to be built.

    Args:
        name: such as "chest_xray" or "chest_xray/densenet", or the path of a YAML file.
        overrides: `group=name` (data, learner, oracle, strategy, with) and `dotted.key=value`.
        smoke: lay the settings of `configs/smoke` on, which make it tiny.

    Raises:
        UnknownName: on a name, key or import path that does not exist, with the nearest right one.
        ConfigError: on anything else that cannot be used, with its dotted path.
    """
    recipe = validate(compose(name, overrides, smoke))
    check_recipe(recipe)
    return recipe


def change(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """A recipe with overrides laid over it, such as other data for the same model.

    Raises:
        UnknownName: as `load`.
        ConfigError: as `load`.
    """
    changed = validate(lay_overrides(_plain(recipe), overrides))
    check_recipe(changed)
    return changed


def check_recipe(recipe: Recipe) -> None:
    """Imports everything that a recipe names and checks every argument; builds nothing.

    Raises:
        UnknownName: on an import path, argument, kind or baseline that does not exist.
        ConfigError: on an argument that does not fit.
    """
    task_module(recipe.task)
    for key, names in CONTEXT.items():
        check(getattr(recipe, key), key, context=names)
    check_strategy(recipe.strategy)
    from medal.units import kind_of

    for kind in (recipe.unit, *recipe.cost):
        kind_of(kind)
    for arm in arms(recipe)[1:]:
        check_strategy(arm.strategy)


def task_module(task: str) -> ModuleType:
    """The module that plays recipes of a task.

    Raises:
        ConfigError: if it is none of ours or of the entry-point group `medal.tasks`, or does not exist.
    """
    known = {point.module for point in entry_points(group=TASKS)}
    if not task.startswith("tasks.") and task not in known:
        raise ConfigError(
            f"task: {task!r} is not registered under {TASKS}; known: {', '.join(sorted(known)) or 'none'}"
        )
    return module(task, "task", registered=[task.partition(".")[0]])


def arms(recipe: Recipe) -> tuple[Recipe, ...]:
    """The recipe itself and one for each of its baselines, which differ from it in the strategy alone.

    Raises:
        UnknownName: on an unknown baseline.
        ConfigError: if a baseline has no steps, or needs another learner.
    """
    names = [n for n in dict.fromkeys(recipe.baselines) if n != recipe.arm]
    return (recipe, *(with_strategy(recipe, name) for name in names))


def with_strategy(recipe: Recipe, name: str) -> Recipe:
    """The same recipe with the steps of another work and nothing else changed, the learner above all.

    Args:
        recipe: what to change.
        name: of a work with a strategy.

    Raises:
        UnknownName: on an unknown work.
        ConfigError: if the work has no steps, or needs another learner.
    """
    work = read_work(name)
    if work.content.strategy is None:
        raise ConfigError(f"baselines: the work {name!r} has no steps; name a work with a strategy, such as random")
    have = recipe.learner.model_dump()
    for key, value in work.content.learner.items():
        wanted = value if key == "parts" else {key: value}
        held = have.get("parts", {}) if key == "parts" else have
        for slot, part in (wanted or {}).items():
            if held.get(slot) != part:
                path = f"learner.parts.{slot}" if key == "parts" else f"learner.{slot}"
                raise ConfigError(
                    f"baselines: {name!r} needs its own {path}, which differs from the learner's; "
                    f"baselines share the learner, so run strategy={name} by itself"
                )
    changed = {"arm": work.name, "strategy": work.content.strategy, "bound": work.content.bound}
    return validate({**_plain(recipe), **changed})


def _plain(recipe: Recipe) -> dict[str, Any]:
    return recipe.model_dump(mode="json")


def show(recipe: Recipe) -> str:
    """The resolved recipe as YAML; `load` reads it back to the same recipe."""
    return dump(_plain(recipe))


def schema() -> dict[str, Any]:
    """The JSON schema of a resolved recipe, for editors."""
    return Recipe.model_json_schema()


def digest(recipe: Recipe) -> str:
    """sha256 of what decides the result: everything but where the data lie and where how many processes run.

    Returns:
        64 hexadecimal digits.
    """
    content = _plain(recipe)
    for key in ("processes", "engine", "address"):
        content["resources"].pop(key)
    content["data"].pop("root", None)
    return hashlib.sha256(canonical(content).encode()).hexdigest()
