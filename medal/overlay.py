"""Laying files over a recipe: `extends`, groups (`data=nih`), works (`strategy=bald`, `with=[...]`), dotted values.

Plain data in, plain data out; nothing is imported and nothing is checked against signatures here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from medal.errors import ConfigError, UnknownName
from medal.messages import invalid, mismatch, shown, unknown_key
from medal.resources import choose, config_path, group, is_file_name, works
from medal.schema import Recipe, Work
from medal.strict_yaml import parse, read

Plain = dict[str, Any]
GROUPS = {"data": "data set", "learner": "learner", "oracle": "oracle"}
"""Keys whose text names a file of `configs/<key>`, and what that is called; text under `strategy` names a work."""
SHORT = {"engine": "resources.engine"}
"""Short names of dotted values on the command line."""
FILE_KEYS = (*Recipe.model_fields, "extends", "with")


@dataclass(frozen=True)
class LaidWork:
    """A work's file under its name."""

    name: str
    path: Path
    content: Work

    @property
    def claims(self) -> tuple[str, ...]:
        """Dotted paths of the recipe that the work decides."""
        free = {k: v for k, v in self.content.learner.items() if k != "parts"}
        claimed = [f"learner.parts.{slot}" for slot in self.content.learner.get("parts") or {}]
        claimed += [f"learner.{key}" for key in free]
        claimed += [key for key in ("strategy", "oracle") if getattr(self.content, key) is not None]
        return tuple(claimed)


def merge(base: Mapping[str, Any], over: Mapping[str, Any], *, same_use: bool = False) -> Plain:
    """Mappings merge key by key; a node with another `use` replaces, as everything else does.

    Args:
        base: what lies below.
        over: what is laid on.
        same_use: leave nodes with another `use` as they are instead of replacing them.

    Example:
        >>> merge({"a": {"use": "m.A", "n": 1}, "b": 1}, {"a": {"n": 2}, "b": 3})
        {'a': {'use': 'm.A', 'n': 2}, 'b': 3}
        >>> merge({"a": {"use": "m.A", "n": 1}}, {"a": {"use": "m.B"}})
        {'a': {'use': 'm.B'}}
    """
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            other = "use" in value and value["use"] != below.get("use")
            if other and same_use:
                continue
            merged[key] = dict(value) if other else merge(below, value, same_use=same_use)
        else:
            merged[key] = value
    return merged


def read_recipe(name: str) -> Plain:
    """The recipe of a name or path, with what it extends beneath it and its choices of groups filled in.

    Raises:
        UnknownName: on an unknown name or key.
        ConfigError: if what it extends extends something itself.
    """
    path = config_path(name)
    content = _read_file(path)
    parent = content.pop("extends", None)
    if parent is None:
        return content
    if not isinstance(parent, str):
        raise mismatch(f"{path}: extends", parent, "the name of a recipe")
    file = path.parent / parent if is_file_name(parent) else config_path(parent)
    below = _read_file(file)
    if "extends" in below:
        raise ConfigError(
            f"{path} extends {parent}, which extends {below['extends']}; extend {below['extends']} directly"
        )
    merged = merge(below, content)
    if isinstance(content.get("strategy"), list) and "arm" not in content:
        merged.pop("arm", None)
    return merged


def _read_file(path: Path) -> Plain:
    content = read(path)
    for key in content:
        if key not in FILE_KEYS:
            raise UnknownName(f"{path}: {unknown_key('', key, FILE_KEYS)}")
    for key in GROUPS:
        if isinstance(content.get(key), str):
            content[key] = _group_node(key, content[key])
    return content


def _group_node(key: str, name: str) -> Plain:
    return read(choose(GROUPS[key], name, group(key)))


def read_work(name: str) -> LaidWork:
    """A work by its name, or by the path of the user's own file.

    Raises:
        UnknownName: on an unknown work or key.
        ConfigError: on a value that does not fit.
    """
    path = choose("work", name, works())
    content = read(path)
    try:
        return LaidWork(path.stem, path, Work.model_validate(content))
    except ValidationError as error:
        known = invalid(error, content)
        raise type(known)(f"{path}: {known}") from None


def lay_work(recipe: Plain, work: LaidWork) -> Plain:
    """Lays one work on: its steps replace, its parts go to their slots, its oracle replaces."""
    content = work.content
    learner = recipe.get("learner")
    if content.learner and isinstance(learner, Mapping):
        free = {k: v for k, v in content.learner.items() if k != "parts"}
        parts = {**(learner.get("parts") or {}), **(content.learner.get("parts") or {})}
        recipe = {**recipe, "learner": {**merge(learner, free), "parts": parts}}
    if content.oracle is not None:
        recipe = {**recipe, "oracle": content.oracle}
    if content.bound:
        recipe = {**recipe, "bound": True}
    return {**recipe, "strategy": content.strategy} if content.strategy is not None else recipe


def lay_works(recipe: Plain, names: Sequence[str]) -> tuple[Plain, str | None]:
    """Lays works on in order.

    Returns:
        The recipe, and the name of the work that gave the strategy, if one did.

    Raises:
        ConfigError: if two works decide the same thing.
    """
    claimed: dict[str, str] = {}
    arm = None
    for name in names:
        work = read_work(name)
        for claim in work.claims:
            other = claimed.setdefault(claim, work.name)
            if other != work.name or names.count(name) > 1:
                raise ConfigError(f"{claim}: the works {other!r} and {work.name!r} both set it; lay one of them")
        recipe = lay_work(recipe, work)
        arm = work.name if work.content.strategy is not None else arm
    return recipe, arm


def lay_smoke(recipe: Plain) -> Plain:
    """Makes a recipe tiny with `configs/smoke/<task>.yaml`; nodes other than the ones meant there stay as they are.

    Raises:
        UnknownName: if the recipe's task has no such file.
    """
    task = str(recipe.get("task", "")).rpartition(".")[2]
    return merge(recipe, read(choose("smoke setting", task, group("smoke"))), same_use=True)


def split_overrides(overrides: Sequence[str]) -> tuple[Plain, list[tuple[str, Any]]]:
    """Sorts `key=value` texts into groups (laid first) and dotted values; values are YAML.

    Raises:
        ConfigError: on a text without `=` or a value that is not YAML.

    Example:
        >>> split_overrides(["learner.steps=20", "data=nih", "with=[a, b]"])
        ({'data': 'nih', 'with': ['a', 'b']}, [('learner.steps', 20)])
    """
    groups: Plain = {}
    values: list[tuple[str, Any]] = []
    for text in overrides:
        key, equals, value_text = text.partition("=")
        key = SHORT.get(key.strip(), key.strip())
        if not equals or not key:
            raise ConfigError(f"override {text!r}: expected KEY=VALUE, such as seed=1 or learner.steps=20")
        value = parse(value_text, f"override {text!r}")
        if key == "with" or (key in (*GROUPS, "strategy") and isinstance(value, str)):
            groups[key] = value
        else:
            values.append((key, value))
    return groups, values


def set_value(recipe: Plain, key: str, value: Any) -> None:
    """Sets one dotted value in place; mappings on the way are made, entries of lists are named by their number.

    Raises:
        ConfigError: if the path runs into a single value or past the end of a list.
    """
    *path, last = key.split(".")
    place: Any = recipe
    for depth, part in enumerate(path):
        index = _index(place, part, ".".join(path[: depth + 1]))
        if isinstance(place, dict) and place.get(part) is None:
            place[part] = {}
        place = place[index]
        if not isinstance(place, dict | list):
            held = ".".join(path[: depth + 1])
            raise ConfigError(f"{key}: {held!r} is the single value {shown(place)} and has no keys; set {held}=VALUE")
    place[_index(place, last, key)] = value


def _index(place: dict[str, Any] | list[Any], part: str, path: str) -> Any:
    if isinstance(place, dict):
        if not part:
            raise ConfigError(f"{path!r}: found an empty key, expected a dotted path such as learner.steps")
        return part
    if not part.isdecimal() or int(part) >= len(place):
        raise ConfigError(f"{path}: found {part!r}, expected a number from 0 to {len(place) - 1}")
    return int(part)


def _names(value: Any) -> list[str]:
    names = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise mismatch("with", value, "names of works, such as with=[mean_teacher]")
    return names


def compose(name: str, overrides: Sequence[str] = (), smoke: bool = False) -> Plain:
    """The resolved recipe as plain data.

    The order is: what it extends, its file, groups, works, smoke settings, dotted values.

    Raises:
        UnknownName: on a recipe, group choice, work or file key that does not exist.
        ConfigError: on anything else that cannot be laid over each other.
    """
    return lay_overrides(read_recipe(name), overrides, smoke)


def lay_overrides(recipe: Plain, overrides: Sequence[str], smoke: bool = False) -> Plain:
    """Groups, works, smoke settings and dotted values over plain data, in this order; it may be changed in place."""
    groups, values = split_overrides(overrides)
    for key in GROUPS:
        if key in groups:
            recipe[key] = _chosen(recipe, key, groups[key])
    further = _names(groups.get("with", recipe.pop("with", None)))
    recipe.pop("with", None)
    named = groups.get("strategy", recipe.get("strategy"))
    if isinstance(named, str):
        own_arm = recipe.get("arm") if "strategy" not in groups else None
        recipe.pop("strategy", None)
        recipe, arm = lay_works(recipe, [named, *further])
        if "strategy" not in recipe:
            raise ConfigError(f"strategy: the work {named!r} has no steps of its own; lay it on with with=[{named}]")
        recipe["arm"] = own_arm or arm
    else:
        recipe, arm = lay_works(recipe, further)
        if arm is not None:
            recipe["arm"] = arm
    if smoke:
        recipe = lay_smoke(recipe)
    for key, value in values:
        set_value(recipe, key, value)
    return recipe


def _chosen(recipe: Plain, key: str, name: str) -> Plain:
    """A group's choice in place of what was there; a learner's parts stay, since works put them there."""
    node = _group_node(key, name)
    before = recipe.get(key)
    if key == "learner" and isinstance(before, Mapping) and before.get("parts"):
        node["parts"] = {**before["parts"], **(node.get("parts") or {})}
    return node
